"""Accept, whatever stands in it; and what every route does with it."""

import re

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from taskapi.web import problems, routing
from taskapi.web.negotiation import negotiated, preferred
from tests.client import PASSWORD, Account, is_problem, stored_task
from tests.walk import calls

JSON = "application/json"
LINES, CSV = "application/jsonl", "text/csv"


@pytest.mark.parametrize(
    ("accept", "best"),
    [
        ("", LINES),
        (" , ,", LINES),
        ("*/*", LINES),
        ("*", LINES),
        ("text/*", CSV),
        ("TEXT/CSV", CSV),
        ("text/csv, application/jsonl", LINES),  # liked alike: the route's first
        ("application/jsonl;q=0.5, text/csv", CSV),
        ("application/jsonl;q=0.5, text/csv;q=0.500", LINES),
        ("application/jsonl;q=.2, */*;q=.3", CSV),
        ("application/jsonl;q=0, */*", CSV),
        ("*/*, application/jsonl; q=0", CSV),
        ("*/*;q=0, text/csv;q=0.001", CSV),
        ("application/*;q=0, text/*;q=0", None),
        ("*/*;q=0", None),
        ("*/*;q=0.000", None),
        ("application/json", None),
        ("*/csv", None),
        ("text", None),
        ("text/", None),
        ("/csv", None),
        (";", None),
        (";;;q=1", None),
        ('"', None),
        ('text/html;x="text/csv, */*"', None),
        ('text/html;x="\\", */*', None),  # the quoted string never ends
        ('text/html;x="a\\",;b", text/csv', CSV),
        ("text/csv;charset=UTF-8", CSV),
        ('text/csv; charset="utf-8"', CSV),
        ("text/csv;header=absent", None),
        ("text/csv;header=absent;q=1, text/csv;q=0.1", CSV),
        ("text/csv;q=1;header=absent", CSV),
        ("text/csv;q=nan", CSV),
        ("text/csv;q=-1", CSV),
        ("text/csv;q=2", CSV),
        ("text/csv;q=", CSV),
        ("text/csv;q=0;q=1, text/plain", None),
        ("téxt/csv", None),
        ("text/csv\x00", None),
    ],
)
def test_the_best_of_two(accept: str, best: str | None) -> None:
    assert preferred(accept, (LINES, CSV)) == best


def test_offer_with_parameters_matches_the_range_naming_them() -> None:
    offers = ("text/csv;header=present", "text/csv;header=absent")
    assert preferred("text/csv", offers) == offers[0]
    assert preferred("text/csv;header=absent", offers) == offers[1]
    assert preferred("text/csv, text/csv;header=present;q=0.5", offers) == offers[1]


@given(st.text(alphabet='ab*/;,="\\ q10.é\x00', max_size=60))
def test_no_value_breaks_it(accept: str) -> None:
    assert preferred(accept, (LINES, CSV)) in (LINES, CSV, None)


@pytest.mark.parametrize("part", ['"', '"\\', "a/b,", "*/*;q=0,", ";", "=", 'a/b;x="\\"'])
def test_long_value_is_read_in_one_pass(part: str) -> None:
    """With a pattern that looks back this would not end."""
    assert preferred(part * (200_000 // len(part)), (LINES, CSV)) is None


async def test_unacceptable_type_is_refused_before_anything_is_done(app: FastAPI, ada: Account) -> None:
    task = await ada.make_task()
    produced = {}
    for route, method, path in calls(app, task["id"]):
        body = {"title": "Never", "username": "never", "password": PASSWORD} if method not in ("GET", "HEAD") else None
        answer = await ada.client.request(method, path, headers={"Accept": "image/png, text/*;q=0"}, json=body)  # and no token
        offers = getattr(route, "produces", (JSON,))
        produced[(method, path)] = offers
        if offers and method != "HEAD":
            problem = is_problem(answer, 406, "not_acceptable")
            assert all(offer in problem["detail"] for offer in offers), path
            assert "Accept" in re.split(r", *", answer.headers["vary"])
        else:
            public = {"/password/forgot": 422, "/password/reset": 422, "/email/verify": 422}  # they take JSON, but not this
            refused = 415 if routing.FORM in getattr(route, "takes", ()) else public.get(path, 401)  # a form is public too
            assert answer.status_code == (406 if offers else refused), (method, path)
    assert produced[("GET", "/docs")] == ("text/html",)
    assert produced[("GET", "/openapi.json")] == (JSON,)
    assert produced[("DELETE", f"/tasks/{task['id']}")] == ()
    assert (await stored_task(task["id"]))["version"] == 1
    assert len((await ada.get("/tasks")).json()) == 1
    is_problem(await ada.client.post("/token", data={"username": "never", "password": PASSWORD}), 401, "bad_credentials")


async def test_what_every_route_gives_is_taken_everywhere(app: FastAPI, ada: Account) -> None:
    task = await ada.make_task()
    for route, method, path in calls(app, task["id"]):
        for offer in getattr(route, "produces", (JSON,)):
            for accept in (offer, f"{offer};charset=utf-8", f"{offer.partition('/')[0]}/*;q=0.1", "text/css, */*;q=0.001"):
                answer = await ada.client.request(method, path, headers={"Accept": accept})
                assert answer.status_code != 406, (method, path, accept)


async def test_lines_of_accept_are_one_list(ada: Account) -> None:
    lines = [("Accept", "*/*"), ("Accept", "application/json;q=0")]
    is_problem(await ada.client.get("/health", headers=lines), 406, "not_acceptable")
    assert (await ada.client.get("/health", headers=[("Accept", "text/html"), ("Accept", JSON)])).status_code == 200


async def test_errors_are_problems_whatever_is_accepted(ada: Account) -> None:
    is_problem(await ada.client.get("/tasks", headers={"Accept": JSON}), 401, "not_authenticated")
    is_problem(await ada.get("/nowhere", headers={"Accept": "text/html"}), 404, "not_found")
    is_problem(await ada.delete("/tasks/1", headers={"Accept": "text/html"}), 404, "not_found")


async def test_current_copy_is_304_when_accepted(ada: Account) -> None:
    task = await ada.make_task()
    headers = {"If-None-Match": '"1"', "Accept": JSON}
    assert (await ada.get(f"/tasks/{task['id']}", headers=headers)).status_code == 304


@pytest.mark.real  # mongomock has not all operators of the statistics
async def test_vary_is_one_list_without_duplicates(app: FastAPI, ada: Account) -> None:
    task = await ada.make_task()
    origins = [{}, {"Origin": "http://localhost:3000"}, {"Origin": "http://evil.example"}]
    preflight = {"Access-Control-Request-Method": "GET"}
    for route, method, path in [*calls(app, task["id"]), *((None, "OPTIONS", path) for _, _, path in calls(app, task["id"]))]:
        for headers in (*origins, *({**origin, **preflight} for origin in origins), {"Accept": "image/png"}):
            answer = await ada.call(method, path, headers=headers)
            assert len(answer.headers.get_list("vary")) == 1, (method, path)
            names = re.split(r", *", answer.headers["vary"])
            assert len(names) == len({name.lower() for name in names}), (method, path)
            assert "Origin" in names
            kept = "no-store" not in answer.headers["cache-control"] and answer.status_code < 400
            assert ("Authorization" in names) == (kept and not path.startswith(("/docs", "/redoc", "/live"))), (method, path)
            if len(getattr(route, "produces", ())) > 1:
                assert "Accept" in names, (method, path)


async def test_route_chooses_among_media_types_and_sets_vary() -> None:
    router = routing.strict_router()

    @router.get("/export", response_class=Response, responses={200: {"content": {LINES: {}, CSV: {}}}})
    async def export(request: Request) -> Response:
        return Response("x", media_type=negotiated(request, (LINES, CSV)))

    app = FastAPI(routes=router.routes)
    problems.install(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://taskapi") as client:
        for accept, kind in ((None, LINES), ("text/csv", CSV), ("text/*, application/*;q=0.9", CSV)):
            answer = await client.get("/export", headers={"Accept": accept} if accept else {})
            assert answer.headers["content-type"].partition(";")[0] == kind
            assert answer.headers["vary"] == "Accept"
        refused = await client.get("/export", headers={"Accept": JSON})
        assert (refused.status_code, refused.headers["vary"]) == (406, "Accept")
        assert refused.json()["detail"] == "This endpoint can only return application/jsonl or text/csv."


def test_response_406_is_documented_exactly_where_possible(app: FastAPI) -> None:
    for route in app.routes:
        if isinstance(route, routing.StrictRoute) and route.include_in_schema:
            for method in route.methods or ():
                answers = app.openapi()["paths"][route.path][method.lower()]["responses"]
                assert ("406" in answers) == bool(route.produces), (method, route.path)

"""The OpenAPI document: complete, stable, and kept by the application under thousands of generated requests."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi import checks

from taskapi.tasks.routes.import_export import NAMES
from taskapi.web.routing import CSV
from tests.client import Account, make_admin

pytestmark = pytest.mark.real

EXAMPLES = 10
REQUEST_ARGUMENTS = {"method", "url", "headers", "params", "json", "data", "cookies"}
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    NEGATIVE := checks.negative_data_rejection,
]
ENDED_BY = {"stream_events": {"Last-Event-ID": "nowhere"}}  # the answer has no end without
JUDGED_ONE_BY_ONE = {"change_in_bulk"}  # an operation that is not valid is named in an answer of 200
OPERATIONS = {
    "list_tasks", "search_tasks",
    "create_task", "read_task", "read_task_summary", "read_task_links", "update_task", "put_task", "delete_task",
    "read_checklist", "add_checklist_item", "update_checklist_item", "remove_checklist_item",
    "change_in_bulk", "update_tasks", "delete_tasks",
    "list_trash", "restore_task", "remove_task", "read_task_history", "revert_task",
    "export_tasks", "import_tasks",
    "create_ticket", "list_changes", "stream_events",
    "read_summary", "read_throughput", "read_burndown", "read_flow", "read_lead_time", "read_tags",
    "register", "read_me", "update_me", "delete_me", "export_me", "list_sessions", "end_session",
    "create_token", "list_tokens", "rotate_token", "delete_token",
    "create_webhook", "list_webhooks", "read_webhook", "update_webhook", "delete_webhook", "rotate_webhook_secret",
    "ping_webhook", "list_deliveries", "redeliver",
    "begin_two_factor", "confirm_two_factor", "renew_recovery_codes", "disable_two_factor",
    "list_own_events", "list_events", "list_users", "read_user", "update_user", "end_users_sessions",
    "sign_in", "revoke_token", "sign_out", "sign_out_everywhere",
    "forgot_password", "reset_password", "verify_email", "send_verification", "welcome", "health", "ready",
}  # fmt: skip


@schemathesis.serializer(*NAMES, CSV)
def as_text(_: Any, value: Any) -> Any:
    return {"data": str(value).encode(errors="replace")}


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, body) for path, item in document["paths"].items() for method, body in item.items()]


def test_operation_ids_are_stable(app: FastAPI) -> None:
    assert {body["operationId"] for _, _, body in operations(app.openapi())} == OPERATIONS


def test_every_operation_is_described_with_its_problems(app: FastAPI) -> None:
    document = app.openapi()
    for method, path, body in operations(document):
        assert body["description"].endswith("."), path
        assert body["tags"], path
        for status, answer in body["responses"].items():
            if int(status) >= 400:
                assert answer["content"]["application/problem+json"]["schema"]["$ref"].endswith("Problem"), (
                    method,
                    path,
                    status,
                )
        assert {"500", "503"} <= set(body["responses"]), path
        if "requestBody" in body:
            assert {"413", "415", "422"} <= set(body["responses"]), path
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_groups_are_declared_and_start_with_auth(app: FastAPI) -> None:
    document = app.openapi()
    declared = [tag["name"] for tag in document["tags"]]
    assert declared[0] == "auth"
    assert all(tag["description"].endswith(".") for tag in document["tags"])
    assert {tag for _, _, body in operations(document) for tag in body["tags"]} == set(declared)
    first = [body["operationId"] for _, _, body in operations(document) if body["tags"] == ["auth"]]
    assert first[:2] == ["register", "sign_in"]


def test_it_says_whose_it_is_and_where(app: FastAPI) -> None:
    document = app.openapi()
    assert document["servers"] == [{"url": "/"}]
    assert document["info"]["contact"]["name"]
    assert "license" not in document["info"]


async def test_root_path_prefix_is_named_as_server(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app, root_path="/api")
    async with httpx.AsyncClient(transport=transport, base_url="http://taskapi") as client:
        assert (await client.get("/api/openapi.json")).json()["servers"] == [{"url": "/api"}]
    assert app.openapi()["servers"] == [{"url": "/"}]


def test_summaries_and_answers_say_what_they_are(app: FastAPI) -> None:
    summaries = []
    for _, path, body in operations(app.openapi()):
        summaries.append(body["summary"])
        assert body["summary"] != body["operationId"].replace("_", " ").title() or " " not in body["summary"]
        assert not body["summary"].endswith(".")
        for status, answer in body["responses"].items():
            assert answer["description"] not in ("", "Successful Response"), (path, status)
            assert status >= "300" or answer["description"].endswith("."), (path, status)
    assert len(summaries) == len(set(summaries))


def test_every_id_in_a_path_is_described(app: FastAPI) -> None:
    found = 0
    for _, path, body in operations(app.openapi()):
        for parameter in body.get("parameters", ()):
            if parameter["in"] == "path":
                assert parameter["description"].endswith("."), (path, parameter["name"])
                assert parameter["schema"]["pattern"], path
                found += 1
    assert found > 20


def test_headers_are_documented_where_they_occur(app: FastAPI) -> None:
    made = set()
    for method, path, body in operations(app.openapi()):
        headers = {status: set(answer.get("headers", ())) for status, answer in body["responses"].items()}
        for status, expected in {"401": "WWW-Authenticate", "412": "ETag", "429": "Retry-After", "503": "Retry-After"}.items():
            assert expected in headers.get(status, {expected}), (path, status)
        limited = {status for status, named in headers.items() if "RateLimit-Remaining" in named}
        assert limited == {status for status in headers if status < "500" and body["security"]}, path
        assert ("Accept-Patch" in headers.get("415", ())) is (method == "patch"), path
        if "Location" in headers.get("201", ()):
            made.add(body["operationId"])
    assert made == {"create_task", "add_checklist_item", "register", "create_webhook"}
    for name in ("/tasks/export", "/users/me/export"):
        assert "Content-Disposition" in app.openapi()["paths"][name]["get"]["responses"]["200"]["headers"]


async def test_lists_document_the_headers_that_they_send(app: FastAPI, ada: Account) -> None:
    await ada.make_task()
    await ada.make_task()
    query = {"limit": 1, "count": "estimate"}
    for path, method, options in (("/tasks", "get", {"params": query}), ("/tasks/search", "post", {"json": query})):
        answer = await ada.call(method.upper(), path, **options)
        named = {name.lower() for name in app.openapi()["paths"][path][method]["responses"]["200"]["headers"]}
        assert named - answer.headers.keys() == set(), path
        assert {"etag", "link", "x-total-count", "x-next-cursor"} & answer.headers.keys() <= named, path


def test_filters_in_a_url_may_be_too_long(app: FastAPI) -> None:
    for _, path, body in operations(app.openapi()):
        takes_filter = "where" in {parameter["name"] for parameter in body.get("parameters", ())}
        assert ("414" in body["responses"]) is takes_filter, path


def test_what_needs_no_account_says_so(app: FastAPI) -> None:
    for _, _, body in operations(app.openapi()):
        assert "security" in body, body["operationId"]


def bodies(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The JSON schemas of what an operation takes and, when it goes well, gives."""
    answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    for message in (operation.get("requestBody", {}), *answers):
        for media_type, content in message.get("content", {}).items():
            if media_type.endswith("json") and "example" not in content:
                schema = content["schema"]
                yield from schema.get("anyOf", [schema])


def test_every_body_has_an_example(app: FastAPI) -> None:
    document = app.openapi()
    schemas = document["components"]["schemas"]
    for method, path, operation in operations(document):
        for body in bodies(operation):
            held = body.get("items", body) if "examples" not in body else body
            for schema in held.get("anyOf", [held]):
                name = schema.get("$ref", "").rpartition("/")[2]
                assert schemas.get(name, schema).get("examples"), (method, path, name)


def test_list_parameters_are_documented(app: FastAPI) -> None:
    parameters = {
        parameter["name"] for parameter in app.openapi()["paths"]["/tasks"]["get"]["parameters"] if parameter["in"] == "query"
    }
    filters = {
        "where",
        "q",
        "status",
        "completed",
        "priority",
        "tag",
        "due_before",
        "due_after",
        "start_before",
        "start_after",
        "estimate_min",
        "estimate_max",
        "overdue",
        "tz",
    }
    assert parameters == {"limit", "offset", "skip", "cursor", "count", "sort", "fields"} | filters


def test_query_parameters_are_described_where_swagger_ui_looks(app: FastAPI) -> None:
    """It shows no description from within a schema, offers a file for a content type, and sends what stands as example."""
    for _, path, body in operations(app.openapi()):
        for parameter in body.get("parameters", ()):
            if parameter["in"] != "path":
                assert parameter["description"].endswith("."), (path, parameter["name"])
                assert not {"example", "examples"} & parameter.keys()
                assert not {"anyOf", "contentMediaType"} & parameter["schema"].keys(), (path, parameter["name"])


def test_authorize_offers_password_or_api_token(app: FastAPI) -> None:
    schemes = app.openapi()["components"]["securitySchemes"]
    assert schemes["password"]["flows"]["password"]["tokenUrl"] == "token"
    assert (schemes["token"]["type"], schemes["token"]["scheme"]) == ("http", "bearer")
    assert list(schemes) == ["token", "password"]  # Swagger UI focuses the last
    public = {"register", "sign_in", "revoke_token", "welcome", "health", "ready"}
    public |= {"forgot_password", "reset_password", "verify_email"}
    for _, _, body in operations(app.openapi()):
        ways = [name for way in body.get("security", ()) for name in way]
        assert ways == ([] if body["operationId"] in public else ["password", "token"])


def test_every_creating_post_documents_the_idempotency_key(app: FastAPI) -> None:
    for method, path, body in operations(app.openapi()):
        names = [parameter["name"] for parameter in body.get("parameters", ())]
        keyed = method == "post" and (path == "/register" or path.startswith("/tasks")) and path != "/tasks/search"
        assert names.count("Idempotency-Key") == keyed, body["operationId"]
        if keyed:
            assert {"409", "422"} <= set(body["responses"])
            assert "Retry-After" in body["responses"]["409"]["headers"]
            replayed = {
                status for status, answer in body["responses"].items() if "Idempotent-Replay" in answer.get("headers", {})
            }
            refused = {
                "change_in_bulk",
                "add_checklist_item",
                "restore_task",
                "revert_task",
            }  # with a 409 that is an answer of their own
            never = {"401", "403", "406", "412", "429"} | (set() if body["operationId"] in refused else {"409"})
            assert replayed == {status for status in body["responses"] if status < "500"} - never


def generated(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, **fixed: Any) -> list[Any]:
    """Requests made up from the document, the same at every run."""
    cases: list[Any] = []

    @given(case=operation.as_strategy(generation_mode=mode, **fixed))
    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def collect(case: Any) -> None:
        cases.append(case)

    collect()
    return cases


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_generated_requests_get_documented_answers(app: FastAPI, ada: Account, name: str, mode: GenerationMode) -> None:
    """No answer is a 5xx or differs from the document, whether the request keeps to it or not."""
    schema = schemathesis.openapi.from_dict(app.openapi()).include(operation_id=name)
    found: Any = next(iter(schema.get_all_operations()))
    operation = found.ok()
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
        return  # any text may stand in a path: there is nothing to get wrong
    if mode is GenerationMode.NEGATIVE and name == "import_tasks":
        return  # any text is an import: its lines are judged one by one
    caller = await make_admin(ada.client, "root")
    known = {"task_id": (await caller.make_task(tags=["seed"]))["id"], "user_id": ada.id}
    given = {parameter.name: known[parameter.name] for parameter in operation.path_parameters if parameter.name in known}
    fixed = {"path_parameters": given} if given and mode is GenerationMode.POSITIVE else {}
    for case in generated(operation, mode, **fixed):
        arguments = case.as_transport_kwargs(base_url="http://taskapi")
        request = requests.Request(**{key: value for key, value in arguments.items() if key in REQUEST_ARGUMENTS}).prepare()
        if name == "read_me" or request.url is None:
            continue
        sent = {**request.headers, **caller.headers, **ENDED_BY.get(name, {})}
        headers = [(name.encode(), str(value).encode("latin-1")) for name, value in sent.items()]
        answer = await caller.client.request(request.method or "GET", request.url, content=request.body, headers=headers)
        judged = name in JUDGED_ONE_BY_ONE or answer.status_code == 413  # which says nothing of what is in the body
        case.validate_response(answer, checks=[check for check in CHECKS if not (judged and check is NEGATIVE)])
        if answer.status_code >= 400:
            known = app.openapi()["paths"][operation.path][operation.method]["responses"][str(answer.status_code)]
            assert answer.json()["type"].rpartition(":")[2] in known["content"]["application/problem+json"]["examples"], (
                answer.text
            )

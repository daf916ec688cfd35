"""What a body may be coded in, and what may stand before it, on every route that takes one."""

import gzip
import json

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from taskapi.tasks.storage.documents import TaskDocument
from taskapi.web.routing import FORM
from tests.client import PASSWORD, Account, is_problem, make_admin
from tests.stored import collection
from tests.walk import calls

BOM = b"\xef\xbb\xbf"
MARKED = BOM + b'{"title": "From Windows"}'
JSON = {"Content-Type": "application/json"}
KEYED = {"Idempotency-Key": "coded-1"}
CODING, REFUSED = "Content-Encoding", "unsupported_content_coding"


def takes(route: object) -> tuple[str, ...]:
    return getattr(route, "takes", ()) if isinstance(route, APIRoute) else ()


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "zstd", "deflate", "x-gzip", "identity, gzip", "aes128gcm", "nonsense"])
async def test_no_route_takes_a_coded_body(app: FastAPI, ada: Account, coding: str) -> None:
    asked = 0
    admin = await make_admin(ada.client, "grace")  # whom every route lets in
    for route, method, path in calls(app, "65f1a2b3c4d5e6f708192a3b"):
        for kind in takes(route):
            headers = {CODING: coding, "Content-Type": kind}
            answer = await admin.call(method, path, content=gzip.compress(b'{"title": "a"}'), headers=headers)
            problem = is_problem(answer, 415, REFUSED, "Send the body uncompressed, without Content-Encoding.")
            assert answer.headers["accept-encoding"] == "identity", (method, path, problem)
            assert "accept-patch" not in answer.headers
            asked += 1
    assert asked > 25
    assert await collection(TaskDocument).count_documents({}) == 0


async def test_import_refuses_a_coded_body_before_importing_anything(ada: Account) -> None:
    lines = b'{"title": "one line"}\n' * 3  # that are not coded at all, and would be imported
    for headers in ({CODING: "gzip"}, {CODING: "gzip", **KEYED}):
        answer = await ada.post("/tasks/import", content=lines, headers={"Content-Type": "application/jsonl", **headers})
        is_problem(answer, 415, REFUSED)
    assert await collection(TaskDocument).count_documents({}) == 0


@pytest.mark.parametrize("coding", ["identity", "Identity", "", "identity, identity", ","])
async def test_identity_is_no_coding(ada: Account, coding: str) -> None:
    answer = await ada.post("/tasks", json={"title": "As it is"}, headers={CODING: coding})
    assert answer.status_code == 201


async def test_a_coding_of_nothing_is_harmless(ada: Account) -> None:
    task = await ada.make_task()
    coded = {CODING: "gzip"}
    assert (await ada.get("/tasks", headers=coded)).status_code == 200
    assert (await ada.delete(f"/tasks/{task['id']}", headers=coded)).status_code == 204
    assert (await ada.post(f"/tasks/{task['id']}/restore", headers={**coded, **KEYED})).status_code == 200


async def test_refused_coding_leaves_the_idempotency_key_free(ada: Account) -> None:
    body = b'{"title": "Sent again"}'
    for _ in range(2):
        answer = await ada.post("/tasks", content=gzip.compress(body), headers={**JSON, **KEYED, CODING: "gzip"})
        is_problem(answer, 415, REFUSED)
        assert "idempotent-replay" not in answer.headers
    first, again = [await ada.post("/tasks", content=body, headers={**JSON, **KEYED}) for _ in range(2)]
    assert (first.status_code, again.content) == (201, first.content)
    assert await collection(TaskDocument).count_documents({}) == 1


async def test_every_json_body_may_start_with_bom(app: FastAPI, ada: Account) -> None:
    answers: dict[str, httpx.Response] = {}
    for route, method, path in calls(app, "65f1a2b3c4d5e6f708192a3b"):
        for kind in takes(route):
            if kind == "application/json" or kind.endswith("+json"):
                body = b"[]" if kind.endswith("patch+json") else b'{"x": 1}'
                plain, marked = [
                    await ada.call(method, path, content=content, headers={"Content-Type": kind})
                    for content in (body, BOM + body)
                ]
                assert plain.status_code != 400, (method, path, kind)
                assert marked.status_code == plain.status_code, (method, path, kind)
                answers[f"{method} {path} {kind}"] = marked
    assert len(answers) > 20


async def test_text_after_a_byte_order_mark_is_unchanged(ada: Account) -> None:
    task = (await ada.post("/tasks", content=MARKED, headers=JSON)).json()
    assert task["title"] == "From Windows"
    path, merge = f"/tasks/{task['id']}", {"Content-Type": "application/merge-patch+json"}
    patched = await ada.patch(path, content=BOM + b'{"title": "Merged"}', headers=merge)
    assert (patched.status_code, patched.json()["title"]) == (200, "Merged")
    operations = [{"op": "replace", "path": "/title", "value": "\ufeffPatched"}]
    headers = {"Content-Type": "application/json-patch+json"}
    patched = await ada.patch(path, content=BOM + json.dumps(operations).encode(), headers=headers)
    assert patched.status_code == 200, patched.text
    where = '\ufeff{"title": {"$exists": true}}'
    found = await ada.get("/tasks", params={"where": where})
    assert (found.status_code, len(found.json())) == (200, 1)


async def test_a_form_is_no_json(ada: Account) -> None:
    form = f"username=ada&password={PASSWORD.replace(' ', '+')}".encode()
    assert (await ada.client.post("/token", content=form, headers={"Content-Type": FORM})).status_code == 200

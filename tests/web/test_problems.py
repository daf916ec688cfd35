"""Every error in one format, whatever goes wrong."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pymongo import errors as pymongo_errors

from taskapi.accounts.auth.loaders import AccountLoader
from taskapi.core import errors
from taskapi.db.errors import to_domain_error
from taskapi.web import problems
from tests.client import PASSWORD, Account, is_problem

JSON = {"content-type": "application/json"}


def all_errors(family: type[errors.DomainError] = errors.DomainError) -> list[type[errors.DomainError]]:
    return [kind for child in family.__subclasses__() for kind in (child, *all_errors(child))]


async def test_unknown_addresses_and_wrong_methods(anonymous: httpx.AsyncClient) -> None:
    is_problem(await anonymous.get("/nowhere"), 404, "not_found")
    is_problem(await anonymous.get("/tasks/1/2/3"), 404, "not_found")
    answer = await anonymous.delete("/token")
    is_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "OPTIONS, POST"
    assert (await anonymous.put("/tasks")).headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST"
    assert (await anonymous.post("/tasks/1")).headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"title": "abc",}',
        b"not json",
        b'{"title": NaN}',
        b'{"title": Infinity}',
        b"\xff\xfe",
        '{"title": "in UTF-16"}'.encode("utf-16"),
        b'{"title": "\xff"}',
        b'{"priority": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    ],
    ids=lambda content: content[:20].decode("latin-1") + f"~{len(content)}",
)
async def test_what_is_not_json_is_refused(ada: Account, content: bytes) -> None:
    body = is_problem(await ada.post("/tasks", content=content, headers=JSON), 400, "malformed_json")
    assert "abc" not in body["detail"]


@pytest.mark.parametrize("content", [b"[]", b'"text"', b"7", b"null", b"true"])
async def test_json_that_is_no_object_is_invalid(ada: Account, content: bytes) -> None:
    is_problem(await ada.post("/tasks", content=content, headers=JSON), 422, "validation_error")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "", "json", ";;;", "application/jsonx"]
)
async def test_another_media_type_is_refused(ada: Account, kind: str) -> None:
    answer = await ada.post("/tasks", content=b'{"title": "abc"}', headers={"content-type": kind})
    is_problem(answer, 415, "unsupported_media_type", "Send the body as application/json.")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"])
async def test_json_with_parameters_is_taken(ada: Account, kind: str) -> None:
    answer = await ada.post("/tasks", content='{"title": "Grüße"}'.encode(), headers={"content-type": kind})
    assert (answer.status_code, answer.json()["title"]) == (201, "Grüße")


async def test_a_body_over_the_limit_is_refused(ada: Account) -> None:
    large = b'{"title": "' + b"x" * 1_048_576 + b'"}'
    is_problem(await ada.post("/tasks", content=large, headers=JSON), 413, "body_too_large")
    is_problem(await ada.client.post("/register", content=large, headers=JSON), 413, "body_too_large")
    is_problem(await ada.client.post("/nowhere", content=large), 413, "body_too_large")


async def test_body_growing_over_the_limit_is_refused(ada: Account) -> None:
    sent = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(64):
            sent += 65_536
            yield b" " * 65_536

    is_problem(await ada.post("/tasks", content=stream(), headers=JSON), 413, "body_too_large")
    form = {"content-type": "application/x-www-form-urlencoded"}
    is_problem(await ada.client.post("/token", content=stream(), headers=form), 413, "body_too_large")


async def test_many_faults_are_cut_short(anonymous: httpx.AsyncClient) -> None:
    few = await anonymous.post("/register", json={f"unknown{n}": 1 for n in range(90)})
    assert len(is_problem(few, 422, "validation_error")["details"]) == 50
    many = await anonymous.post("/register", json={f"unknown{n}": 1 for n in range(900)})
    (fault,) = is_problem(many, 422, "validation_error")["details"]
    assert fault["type"] == "too_many_fields"


async def test_an_answer_never_repeats_a_password(anonymous: httpx.AsyncClient) -> None:
    secret = "hunter2-hunter2"
    body = {"username": secret, "password": {"value": secret}, "email": secret, "full_name": [secret], secret: 1}
    answer = await anonymous.post("/register", json=body)
    problem = is_problem(answer, 422, "validation_error")
    values = [(fault["message"], fault["type"]) for fault in problem["details"]]
    assert secret not in json.dumps(values)
    broken = await anonymous.post("/register", content=f'{{"password": "{secret}"'.encode(), headers=JSON)
    assert secret not in broken.text


@pytest.mark.parametrize("given", ["abc-123_x.y", "A" * 128])
async def test_a_sane_request_id_is_kept(anonymous: httpx.AsyncClient, given: str) -> None:
    answer = await anonymous.get("/nowhere", headers={"X-Request-ID": given})
    assert is_problem(answer, 404, "not_found")["request_id"] == given


@pytest.mark.parametrize("given", ["", "a b", "a\tb", "x" * 129, "é", '"}'])
async def test_another_request_id_is_replaced(anonymous: httpx.AsyncClient, given: str) -> None:
    answer = await anonymous.get("/nowhere", headers={b"X-Request-ID": given.encode()})
    made = is_problem(answer, 404, "not_found")["request_id"]
    assert made != given
    assert len(made) == 32


async def test_an_unexpected_error_is_logged_and_hidden(
    app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        async def get(self, _: Any) -> None:
            raise ZeroDivisionError("the secret recipe")

    monkeypatch.setattr(app.state.services[AccountLoader], "get", Broken().get)
    answer = await ada.get("/tasks", headers={"Origin": "http://localhost:3000"})
    problem = is_problem(answer, 500, "internal_error")
    assert "recipe" not in answer.text
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    record = next(record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert problem["request_id"] == answer.headers["x-request-id"]


async def test_a_caller_that_goes_away_is_no_error(app: FastAPI, ada: Account, caplog: pytest.LogCaptureFixture) -> None:
    request = ada.client.build_request("POST", "/tasks", json={"title": "never complete"}, headers=ada.headers)
    scope = {"type": "http", "method": "POST", "path": "/tasks", "raw_path": b"/tasks", "query_string": b"", "client": None}
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    messages = iter([{"type": "http.request", "body": b'{"ti', "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    with caplog.at_level(logging.INFO, "taskapi"):
        await app({**scope, "headers": headers, "root_path": "", "scheme": "http", "server": None}, receive, send)
    assert sent == []
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_and_unique_code(kind: type[errors.DomainError]) -> None:
    if "code" not in vars(kind):  # a category, which is never raised itself, or a case of an error that has a code
        assert kind.__subclasses__() or kind.code != errors.DomainError.code
        return
    error = kind.sample()
    assert 400 <= problems.status_of(error) <= 503
    assert [other for other in all_errors() if vars(other).get("code") == error.code] == [kind]
    assert error.detail.strip()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (pymongo_errors.ServerSelectionTimeoutError("no"), errors.DatabaseUnavailable),
        (pymongo_errors.AutoReconnect("no"), errors.DatabaseUnavailable),
        (pymongo_errors.NotPrimaryError("no"), errors.DatabaseUnavailable),
        (pymongo_errors.NetworkTimeout("no"), errors.DatabaseUnavailable),
        (pymongo_errors.WaitQueueTimeoutError("no"), errors.DatabaseUnavailable),
        (pymongo_errors.ExecutionTimeout("no", 50), errors.QueryTimeout),
        (pymongo_errors.OperationFailure("no", 14031), errors.DatabaseUnavailable),
        (pymongo_errors.OperationFailure("no keys found for HMAC", 211), errors.DatabaseUnavailable),
        (pymongo_errors.WriteConcernError("no", 91), errors.DatabaseUnavailable),
        (pymongo_errors.ConfigurationError("Sessions are not supported"), errors.DatabaseUnavailable),
        (pymongo_errors.WTimeoutError("no", 64), errors.DatabaseUnavailable),
        (pymongo_errors.BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 64}]}), errors.DatabaseUnavailable),
        (pymongo_errors.BulkWriteError({"writeErrors": [{"code": 2}], "writeConcernErrors": []}), type(None)),
        (pymongo_errors.OperationFailure("no", 2), type(None)),
        (pymongo_errors.DuplicateKeyError("no", 11000), type(None)),
    ],
)
def test_what_the_drivers_errors_mean(error: pymongo_errors.PyMongoError, expected: type) -> None:
    assert type(to_domain_error(error)) is expected


# SDAM specification, "not writable primary" and "node is recovering"; Retryable Writes specification
@pytest.mark.parametrize("code", [6, 7, 89, 91, 134, 189, 262, 9001, 10058, 10107, 11600, 11602, 13435, 13436])
def test_not_primary_errors_anywhere_mean_unavailable(code: int) -> None:
    nested: list[dict[str, Any]] = [
        {"writeErrors": [{"index": 0, "code": 2}, {"index": 1, "code": code}], "writeConcernErrors": []},
        {"writeErrors": [], "writeConcernErrors": [{"code": code}]},
    ]
    told = [
        pymongo_errors.OperationFailure("no", code),
        pymongo_errors.WriteError("no", code),
        pymongo_errors.OperationFailure("no", 2, {"writeConcernError": {"code": code}}),
        *(pymongo_errors.BulkWriteError(details) for details in nested),
    ]
    assert [type(to_domain_error(error)) for error in told] == [errors.DatabaseUnavailable] * len(told)


async def test_a_database_error_asks_to_come_back(app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: Any) -> None:
        raise pymongo_errors.AutoReconnect("db.internal:27017 closed")

    monkeypatch.setattr(app.state.services[AccountLoader], "get", fail)
    answer = await ada.get("/tasks")
    is_problem(answer, 503, "database_unavailable")
    assert answer.headers["retry-after"] == "2"
    assert "internal" not in answer.text


async def test_answers_carry_the_headers_of_safety(anonymous: httpx.AsyncClient) -> None:
    for path in ("/", "/health", "/nowhere", "/tasks"):
        headers = (await anonymous.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert float(headers["x-process-time-ms"]) >= 0


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            {"sort": "prio"},
            "must name one or more of title, priority, ",
        ),
        ({"fields": "title,titel"}, "Name 2 in the list is not a field"),
        ({"where": "{status: 1}"}, "must be valid JSON: Expecting property name enclosed in double quotes at character 1"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else "",
)
async def test_wrong_parameter_is_answered_with_what_to_send(ada: Account, query: dict[str, str], message: str) -> None:
    answer = await ada.get("/tasks", params=query)
    assert answer.json()["details"][0]["message"].startswith(message)


async def test_messages_about_bodies_use_json_terms(ada: Account) -> None:
    for path in ("/tasks", "/tasks/bulk", "/tasks/search"):
        (fault,) = (await ada.post(path, json=[])).json()["details"]
        assert fault["message"] == "Input should be an object"
    answer = await ada.post("/tasks", content=b'{"title": "caf\xe9"}', headers={"Content-Type": "application/json"})
    is_problem(answer, 400, "malformed_json", "The body is not valid JSON: it is not UTF-8.")


async def test_passwords_and_tokens_stay_out_of_the_log(
    anonymous: httpx.AsyncClient, ada: Account, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "taskapi"):
        await anonymous.post("/token", data={"username": "ada", "password": PASSWORD})
        await ada.get(f"/tasks?token={ada.token}")
        await ada.patch("/users/me", json={"password": "another password 1", "current_password": PASSWORD})
    lines = [record.getMessage() + str(record.__dict__) for record in caplog.records]
    assert any("/token" in line for line in lines)
    assert not any(secret in line for line in lines for secret in (PASSWORD, ada.token, "another password 1"))

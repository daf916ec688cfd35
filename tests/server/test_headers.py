"""Blanks around the values of headers, as they come over the wire (RFC 9110, section 5.5): they are no part of them."""

import json
import socket
from typing import Any, NamedTuple

import pytest

from tests.leaks import keep_secret
from tests.server.process import Server
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real

ORIGIN = "http://localhost:3000"
BLANKS = ["", " ", "\t", " \t  "]


class Wire(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def send(server: Server, line: str, *headers: str, body: bytes = b"") -> Wire:
    """The answer to a request whose headers are sent exactly as they are written here."""
    lines = [f"{line} HTTP/1.1", "Host: a", "Connection: close", f"Content-Length: {len(body)}", *headers]
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as wire:
        wire.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        head, _, content = b"".join(iter(lambda: wire.recv(65_536), b"")).partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    return Wire(
        int(status.split()[1]), {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}, content
    )


@pytest.fixture(scope="module")
def authorization(server: Server) -> str:
    return server.account()["Authorization"]


def make_task(server: Server, authorization: str, *headers: str) -> tuple[Wire, dict[str, Any]]:
    fields = (f"Authorization: {authorization}", "Content-Type: application/json", *headers)
    answer = send(server, "POST /tasks", *fields, body=b'{"title": "Blank"}')
    return answer, json.loads(answer.body)


@pytest.mark.parametrize("after", BLANKS)
@pytest.mark.parametrize("between", [" ", "  ", "     "])
def test_a_token_may_have_blanks_around_it(server: Server, authorization: str, between: str, after: str) -> None:
    token = keep_secret(authorization.removeprefix("Bearer "), "access_token")
    answer = send(server, "GET /users/me", f"Authorization:\t Bearer{between}{token}{after}")
    assert answer.status == 200, answer.body


@pytest.mark.parametrize("value", ["", " ", "Bearer", "Bearer ", "Bearer  \t"])
def test_blanks_are_no_token(server: Server, value: str) -> None:
    answer = send(server, "GET /users/me", f"Authorization: {value}")
    assert (answer.status, json.loads(answer.body)["error"]) == (401, "not_authenticated")


@pytest.mark.parametrize("blank", BLANKS)
def test_conditions_are_understood(server: Server, authorization: str, blank: str) -> None:
    _, task = make_task(server, authorization)
    path, caller, kind = f"/tasks/{task['id']}", f"Authorization: {authorization}", "Content-Type: application/json"
    for asked in ("*", '"1"', 'W/"1"'):
        assert send(server, f"GET {path}", caller, f"If-None-Match:{blank}{asked}{blank}").status == 304
    for version, asked in enumerate(("*", '"2"', '"3", "7"')):
        answer = send(
            server, f"PATCH {path}", caller, kind, f"If-Match: {asked}{blank}", body=b'{"priority": %d}' % (version + 2)
        )
        assert answer.status == 200, answer.body
    assert send(server, f"PATCH {path}", caller, kind, f'If-Match: "1"{blank}', body=b"{}").status == 412


@pytest.mark.parametrize("blank", BLANKS[1:])
def test_a_key_is_the_same_with_and_without(server: Server, authorization: str, blank: str) -> None:
    key = f"Idempotency-Key: blank-{blank.encode().hex()}"
    first, task = make_task(server, authorization, key + blank)
    again, repeated = make_task(server, authorization, key)
    assert (first.status, again.status, task) == (201, 201, repeated)
    assert again.headers["idempotent-replay"] == "true"


@pytest.mark.parametrize("blank", BLANKS)
def test_every_other_header_is_understood(server: Server, authorization: str, blank: str) -> None:
    fields = [
        f"Authorization: {authorization}",
        f"Origin: {ORIGIN}{blank}",
        f"Accept: application/json{blank}",
        f"Content-Type: application/json{blank}",
        f"Content-Encoding: identity{blank}",
        f"X-Request-ID: blank-7{blank}",
    ]
    answer = send(server, "POST /tasks", *fields, body=b'{"title": "Blank"}')
    assert answer.status == 201, answer.body
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["x-request-id"] == "blank-7"
    preflight = [f"Origin: {ORIGIN}{blank}", f"Access-Control-Request-Method: PATCH{blank}"]
    assert send(server, "OPTIONS /tasks", *preflight, f"Access-Control-Request-Headers: authorization{blank}").status == 200

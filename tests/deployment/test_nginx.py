"""The shipped nginx.conf, in a real nginx before a real ``taskapi serve``."""

import re
import socket
import subprocess
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from taskapi.core.errors import BodyTooLarge
from taskapi.core.settings import Settings
from taskapi.web import problems
from tests.client import is_problem
from tests.deployment.conftest import Site
from tests.deployment.nginx import configuration, nginx
from tests.tools import PATIENCE_SECONDS, free_port, running

pytestmark = pytest.mark.real

LIMIT = int(Settings.model_fields["max_body_bytes"].default)
MALLORY, TRUDY = "127.0.0.66", "127.0.0.67"  # callers that are not the trusted 127.0.0.0/31


@pytest.mark.parametrize("tls", [None, 8443])
def test_configuration_is_valid_with_and_without_tls(tmp_path: Path, tls: int | None) -> None:
    command = [*nginx(configuration(tmp_path, listen=8080, api=8000, tls=tls)), "-t"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_tasks_are_made_and_listed_through_nginx(alice: httpx.Client) -> None:
    made = alice.post("/tasks", json={"title": "Through nginx"})
    assert made.status_code == 201, made.text
    assert alice.get(made.headers["location"]).json() == made.json()
    assert alice.head(made.headers["location"]).headers["content-length"] == str(len(made.content))
    assert alice.options("/health").headers["allow"] == "GET, HEAD, OPTIONS"
    listed = alice.get("/tasks/", params={"limit": 1})
    assert listed.json() == [made.json()]
    assert listed.headers["x-total-count"]
    assert alice.delete(made.headers["location"]).status_code == 204


def test_long_query_keeps_its_next_link(alice: httpx.Client) -> None:
    made = [alice.post("/tasks", json={"title": "\N{CAT FACE}" * 200}) for _ in range(2)]
    where = '{"title": {"$gte": "' + "\N{CAT FACE}" * 380 + '"}}'
    answer = alice.get("/tasks", params={"where": '{"$nor": [' + where + "]}", "limit": 1, "sort": "title"})
    assert answer.status_code == 200
    assert len(answer.headers["link"]) > 5000
    assert answer.links["next"]["url"].endswith(f"&cursor={answer.headers['x-next-cursor']}")
    for task in made:
        assert alice.delete(task.headers["location"]).status_code == 204


def test_the_version_of_nginx_is_hidden(alice: httpx.Client) -> None:
    assert alice.get("/health").headers["server"] == "nginx"


def test_valid_request_id_is_kept_odd_one_replaced(site: Site, alice: httpx.Client) -> None:
    kept = alice.get("/health", headers={"X-Request-ID": "from-the.caller_1"})
    assert kept.headers.get_list("x-request-id") == ["from-the.caller_1"]
    assert site.logged("from-the.caller_1")["path"] == "/health"
    for odd in ('a"b', "a b", "x" * 129):
        assert re.fullmatch(r"[0-9a-f]{32}", alice.get("/health", headers={"X-Request-ID": odd}).headers["x-request-id"])


def test_errors_of_the_api_pass_unchanged(alice: httpx.Client) -> None:
    is_problem(alice.get("/nowhere"), 404, "not_found", problems.DETAILS[404])
    is_problem(alice.post("/tasks", json={}), 422, "validation_error")
    refused = alice.get("/tasks", headers={"Authorization": ""})
    is_problem(refused, 401, "not_authenticated")
    assert refused.headers["www-authenticate"] == "Bearer"


def test_a_body_at_the_limit_reaches_the_api(site: Site, alice: httpx.Client) -> None:
    answer = alice.post("/tasks", content=b" " * LIMIT, headers={"Content-Type": "application/json", "X-Request-ID": "full"})
    is_problem(answer, 400, "malformed_json")
    assert site.logged("full")["status"] == "400"  # it was the API that answered


def test_too_large_body_is_refused_as_by_api(site: Site, alice: httpx.Client) -> None:
    headers = {"Content-Type": "application/json", "X-Request-ID": "over"}
    answer = alice.post("/tasks", content=b" " * (LIMIT + 1), headers=headers)
    problem = is_problem(answer, 413, BodyTooLarge.code, BodyTooLarge(LIMIT).detail)
    assert problem["request_id"] == "over"
    assert "[over]" not in site.log.read_text()
    with site.caller(url=site.api) as direct:
        by_the_api = direct.post("/tasks", content=b" " * (LIMIT + 1), headers=headers).json()
    assert by_the_api == {**problem, "title": HTTPStatus(413).phrase}


def test_chunked_body_over_the_limit_is_refused(alice: httpx.Client) -> None:
    parts = (b" " * 65_536 for _ in range(LIMIT // 65_536 + 1))
    is_problem(alice.post("/tasks", content=parts, headers={"Content-Type": "application/json"}), 413, BodyTooLarge.code)


def test_long_answers_are_compressed_and_short_ones_not(alice: httpx.Client) -> None:
    made = [alice.post("/tasks", json={"title": f"Task {number}", "description": "long " * 50}).json() for number in range(10)]
    long = alice.get("/tasks", headers={"Accept-Encoding": "gzip"})
    assert long.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in long.headers["vary"]
    assert [task["id"] for task in long.json()] == [task["id"] for task in reversed(made)]
    assert "content-encoding" not in alice.get("/tasks", headers={"Accept-Encoding": "identity"}).headers
    assert "content-encoding" not in alice.get("/health", headers={"Accept-Encoding": "gzip"}).headers


@pytest.mark.parametrize(("path", "address"), [("/token", "127.0.0.70"), ("/register/", "127.0.0.71")])
def test_guessing_is_throttled_for_its_ip_only(site: Site, path: str, address: str) -> None:
    with site.caller(address) as client:
        answers = [client.post(path, json={}) for _ in range(30)]  # meanwhile, one more is admitted every two seconds
        reading = client.get(path)
        elsewhere = client.get("/health")
    statuses = [answer.status_code for answer in answers]
    assert statuses[:11] == [statuses[0]] * 11  # the first, and the burst
    assert statuses[0] in (415, 422)
    refused = answers[statuses.index(429)]
    is_problem(refused, 429, "too_many_requests")
    assert int(refused.headers["retry-after"]) > 0
    assert refused.headers["cache-control"] == "no-store"
    assert (reading.status_code, elsewhere.status_code) == (405, 200)
    with site.caller(TRUDY) as other:
        assert other.post(path, json={}).status_code == statuses[0]


def test_another_spelling_does_not_escape_the_rate_limit(site: Site) -> None:
    with site.caller("127.0.0.72") as client:
        statuses = [client.post(path).status_code for path in ("/token", "/token/", "/%74oken", "/token//", "/token?a=b") * 3]
    assert 429 in statuses


def test_api_sees_the_real_ip_not_a_claimed(site: Site) -> None:
    with site.caller(MALLORY) as client:
        client.get("/health", headers={"X-Request-ID": "honest"})
        client.get("/health", headers={"X-Request-ID": "claim", "X-Forwarded-For": "203.0.113.9"})
    assert site.logged("honest")["client"] == MALLORY
    assert site.logged("claim")["client"] == MALLORY


@pytest.mark.parametrize(("address", "seen"), [("127.0.0.1", "203.0.113.9"), (MALLORY, MALLORY)])
def test_api_trusts_forwarded_headers_of_trusted_proxies_only(site: Site, address: str, seen: str) -> None:
    identity = f"direct-{address}"
    with site.caller(address, site.api) as client:
        client.get("/health", headers={"X-Request-ID": identity, "X-Forwarded-For": "203.0.113.9"})
    assert site.logged(identity)["client"] == seen


def test_refusals_by_nginx_are_problems_too(site: Site, alice: httpx.Client) -> None:
    is_problem(alice.request("TRACE", "/tasks"), 405, "method_not_allowed", problems.DETAILS[405])
    is_problem(alice.get("/.problem"), 404, "not_found", problems.DETAILS[404])
    is_problem(alice.get("/tasks", params={"tag": "x" * 9000}), 414, "uri_too_long")
    is_problem(alice.get("/tasks", headers={"X-Long": "x" * 9000}), 431, "headers_too_large")
    with socket.create_connection(("127.0.0.1", int(site.url.rpartition(":")[2])), timeout=PATIENCE_SECONDS) as raw:
        raw.sendall(b"GET /tasks HTTP/1.1\r\n\r\n")  # no Host
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"error": "bad_request"' in answer


def test_silent_or_down_api_answers_with_retry_after(tmp_path: Path) -> None:
    public, tls = free_port(), free_port()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        path = configuration(
            tmp_path,
            listen=public,
            api=silent.getsockname()[1],
            tls=tls,
            changes={"proxy_read_timeout 30s": "proxy_read_timeout 200ms"},
        )
        with running(nginx(path), tmp_path / "nginx.log", public, tls):
            headers = {"X-Request-ID": "here", "X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
            with httpx.Client(trust_env=False, verify=False, timeout=PATIENCE_SECONDS) as client:
                late = client.get(f"https://127.0.0.1:{tls}/tasks", headers=headers)
                connection, _ = silent.accept()
                with connection:
                    seen = connection.recv(4096).decode().lower().split("\r\n")
                silent.close()
                down = client.get(f"http://127.0.0.1:{public}/tasks")
                posted = client.post(f"http://127.0.0.1:{public}/tasks", json={})
    assert '"path":"/tasks","status":"504"' in (tmp_path / "nginx.log").read_text()
    is_problem(late, 504, "gateway_timeout")
    is_problem(down, 502, "bad_gateway")
    is_problem(posted, 502, "bad_gateway")
    assert {answer.headers["retry-after"] for answer in (late, down, posted)} == {"2"}
    assert "max-age=31536000" in late.headers["strict-transport-security"]
    assert "strict-transport-security" not in down.headers
    assert {
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: https",
        f"x-forwarded-host: 127.0.0.1:{tls}",
        "x-request-id: here",
        "host: 127.0.0.1",
    } <= set(seen)
    assert not [line for line in seen if line.startswith(("forwarded:", "connection:"))]

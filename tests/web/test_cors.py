"""Which web origins may call, and with what."""

import httpx
import pytest

from tests.client import is_problem


async def test_cors_admits_only_the_configured_origin(anonymous: httpx.AsyncClient) -> None:
    ask = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,content-type"}
    allowed = await anonymous.options("/tasks", headers={"Origin": "http://localhost:3000", **ask})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "http://localhost:3000")
    refused = await anonymous.options("/tasks", headers={"Origin": "http://evil.example", **ask})
    assert "access-control-allow-origin" not in refused.headers
    is_problem(refused, 400, "cors_refused", "Disallowed CORS origin.")
    simple = await anonymous.get("/health", headers={"Origin": "http://localhost:3000"})
    assert "X-Total-Count" in simple.headers["access-control-expose-headers"]


@pytest.mark.parametrize("header", ["traceparent", "tracestate", "baggage", "sentry-trace", "x-requested-with"])
async def test_a_browser_may_send_what_tracing_adds(anonymous: httpx.AsyncClient, header: str) -> None:
    ask = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    answer = await anonymous.options("/tasks", headers={**ask, "Access-Control-Request-Headers": f"authorization, {header}"})
    assert answer.status_code == 200, answer.text
    assert header in answer.headers["access-control-allow-headers"].lower().split(", ")
    refused = await anonymous.options("/tasks", headers={**ask, "Access-Control-Request-Headers": f"{header}, x-other"})
    is_problem(refused, 400, "cors_refused")


async def test_private_network_access_is_denied_in_answered_preflight(anonymous: httpx.AsyncClient) -> None:
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Private-Network": "true"}
    answer = await anonymous.options("/tasks", headers={"Origin": "http://localhost:3000", **ask})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "http://localhost:3000")
    assert "access-control-allow-private-network" not in answer.headers
    assert "Access-Control-Request-Private-Network" in answer.headers["vary"]
    refused = await anonymous.options("/tasks", headers={"Origin": "http://evil.example", **ask})
    is_problem(refused, 400, "cors_refused", "Disallowed CORS origin.")

"""The routes about the service itself, and its documentation pages."""

import asyncio
import re

import httpx
import pytest
from fastapi import FastAPI

from taskapi.db import primary
from taskapi.db.connection import Database
from taskapi.web.services import Services
from tests.client import is_problem
from tests.conftest import another
from tests.tools import PATIENCE_SECONDS


async def test_welcome_says_where_to_go(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/")
    assert answer.status_code == 200
    assert answer.json()["message"] == "Welcome to the Task Management API"
    for place in ("docs", "redoc", "openapi", "live", "health"):
        assert (await anonymous.get(answer.json()["links"][place])).status_code == 200


async def test_health_needs_no_database(app: FastAPI, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.state._state, "services", Services())
    answer = await anonymous.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})


@pytest.mark.real
async def test_ready_with_a_primary(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "events": "available"})


@pytest.mark.real
async def test_concurrent_readiness_requests_share_one_check(
    app: FastAPI, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(primary, "FRESH_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(app.state.services[primary.PrimaryProbe], "_check", None)
    operations = await _linearizable_reads(app)
    answers = await asyncio.gather(*[anonymous.get("/ready") for _ in range(50)])
    assert {answer.status_code for answer in answers} == {200}
    assert await _linearizable_reads(app) - operations == 1


async def _linearizable_reads(app: FastAPI) -> int:
    """How many the server has answered."""
    status = await app.state.services[Database]._client.admin.command("serverStatus")
    return int(status["readConcernCounters"]["nonTransactionOps"]["linearizable"])


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_documentation_loads_every_file_from_here(anonymous: httpx.AsyncClient, page: str) -> None:
    answer = await anonymous.get(page)
    assert answer.status_code == 200
    sources = re.findall(r"""(?:src|href)=["']([^"']+)["']""", answer.text)
    assert sources
    for source in sources:
        assert source.startswith("/docs/assets/")
        assert (await anonymous.get(source)).status_code == 200
    assert "http" not in re.sub(r"https?://(www\.)?w3\.org\S*", "", " ".join(re.findall(r"url\(([^)]*)\)", answer.text)))
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"https?:", answer.headers["content-security-policy"])


@pytest.mark.real
async def test_documentation_can_be_turned_off() -> None:
    async with another(docs=False) as client:
        for page in ("/docs", "/redoc", "/openapi.json", "/live"):
            is_problem(await client.get(page), 404, "not_found")
        assert "docs" not in (await client.get("/")).json()["links"]

"""The routes about the service itself, and its documentation pages."""

import re

import httpx
import pytest
from fastapi import FastAPI
from pymongo.errors import ServerSelectionTimeoutError

from tests.client import is_problem
from tests.conftest import another


async def test_welcome_says_where_to_go(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/")
    assert answer.status_code == 200
    assert answer.json()["message"] == "Welcome to the Task Management API"
    for place in ("docs", "redoc", "openapi", "health"):
        assert (await anonymous.get(answer.json()["links"][place])).status_code == 200


async def test_health_needs_no_database(app: FastAPI, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.state._state, "database", None)
    answer = await anonymous.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})


@pytest.mark.real
async def test_ready_with_a_primary(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [({"isWritablePrimary": False}, "MongoDB has no primary."), (ServerSelectionTimeoutError("x"), "MongoDB cannot be reached.")],
)
async def test_not_ready_says_why(
    app: FastAPI, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, answer: object, reason: str
) -> None:
    class Admin:
        async def command(self, _: str) -> object:
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr(app.state.database, "_client", type("Client", (), {"admin": Admin()}))
    response = await anonymous.get("/ready")
    is_problem(response, 503, "database_unavailable", reason)
    assert int(response.headers["retry-after"]) > 0


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
async def test_documentation_can_be_turned_off(app: FastAPI) -> None:
    async with another(app, docs=False) as client:
        for page in ("/docs", "/redoc", "/openapi.json"):
            is_problem(await client.get(page), 404, "not_found")
        assert "docs" not in (await client.get("/")).json()["links"]

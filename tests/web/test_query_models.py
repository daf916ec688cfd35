"""Query models in signatures: read by the route class, after everything that comes before the endpoint."""

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict

from taskapi.web import problems, routing


class Search(BaseModel):
    model_config = ConfigDict(extra="forbid")

    word: str | None = None
    limit: int = 20


class Body(BaseModel):
    title: str


def application() -> FastAPI:
    router = routing.strict_router()

    @router.get("/plain")
    async def plain(query: Annotated[Search, Query()]) -> Search:
        return query

    @router.get("/with-request")
    async def with_request(request: Request, query: Annotated[Search, Query()]) -> str:
        return f"{request.url.path} {query.limit}"

    @router.post("/with-body", openapi_extra={"parameters": [{"name": "X-Own", "in": "header"}]})
    async def with_body(data: Body, query: Annotated[Search, Query()]) -> str:
        return f"{data.title} {query.word}"

    app = FastAPI(routes=router.routes)

    problems.install(app)
    return app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application()), base_url="http://test") as client:
        yield client


@pytest.mark.parametrize(
    ("query", "faults"),
    [("limit=x", "limit:int_parsing"), ("other=1", "other:extra_forbidden"), ("word=a&word=b", "word:repeated_parameter")],
)
async def test_wrong_parameters_are_refused_by_name(client: httpx.AsyncClient, query: str, faults: str) -> None:
    for path in ("/plain", "/with-request"):
        response = await client.get(f"{path}?{query}")
        assert [f"{each['field']}:{each['type']}" for each in response.json()["details"]] == [faults]


async def test_body_is_judged_before_the_query(client: httpx.AsyncClient) -> None:
    response = await client.post("/with-body?limit=x", json={})
    assert [each["field"] for each in response.json()["details"]] == ["title"]


def test_parameters_are_documented_before_those_of_the_route() -> None:
    paths = application().openapi()["paths"]
    assert [each["name"] for each in paths["/plain"]["get"]["parameters"]] == ["word", "limit"]
    assert [each["name"] for each in paths["/with-body"]["post"]["parameters"]] == ["word", "limit", "X-Own"]


def test_parameters_outside_a_model_are_a_mistake() -> None:
    router = routing.strict_router()

    async def bare(word: str) -> str:
        return word

    async def beside(query: Annotated[Search, Query()], word: str) -> str:
        return word

    for endpoint in (bare, beside):
        with pytest.raises(TypeError, match="one Pydantic model"):
            router.get("/")(endpoint)

"""The baseline of the benchmark: the least that one Python process must do for the same requests.

Starlette routes, a JWT check with python-jose, the account lookup, one Motor query, orjson; on the same
collections as the API. No validation, no errors, no middleware. BENCH_URI, BENCH_DATABASE and BENCH_SECRET configure it.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
from bson import ObjectId
from jose import jwt
from motor.motor_asyncio import AsyncIOMotorClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SECRET = os.environ["BENCH_SECRET"]
UNREAD = {"history": 0}
database: Any = None


def answer(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value, default=str), status, media_type="application/json")


async def account(request: Request) -> dict[str, Any]:
    token = request.headers["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, SECRET, "HS256", audience="taskapi", issuer="taskapi")
    alive = {"_id": ObjectId(claims["sub"]), "disabled": False, "sessions": ObjectId(claims["sid"])}
    user: dict[str, Any] = await database.users.find_one(alive)
    return user


def public(task: dict[str, Any]) -> dict[str, Any]:
    task["id"] = task.pop("_id")
    return task


async def read(request: Request) -> Response:
    user = await account(request)
    task = await database.tasks.find_one({"_id": ObjectId(request.path_params["id"]), "owner.id": user["_id"]}, UNREAD)
    return answer(public(task)) if task else answer(None, 404)


async def page(request: Request) -> Response:
    user = await account(request)
    limit = int(request.query_params.get("limit", "20"))
    newest = [("created_at", -1), ("_id", -1)]
    tasks = await database.tasks.find({"owner.id": user["_id"]}, UNREAD).sort(newest).limit(limit).to_list(limit)
    return answer([public(task) for task in tasks])


async def create(request: Request) -> Response:
    user = await account(request)
    body = orjson.loads(await request.body())
    now = datetime.now(UTC)
    task = {
        "title": body["title"],
        "description": body.get("description", ""),
        "status": "todo",
        "completed": False,
        "completed_at": None,
        "priority": 1,
        "due_date": None,
        "tags": [],
        "links": [],
        "checklist": [],
        "progress": 0.0,
        "metadata": {},
        "owner": {"id": user["_id"], "username": user["username"]},
        "created_at": now,
        "updated_at": now,
        "version": 1,
    }
    await database.tasks.insert_one(task)
    return answer(public(task), 201)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    global database
    client: Any = AsyncIOMotorClient(os.environ["BENCH_URI"], tz_aware=True)
    database = client[os.environ["BENCH_DATABASE"]]
    yield
    client.close()


app = Starlette(
    routes=[Route("/tasks", page), Route("/tasks", create, methods=["POST"]), Route("/tasks/{id}", read)], lifespan=lifespan
)

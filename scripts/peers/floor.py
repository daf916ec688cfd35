"""The floor: the least that one Python process must do to answer the requests of the benchmark.

Starlette routes, a check of the token with python-jose, one query for the account and one for the tasks with Motor, and orjson.
No validation, no error format, no history, no log.
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
from pymongo import ReturnDocument
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SECRET = os.environ["PEER_SECRET"]
database: Any = None


def answer(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value, default=str), status, media_type="application/json")


async def account(request: Request) -> dict[str, Any]:
    token = request.headers["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, SECRET, "HS256", audience="taskapi")
    user: dict[str, Any] = await database.users.find_one({"_id": ObjectId(claims["sub"])})
    return user


def public(task: dict[str, Any]) -> dict[str, Any]:
    task["id"] = task.pop("_id")
    return task


async def read(request: Request) -> Response:
    user = await account(request)
    task = await database.tasks.find_one({"_id": ObjectId(request.path_params["id"]), "owner.id": user["_id"]})
    return answer(public(task)) if task else answer(None, 404)


async def page(request: Request) -> Response:
    user = await account(request)
    limit = int(request.query_params.get("limit", "20"))
    tasks = await database.tasks.find({"owner.id": user["_id"]}).sort("created_at", -1).limit(limit).to_list(limit)
    return answer([public(task) for task in tasks])


async def create(request: Request) -> Response:
    user = await account(request)
    body = orjson.loads(await request.body())
    now = datetime.now(UTC)
    task = {
        "title": body["title"],
        "description": body.get("description", ""),
        "status": "todo",
        "priority": 1,
        "tags": [],
        "completed": False,
        "due_date": None,
        "owner": {"id": user["_id"], "username": user["username"]},
        "created_at": now,
        "updated_at": now,
    }
    await database.tasks.insert_one(task)
    return answer(public(task), 201)


async def change(request: Request) -> Response:
    user = await account(request)
    body = orjson.loads(await request.body())
    task = await database.tasks.find_one_and_update(
        {"_id": ObjectId(request.path_params["id"]), "owner.id": user["_id"]},
        {"$set": {"priority": body["priority"], "updated_at": datetime.now(UTC)}},
        return_document=ReturnDocument.AFTER,
    )
    return answer(public(task)) if task else answer(None, 404)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    global database
    client: Any = AsyncIOMotorClient(os.environ["PEER_URI"], tz_aware=True)
    database = client[os.environ["PEER_DATABASE"]]
    yield
    client.close()


app = Starlette(
    routes=[
        Route("/tasks", page),
        Route("/tasks", create, methods=["POST"]),
        Route("/tasks/{id}", read),
        Route("/tasks/{id}", change, methods=["PATCH"]),
    ],
    lifespan=lifespan,
)

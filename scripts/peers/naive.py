"""A first FastAPI application on Beanie, as its tutorials show it: documents are loaded, and validated again for the answer."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from beanie import Document, PydanticObjectId, init_beanie
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer
from jose import JWTError, jwt
from motor.motor_asyncio import AsyncIOMotorClient
from pydantic import BaseModel, Field


class Status(StrEnum):
    todo = "todo"
    in_progress = "in_progress"
    done = "done"


class Owner(BaseModel):
    id: PydanticObjectId
    username: str


class User(Document):
    username: str

    class Settings:
        name = "users"


class TaskFields(BaseModel):
    title: str
    description: str = ""
    status: Status = Status.todo
    priority: int = 1
    tags: list[str] = []
    completed: bool = False
    due_date: datetime | None = None
    owner: Owner
    created_at: datetime
    updated_at: datetime


class Task(TaskFields, Document):
    class Settings:
        name = "tasks"


class TaskRead(TaskFields):
    id: PydanticObjectId


class TaskCreate(BaseModel):
    title: str = Field(min_length=3, max_length=200)
    description: str = Field("", max_length=2000)


class TaskUpdate(BaseModel):
    priority: int = Field(ge=1, le=5)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    client: Any = AsyncIOMotorClient(os.environ["PEER_URI"], tz_aware=True)
    await init_beanie(client[os.environ["PEER_DATABASE"]], document_models=[User, Task])
    yield
    client.close()


app = FastAPI(lifespan=lifespan)


async def current_user(token: Annotated[str, Depends(OAuth2PasswordBearer("/token"))]) -> User:
    try:
        claims = jwt.decode(token, os.environ["PEER_SECRET"], "HS256", audience="taskapi")
    except JWTError:
        raise HTTPException(401, "Could not validate credentials") from None
    user = await User.get(claims["sub"])
    if user is None:
        raise HTTPException(401, "Could not validate credentials")
    return user


CurrentUser = Annotated[User, Depends(current_user)]


async def owned_task(task_id: PydanticObjectId, user: CurrentUser) -> Task:
    task = await Task.find_one(Task.id == task_id, Task.owner.id == user.id)
    if task is None:
        raise HTTPException(404, "Task not found")
    return task


OwnedTask = Annotated[Task, Depends(owned_task)]


@app.get("/tasks/{task_id}", response_model=TaskRead)
async def read(task: OwnedTask) -> Task:
    return task


@app.get("/tasks", response_model=list[TaskRead])
async def page(user: CurrentUser, limit: int = 20) -> list[Task]:
    return await Task.find(Task.owner.id == user.id).sort("-created_at").limit(limit).to_list()


@app.post("/tasks", response_model=TaskRead, status_code=201)
async def create(body: TaskCreate, user: CurrentUser) -> Task:
    assert user.id
    now = datetime.now(UTC)
    owner = Owner(id=user.id, username=user.username)
    return await Task(**body.model_dump(), owner=owner, created_at=now, updated_at=now).insert()


@app.patch("/tasks/{task_id}", response_model=TaskRead)
async def change(task: OwnedTask, body: TaskUpdate) -> Task:
    await task.set({"priority": body.priority, "updated_at": datetime.now(UTC)})
    return task

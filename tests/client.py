"""How tests call the API and look at what it stored."""

from dataclasses import dataclass
from typing import Any

import httpx
from beanie import Document
from bson import ObjectId
from fastapi import FastAPI

from taskapi.accounts.auth import oauth
from taskapi.accounts.users.documents import UserDocument
from taskapi.tasks.storage.documents import TaskDocument
from tests.leaks import keep_secret
from tests.stored import collection

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Account:
    """Somebody who is signed in: a client that sends their token."""

    client: httpx.AsyncClient
    id: str
    username: str
    token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("GET", path, **options)

    async def post(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("POST", path, **options)

    async def patch(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("PATCH", path, **options)

    async def put(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("PUT", path, **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("DELETE", path, **options)

    async def make_task(self, title: str = "A task", **fields: Any) -> dict[str, Any]:
        answer = await self.post("/tasks", json={"title": title, **fields})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


async def make_account(client: httpx.AsyncClient, username: str, **fields: Any) -> Account:
    """Registers somebody and signs them in."""
    body = {"username": username, "password": PASSWORD, **fields}
    answer = await client.post("/register", json=body)
    assert answer.status_code == 201, answer.text
    token = await sign_in(client, username, body["password"])
    assert token.status_code == 200, token.text
    return Account(client, answer.json()["id"], username, token.json()["access_token"], token.json()["refresh_token"])


async def make_admin(client: httpx.AsyncClient, username: str, **fields: Any) -> Account:
    """The same, for an admin."""
    account = await make_account(client, username, **fields)
    await collection(UserDocument).update_one({"_id": ObjectId(account.id)}, {"$set": {"role": "admin"}})
    return await signed_in(client, account)


async def signed_in(client: httpx.AsyncClient, account: Account, **form: str) -> Account:
    """Another session of ``account``; ``form`` may ask for scopes."""
    token = await client.post("/token", data={"username": account.username, "password": PASSWORD, **form})
    assert token.status_code == 200, token.text
    body = token.json()
    return Account(client, account.id, account.username, body["access_token"], body["refresh_token"])


async def sign_in(client: httpx.AsyncClient, username: str, password: str = PASSWORD) -> httpx.Response:
    answer = await client.post("/token", data={"username": username, "password": keep_secret(password, "password")})
    if answer.status_code == 200:
        for name in ("access_token", "refresh_token"):
            keep_secret(answer.json()[name], name)
    return answer


def at(app: FastAPI, address: str) -> httpx.AsyncClient:
    """A client that calls ``app`` from another address."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 50000))
    return httpx.AsyncClient(transport=transport, base_url="http://taskapi")


async def stored(document: type[Document], document_id: str) -> dict[str, Any] | None:
    """The document as MongoDB keeps it."""
    return await collection(document).find_one({"_id": ObjectId(document_id)})


async def stored_task(document_id: str) -> dict[str, Any]:
    task = await stored(TaskDocument, document_id)
    assert task is not None
    return task


async def take_task(account: Account, **fields: Any) -> dict[str, Any]:
    """A new task as it is stored, a template for others; it is in the collection no more."""
    made = await account.make_task(**fields)
    found = await collection(TaskDocument).find_one_and_delete({"_id": ObjectId(made["id"])})
    assert found is not None
    return found


async def stored_user(document_id: str) -> dict[str, Any]:
    user = await stored(UserDocument, document_id)
    assert user is not None
    return user


def is_problem(answer: httpx.Response, status: int, code: str, detail: str | None = None) -> dict[str, Any]:
    """Asserts that ``answer`` is that problem in the one format, and returns it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    if (
        answer.request.method != "POST" or answer.request.url.path not in oauth.PATHS
    ):  # tests/accounts/auth/test_oauth.py knows those
        assert body["error"] == code
    assert body["type"] == f"urn:taskapi:problem:{code}"
    assert isinstance(body["detail"], str)
    assert body["title"]
    assert body["request_id"] == answer.headers["x-request-id"]
    if detail is not None:
        assert body["detail"] == detail
    return body


def wrong_fields(answer: httpx.Response) -> dict[str, str]:
    """The fields that a 422 names, with the kind of each fault."""
    return {fault["field"]: fault["type"] for fault in is_problem(answer, 422, "validation_error")["details"]}

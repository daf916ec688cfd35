"""How tests make API tokens, use them, and see what became of them."""

from typing import Any

import httpx
from bson import ObjectId

from taskapi.accounts.users.documents import UserDocument
from taskapi.audit.documents import SecurityEventDocument
from tests.client import Account
from tests.stored import collection

PATH = "/users/me/tokens"


async def make(ada: Account, name: str = "report", *scopes: str, **fields: Any) -> dict[str, Any]:
    answer = await ada.post(PATH, json={"name": name, "scopes": list(scopes) or ["tasks:read"], **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def use(ada: Account, made: dict[str, Any], method: str = "GET", path: str = "/tasks", **options: Any) -> httpx.Response:
    return await ada.client.request(method, path, headers={"Authorization": f"Bearer {made['token']}"}, **options)


async def change(ada: Account, update: dict[str, Any]) -> None:
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, update)


async def events(ada: Account) -> list[tuple[str, dict[str, str]]]:
    """What happened to ada's tokens."""
    found = collection(SecurityEventDocument).find({"user": ObjectId(ada.id), "kind": {"$regex": "^token_"}}, sort=[("_id", 1)])
    return [(event["kind"], event["details"]) async for event in found]

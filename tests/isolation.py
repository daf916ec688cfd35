"""A small world with somebody whose things nobody else may touch, and every operation of the API as a call on them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from bson import ObjectId

from taskapi.accounts.users.documents import UserDocument
from taskapi.audit.documents import SecurityEventDocument
from taskapi.main import DOCUMENTS
from taskapi.webhooks.deliveries import new_delivery
from taskapi.webhooks.documents import WebhookDeliveryDocument
from tests.client import PASSWORD, Account, make_account
from tests.stored import collection

Operation = dict[str, Any]  # of the OpenAPI document, with its ``method`` and ``path``
OF_TRASH = {"restore_task", "remove_task"}
VOLATILE = {"last_seen_at", "last_used_at"}  # also change when somebody is refused
SECRET_TITLE = "Not for strangers"
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
ENDLESS = {"stream_events"}  # whose answers have no end: of those who may call, the head is asked for

QUERIES = {"update_tasks": {"where": "{}"}, "delete_tasks": {"where": "{}"}}
BODIES: Mapping[str, Any] = {  # where the example of the document does not fit the world; {…} is the id of something in it
    "sign_in": {"username": "owner", "password": PASSWORD},
    "revoke_token": {"token": "worth nothing"},
    "change_in_bulk": {"operations": [{"op": "update", "id": "{task_id}", "changes": {"priority": 5}}]},
}


@dataclass(frozen=True)
class Call:
    """A request that is right in every way, but for who sends it."""

    method: str
    path: str
    options: dict[str, Any]
    names_something: bool  # of the owner's, in its path

    async def by(self, client: httpx.AsyncClient, token: str | None) -> httpx.Response:
        given = self.options.get("headers", {})
        headers = given if token is None else {**given, "Authorization": f"Bearer {token}"}
        return await client.request(self.method, self.path, **{**self.options, "headers": headers})


@dataclass
class World:
    """An owner with their things, and a stranger."""

    client: httpx.AsyncClient
    owner: Account
    stranger: Account
    ids: dict[str, str] = field(default_factory=dict)

    @classmethod
    async def made(cls, client: httpx.AsyncClient) -> "World":
        world = cls(client, await make_account(client, "owner"), await make_account(client, "stranger"))
        task = await world.owner.make_task(SECRET_TITLE, checklist=[{"text": "one"}])
        world.ids |= {"task_id": task["id"], "item_id": task["checklist"][0]["id"]}
        return world

    async def set_owner(self, change: dict[str, Any]) -> None:
        await collection(UserDocument).update_one({"_id": ObjectId(self.owner.id)}, change)

    async def token(self, scopes: str = "") -> str:
        """An access token of the owner, of a new session; for those of ``scopes`` that they can have."""
        form = {"username": "owner", "password": PASSWORD, "scope": scopes}
        answer = await self.client.post("/token", data=form)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def api_token(self) -> str:
        """A token of the owner for scripts."""
        scopes = ["account", "tasks:read", "tasks:write"]
        answer = await self.owner.post("/users/me/tokens", json={"name": "script", "scopes": scopes})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    async def call(self, operation: Operation) -> Call:
        """The call of ``operation`` on the things of the owner."""
        name, path = operation["operationId"], operation["path"]
        names = [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"]
        for parameter in names:
            make = _trashed if name in OF_TRASH else MAKERS.get(parameter)
            if make:
                self.ids[parameter] = await make(self)
        options = {"params": QUERIES.get(name, {}), **self._body(operation)}
        return Call(operation["method"], path.format(**self.ids), options, bool(names))

    def _body(self, operation: Operation) -> dict[str, Any]:
        if "requestBody" not in operation:
            return {}
        kind, content = next(iter(operation["requestBody"]["content"].items()))
        name = operation["operationId"]
        body = self._filled(BODIES[name]) if name in BODIES else _example(content, operation["schemas"])
        if kind in (JSON, FORM):
            return {"json" if kind == JSON else "data": body}
        return {"content": body, "headers": {"Content-Type": kind}}

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._filled(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self._filled(member) for member in value]
        return self.ids.get(value[1:-1], value) if isinstance(value, str) else value

    async def kept(self) -> list[Any]:
        """All that is stored of the owner, but for the events: refusals may be among them."""
        documents = [document for document in DOCUMENTS if document is not SecurityEventDocument]
        found = [each for document in documents for each in await collection(document).find(sort=[("_id", 1)]).to_list(None)]
        return [_steady(each) for each in found if self.owner.id in str(each)]


async def _trashed(world: World) -> str:
    task = await world.owner.make_task("Thrown away")
    assert (await world.owner.delete(f"/tasks/{task['id']}")).status_code == 204
    return str(task["id"])


async def _session(world: World) -> str:
    await world.token()
    sessions = (await world.owner.get("/users/me/sessions")).json()
    return str(next(session["id"] for session in sessions if not session["current"]))


async def _user(world: World) -> str:
    return world.stranger.id


async def _token(world: World) -> str:
    answer = await world.owner.post("/users/me/tokens", json={"name": "another script", "scopes": ["tasks:read"]})
    return str(answer.json()["id"])


async def _webhook(world: World) -> str:
    answer = await world.owner.post("/webhooks", json={"url": "https://hooks.invalid/tasks"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def _delivery(world: World) -> str:
    hook = ObjectId(world.ids["webhook_id"])
    made = new_delivery(ObjectId(world.owner.id), hook, "webhook.ping", "webhook ping", SECRET_TITLE.encode())
    await collection(WebhookDeliveryDocument).insert_one({**made, "status": "delivered"})
    return str(made["_id"])


Maker = Callable[[World], Awaitable[str]]
MAKERS: Mapping[str, Maker] = {
    "session_id": _session,
    "token_id": _token,
    "user_id": _user,
    "webhook_id": _webhook,
    "delivery_id": _delivery,
}  # what a path may name, beside the task that is always there


def operations(document: dict[str, Any]) -> dict[str, Operation]:
    """The operations of an OpenAPI document by their ids."""
    about = {"schemas": document["components"]["schemas"]}
    return {
        operation["operationId"]: {**operation, **about, "method": method.upper(), "path": path}
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def _example(content: dict[str, Any], schemas: dict[str, Any]) -> Any:
    if "example" in content:
        return content["example"]
    schema = content["schema"]
    schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return schema["examples"][0]


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _steady(member) for name, member in value.items() if name not in VOLATILE}
    return [_steady(member) for member in value] if isinstance(value, list) else value

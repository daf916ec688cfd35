"""What a running API stores: it is used in every way, while a change stream notes what is written."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import pyotp
from bson import Int64, ObjectId
from pymongo.read_concern import ReadConcern

from taskapi.accounts.auth.loaders import ApiTokensLastUsed
from taskapi.core.clock import utc_now
from taskapi.db.connection import Database
from taskapi.db.migrations.documents import MigrationDocument
from taskapi.db.migrations.migrator import Migrator
from taskapi.db.service_state import ServiceStateDocument
from taskapi.main import SCHEMA
from taskapi.tasks.schemas import TASK_EXAMPLE
from tests.accounts.users.leavers import is_due, leave, remove
from tests.accounts.users.renamer import follow_due
from tests.analytics.daily.refreshing import refreshed
from tests.client import PASSWORD, Account, make_account, make_admin, sign_in
from tests.conftest import another
from tests.mailbox import Mailbox
from tests.stored import service
from tests.webhooks.hooks import until_stored
from tests.webhooks.receiver import receiver

BSON = dict[str, Any]
LAST = "last"  # a collection that is none of the API's
TYPES = {
    str: "string",
    bool: "bool",
    int: "int",
    Int64: "long",
    float: "double",
    bytes: "binData",
    datetime: "date",
    ObjectId: "objectId",
    type(None): "null",
    dict: "object",
    list: "array",
}


@dataclass(frozen=True)
class Written:
    """The documents of each collection in the order of their writes, and the BSON types of each field, by its dotted path."""

    documents: defaultdict[str, list[BSON]] = field(default_factory=lambda: defaultdict(list))
    types: defaultdict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))

    def note(self, name: str, document: BSON) -> None:
        self.documents[name].append(document)
        self.types[name].update(types(document))


def types(document: BSON, path: str = "") -> Iterator[tuple[str, str]]:
    """The paths in a document with the BSON type of each. A member of a list has its path and brackets."""
    for name, member in document.items():
        *_, last = parts = [*path.split("."), *name.split(".")]  # a path with an index names a member of a list
        yield from _types(member, ".".join(part for part in parts if part and not part.isdecimal()), is_member=last.isdecimal())


def _types(value: Any, path: str, *, is_member: bool = False) -> Iterator[tuple[str, str]]:
    yield (whole := f"{path}[]" if is_member else path), TYPES[type(value)]
    if isinstance(value, dict):
        yield from types(value, path.replace("[]", ""))
    elif isinstance(value, list):
        for member in value:
            yield from _types(member, whole, is_member=True)


@asynccontextmanager
async def _noting(written: Written) -> AsyncIterator[None]:
    """Notes what is written meanwhile, and what was there before."""
    database = service(Database).collection(MigrationDocument).database.with_options(read_concern=ReadConcern("majority"))
    for document in (MigrationDocument, ServiceStateDocument):
        for found in await service(Database).collection(document).find().to_list(None):
            written.note(document.Settings.name, found)
    async with database.watch(full_document="updateLookup") as changes:
        yield
        await database[LAST].insert_one({})
        async for change in changes:
            name = change["ns"]["coll"]
            if name == LAST:
                break
            if document := change.get("fullDocument"):
                written.note(name, document)
            written.types[name].update(types(change.get("updateDescription", {}).get("updatedFields", {})))
    await database[LAST].drop()


async def use_everything(client: httpx.AsyncClient, mailbox: Mailbox) -> Written:
    """What the API stores when it is used in every way that leaves a field of its own."""
    written = Written()
    async with _noting(written):
        ada = await make_account(client, "Countess", email="Ada@example.com", full_name="Ada Lovelace")
        await _use_tasks(ada)
        await _use_webhook(ada)
        await _use_account(ada, mailbox)
        await _use_service(client)
    return written


async def _use_tasks(ada: Account) -> None:
    key = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}
    made = (await ada.post("/tasks", json=TASK_EXAMPLE, headers=key)).json()
    for changes in ({"status": "in_progress"}, {"status": "done"}, {"title": "Write the report"}):
        _succeeded(await ada.patch(f"/tasks/{made['id']}", json=changes))
    other = await ada.make_task("Plan the year")
    for _ in range(2):
        _succeeded(await ada.delete(f"/tasks/{other['id']}"))
        _succeeded(await ada.post(f"/tasks/{other['id']}/restore"))
    _succeeded(await ada.delete(f"/tasks/{other['id']}"))
    _succeeded(await ada.delete(f"/trash/{other['id']}"))
    _succeeded(await ada.delete(f"/tasks/{(await ada.make_task('Order paper'))['id']}"))
    line = b'{"key": "outlook-17", "title": "Call back"}'
    _succeeded(await ada.post("/tasks/import?match=key", content=line, headers={"Content-Type": "application/jsonl"}))


async def _use_webhook(ada: Account) -> None:
    async with receiver() as here:
        made = {"url": here.url, "where": {"tags": "work"}, "description": "Feeds the wall display"}
        hook = f"/webhooks/{(await ada.post('/webhooks', json=made)).json()['id']}"
        _succeeded(await ada.post(f"{hook}/rotate-secret"))
        await ada.make_task("Order paper", tags=["work"])
        await here.events(1)
        await until_stored({"status": "delivered"})
    _succeeded(await ada.patch(hook, json={"url": "https://example.com/hooks/tasks", "enabled": False}))


async def _use_account(ada: Account, mailbox: Mailbox) -> None:
    client = ada.client
    _succeeded(await client.post("/email/verify", json={"token": await mailbox.token("Ada@example.com")}))
    _succeeded(await client.post("/password/forgot", json={"email": "ada@example.com"}))
    await mailbox.settle()
    _succeeded(await ada.patch("/users/me", json={"email": "ada@example.org", "current_password": PASSWORD}))
    _succeeded(await client.post("/token", data={"grant_type": "refresh_token", "refresh_token": ada.refresh_token}))
    for _ in range(12):
        await sign_in(client, "Countess", "a wrong password")
    token = (await ada.post("/users/me/tokens", json={"name": "Nightly report", "scopes": ["tasks:read"]})).json()["token"]
    _succeeded(await client.get("/tasks", headers={"Authorization": f"Bearer {token}"}))
    _succeeded(await ada.post("/events/tickets"))
    await service(ApiTokensLastUsed).close()  # writes what it has
    _succeeded(await ada.patch("/users/me", json={"username": "Ada"}))
    await follow_due()


async def _use_service(client: httpx.AsyncClient) -> None:
    root, mary, bob = [await make_admin(client, name) for name in ("root", "mary", "bob")]
    _succeeded(await root.patch(f"/users/{mary.id}", json={"role": "user"}))
    secret = (await bob.post("/users/me/two-factor", json={"password": PASSWORD})).json()["secret"]
    _succeeded(await bob.post("/users/me/two-factor/confirm", json={"code": pyotp.TOTP(secret).at(utc_now())}))
    eve = await make_account(client, "eve")
    await eve.make_task()
    await refreshed()
    _succeeded(await leave(eve))
    await is_due(eve)
    await remove()
    await Migrator(service(Database), SCHEMA).up()
    async with another():  # which stores the fingerprint of the key that signs
        pass


def _succeeded(answer: httpx.Response) -> None:
    assert answer.is_success, answer.text

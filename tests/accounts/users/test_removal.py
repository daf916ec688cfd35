"""Removing accounts: all of them goes, once, whoever is interrupted; or nothing, when they came back in time."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from beanie import Document
from bson import ObjectId
from fastapi import FastAPI

from taskapi.accounts.deletion.service import Eraser
from taskapi.accounts.recovery.documents import OneTimeTokenDocument
from taskapi.accounts.security.documents import ThrottleDocument
from taskapi.accounts.users.documents import UserDocument
from taskapi.audit.documents import GONE, SecurityEventDocument
from taskapi.core.background import Jobs
from taskapi.core.clock import utc_now
from taskapi.db.migrations.documents import MigrationDocument
from taskapi.db.service_state import ServiceStateDocument
from taskapi.mail.documents import MailJobDocument
from taskapi.main import DOCUMENTS
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.web.idempotency.documents import IdempotencyDocument
from taskapi.webhooks.deliveries import new_delivery
from taskapi.webhooks.documents import WebhookDeliveryDocument
from taskapi.wiring import account_erasers
from tests.accounts.users.leavers import erasers, is_due, lease_ends, leave, remove
from tests.analytics.daily.refreshing import refreshed
from tests.client import Account, is_problem, make_account, sign_in, stored, stored_user
from tests.stored import collection
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("moderate")  # the documents of others are incomplete
DAY = timedelta(days=1)
# What a throttle counts can be told from nothing in it.
NOBODYS: set[type[Document]] = {ThrottleDocument, ServiceStateDocument, MigrationDocument}


async def traces(*texts: str) -> list[str]:
    """The collections in which one of ``texts`` stands anywhere."""
    found = []
    for document in DOCUMENTS:
        kept = str(await collection(document).find().to_list(None)).lower()
        found += [document.Settings.name for text in texts if text.lower() in kept]
    return found


async def everywhere(account: Account) -> None:
    """Lets something of ``account`` stand in every collection."""
    for number in range(3):
        task = await account.make_task(f"A task {number}")
        await account.patch(f"/tasks/{task['id']}", json={"priority": 5})
    await account.delete(f"/tasks/{task['id']}")
    purged = await account.make_task()
    await account.delete(f"/tasks/{purged['id']}")
    await account.delete(f"/trash/{purged['id']}")
    once = await account.post("/tasks", json={"title": "Once"}, headers={"Idempotency-Key": "once"})
    assert once.status_code == 201
    theirs, later = {"user": ObjectId(account.id)}, utc_now() + DAY
    await collection(OneTimeTokenDocument).insert_one({**theirs, "purpose": "any", "expires_at": later})
    assert (await account.post("/events/tickets")).status_code == 201
    await collection(MailJobDocument).insert_one({**theirs, "kind": "any", "due_at": later, "leased_until": later})
    await refreshed()
    hook = await account.post("/webhooks", json={"url": "https://hooks.invalid/tasks", "description": account.username})
    made = new_delivery(
        ObjectId(account.id), ObjectId(hook.json()["id"]), "webhook.ping", "webhook ping", account.username.encode()
    )
    await collection(WebhookDeliveryDocument).insert_one({**made, "status": "delivered"})
    about_somebody_else = {"user": ObjectId(), "by": ObjectId(account.id), "address": "203.0.113.9", "agent": account.username}
    await collection(SecurityEventDocument).insert_one({**about_somebody_else, "kind": "role_changed", "at": utc_now()})


async def test_removal_waits_until_it_is_time(ada: Account) -> None:
    await leave(ada)
    before = await stored_user(ada.id)
    await remove()
    assert await stored_user(ada.id) == before


def test_every_document_belongs_to_or_is_an_account(app: FastAPI) -> None:
    assert set(account_erasers(app.state.services)) | {UserDocument} == set(DOCUMENTS) - NOBODYS


@pytest.mark.real
async def test_removal_erases_one_account_and_nothing_else(ada: Account, anonymous: httpx.AsyncClient) -> None:
    leaver = await make_account(anonymous, "leaver", email="leaver@example.com")
    await everywhere(ada)
    others = {document: await collection(document).find({"user": ObjectId(ada.id)}).to_list(None) for document in DOCUMENTS}
    tasks = await collection(TaskDocument).find().to_list(None)
    await everywhere(leaver)
    assert set(await traces(leaver.id)) == {
        document.Settings.name for document in {*DOCUMENTS} - NOBODYS
    }  # else this proves nothing
    await leave(leaver)
    await is_due(leaver)
    await remove()
    assert await traces(leaver.id, "leaver") == []
    assert await collection(SecurityEventDocument).count_documents({"by": GONE, "address": "", "agent": ""}) == 1
    assert await collection(TaskDocument).find().to_list(None) == tasks
    for document, kept in others.items():
        assert await collection(document).find({"user": ObjectId(ada.id)}).to_list(None) == kept
    assert await collection(IdempotencyDocument).count_documents({"_id.scope": f"user:{ada.id}"}) == 1
    assert (await ada.get("/users/me")).status_code == 200
    is_problem(await sign_in(anonymous, "leaver"), 401, "bad_credentials")
    again = await make_account(anonymous, "Leaver", email="leaver@example.com")
    assert (await again.get("/tasks")).json() == []


@pytest.mark.real
async def test_the_removal_of_many_tasks_goes_in_batches(ada: Account) -> None:
    task = await ada.make_task()
    template = await stored(TaskDocument, task["id"]) or {}
    many = [{**template, "_id": ObjectId()} for _ in range(1200)]
    trashed = {"state": "trash", "trash": {"owner": template["owner"], "deleted_at": utc_now(), "expires_at": utc_now() + DAY}}
    bare = {name: value for name, value in template.items() if name != "owner"}
    await collection(TaskDocument).insert_many([*many, *({**bare, **trashed, "_id": ObjectId()} for _ in range(700))])
    await leave(ada)
    await is_due(ada)
    await remove()
    assert await collection(TaskDocument).count_documents({}) == 0


class Interrupted(Exception):
    """The power went."""


async def interrupt(_: ObjectId) -> None:
    raise Interrupted


@pytest.mark.real
async def test_interrupted_removal_resumes_and_blocks_sign_in(anonymous: httpx.AsyncClient) -> None:
    leaver = await make_account(anonymous, "leaver")
    await everywhere(leaver)
    await leave(leaver)
    await is_due(leaver)
    steps: list[Eraser] = erasers()
    for place in range(len(steps) + 1):
        with pytest.raises(Interrupted):
            await remove(*steps[:place], interrupt)
        await remove()  # somebody else has the lease
        assert (await stored_user(leaver.id))["leaving"]["leased_until"] > utc_now().replace(tzinfo=None)
        await collection(ThrottleDocument).delete_many({})
        is_problem(await sign_in(anonymous, "leaver"), 401, "bad_credentials")
        is_problem(await sign_in(anonymous, "leaver", "wrong password"), 401, "bad_credentials")
        await lease_ends(leaver)
        is_problem(await sign_in(anonymous, "leaver"), 401, "bad_credentials")
    await remove()
    assert await traces(leaver.id, "leaver") == []


async def remove_after(operations: int) -> None:
    for _ in range(operations):
        await collection(UserDocument).find_one()
    await remove()


@pytest.mark.real
async def test_of_signing_in_and_removal_one_wins(anonymous: httpx.AsyncClient) -> None:
    for number in range(12):
        account = await make_account(anonymous, f"user{number}")
        task = await account.make_task()
        await leave(account)
        await is_due(account)
        answer, _ = await asyncio.gather(sign_in(anonymous, account.username), remove_after(number))
        user, kept = await stored(UserDocument, account.id), await stored(TaskDocument, task["id"])
        if answer.status_code == 200:
            assert user is not None
            assert "leaving" not in user
            assert kept is not None
        else:
            is_problem(answer, 401, "bad_credentials")
            assert (user, kept) == (None, None)


@pytest.mark.real
async def test_two_workers_share_the_removals(anonymous: httpx.AsyncClient) -> None:
    accounts = [await make_account(anonymous, f"user{number}") for number in range(6)]
    for account in accounts[:5]:
        await account.make_task()
        await leave(account)
        await is_due(account)
    removed: list[ObjectId] = []

    async def noting(user: ObjectId) -> None:
        removed.append(user)

    await asyncio.gather(*(remove(noting, *erasers()) for _ in range(2)))
    assert sorted(removed) == sorted(ObjectId(account.id) for account in accounts[:5])
    assert [str(user["_id"]) async for user in collection(UserDocument).find()] == [accounts[5].id]


@pytest.mark.real
async def test_worker_that_lost_its_lease_stops_removing(ada: Account) -> None:
    await leave(ada)
    await is_due(ada)
    taken = utc_now() + DAY

    async def takes_over(_: ObjectId) -> None:
        change = {"$set": {"leaving.leased_until": taken}}
        await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, change)

    await remove(takes_over)
    assert (await stored_user(ada.id))["leaving"]["leased_until"] == taken.replace(tzinfo=None)


@pytest.mark.real
async def test_background_job_of_each_worker_removes_due_accounts(app: FastAPI, ada: Account) -> None:
    await leave(ada)
    await is_due(ada)
    for job in app.state.services[Jobs]:
        job.wake()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await stored(UserDocument, ada.id):  # noqa: ASYNC110 - only MongoDB knows
            await asyncio.sleep(0.02)


@pytest.mark.real
async def test_the_removal_finds_all_by_indexes(ada: Account) -> None:
    await everywhere(ada)
    database = collection(UserDocument).database
    level = await database.command("profile", 2)
    try:
        await leave(ada)
        await is_due(ada)
        await remove()
    finally:
        await database.command("profile", 0)
    assert level["ok"] == 1
    scans = await database["system.profile"].find({"planSummary": "COLLSCAN"}).to_list(None)
    await database["system.profile"].drop()
    assert [(scan["ns"], scan.get("command")) for scan in scans] == []

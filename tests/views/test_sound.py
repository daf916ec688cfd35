"""No view holds a secret, and none fails because of what a script has stored."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from fastapi import FastAPI

from taskapi.accounts.users.documents import UserDocument
from taskapi.audit.documents import SecurityEventDocument
from taskapi.main import VIEWS
from taskapi.tasks.storage.documents import TaskDocument
from tests.accounts.two_factor.test_router import turn_on
from tests.analytics.daily.refreshing import refreshed
from tests.client import PASSWORD, Account, at, make_account, sign_in, stored_user
from tests.damage import MISSING, damaged, store
from tests.stored import collection
from tests.tasks.spoiled import FIELDS, HISTORY, OTHERS, as_stored, sound_task
from tests.views.reading import rows, rows_of

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("made_anew")]

ADDRESS, AGENT, EMAIL, NAME = "203.0.113.77", "planted-agent/1.0", "planted@example.com", "Planted Name"
UNIQUE = {"username_key", "email_key"}
CREATED, DAY = datetime(2026, 1, 1), timedelta(days=1)
DAYS_BEFORE, DAYS_AFTER, FAR = CREATED - 5 * DAY, CREATED + 5 * DAY, DatetimeMS(2**52)
SECRET = "planted_secret"
INNER = {
    TaskDocument: [
        f"{path}.{SECRET}"
        for path in (
            "owner",
            "trash",
            "trash.owner",
            "checklist.0",
            "history.0",
            "history.0.by",
            "history.0.before",
            "status_changes.0",
        )
    ],
    SecurityEventDocument: [f"details.{SECRET}"],
}
TOKENS = "/users/me/tokens"
TIMES = ["status_changes", "status_changes.at", "status_changes.status", "changed_at", "state", "owner_id"]


def texts(value: Any) -> Iterator[str]:
    """All that a row says, as text."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    else:
        yield value.hex() if isinstance(value, bytes) else str(value)


async def planted(app: FastAPI, username: str = "ada") -> dict[str, str]:
    """What an account and its events hold that no analyst may see."""
    async with at(app, ADDRESS) as client:
        client.headers["user-agent"] = AGENT
        account = await make_account(client, username, email=EMAIL, full_name=NAME)
        await account.make_task("A task", status="done")
        made = await account.post(TOKENS, json={"name": "script", "scopes": ["tasks:read"]})
        assert made.status_code == 201, made.text
        factor = await turn_on(account)
        await sign_in(client, username, "a wrong password")
        await sign_in(client, "nobody-planted", "a wrong password")
    await refreshed()
    stored = await stored_user(account.id)
    secrets = {"address": ADDRESS, "agent": AGENT, "name": NAME, "password": PASSWORD, "hash": stored["password_hash"]}
    secrets |= {"access": account.token, "refresh": account.refresh_token, "totp": factor.secret, "unknown": "nobody-planted"}
    secrets |= {"authenticator": stored["authenticator"]["secret"].hex(), "session": str(stored["sessions"][0])}
    secrets |= {"token": made.json()["token"], "token hash": stored["api_tokens"][0]["hash"].hex()}
    return secrets | {f"recovery {place}": each.hex() for place, each in enumerate(stored["authenticator"]["recovery"])}


async def test_no_view_holds_a_secret(app: FastAPI, anonymous: object) -> None:
    secrets = await planted(app)
    assert all(len(secret) > 8 for secret in secrets.values())
    for view in VIEWS:
        found = list(texts(await rows(view.name)))
        assert [kind for kind, secret in secrets.items() if any(secret in each for each in found)] == [], view.name
        assert (EMAIL in found) == (view.name == "v_user_emails")


async def test_unknown_fields_are_in_no_view(app: FastAPI, ada: Account) -> None:
    """What a script, or a later version, has added."""
    await planted(app, "eve")
    await ada.delete(f"/tasks/{(await ada.make_task('Gone', checklist=[{'text': 'One'}]))['id']}")
    await ada.make_task("Kept", checklist=[{"text": "One"}])
    for document in {view.on for view in VIEWS}:
        paths = [SECRET, *INNER.get(document, ())]
        async for stored in (found := collection(document)).find({}):
            there = [path for path in paths if stored.get(path.partition(".")[0])]
            change = {"$set": dict.fromkeys([SECRET, *there], SECRET)}
            await found.update_one({"_id": stored["_id"]}, change, bypass_document_validation=True)
        assert all([await found.count_documents({path: SECRET}) for path in paths]), document
    for view in VIEWS:
        assert (found_rows := await rows(view.name)), view.name
        assert not [text for text in texts(found_rows) if SECRET in text], view.name


async def test_users_are_shown_as_they_are(ada: Account, bob: Account) -> None:
    await collection(UserDocument).update_one({"_id": ObjectId(bob.id)}, {"$set": {"disabled": True, "role": "admin"}})
    names = ("username", "disabled", "role", "two_factor", "has_email", "email_verified", "deletion_due_at")
    assert sorted(tuple(row[name] for name in names) for row in await rows("v_users")) == [
        ("ada", False, "user", False, False, False, None),
        ("bob", True, "admin", False, False, False, None),
    ]
    assert await rows("v_user_emails") == []


async def test_sign_ins_are_events(ada: Account) -> None:
    await sign_in(ada.client, "ada", "a wrong password")
    await sign_in(ada.client, "nobody", "a wrong password")
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"disabled": True}})
    await sign_in(ada.client, "ada")
    found = sorted(await rows("v_sign_ins"), key=lambda row: row["_id"])
    user = ObjectId(ada.id)
    assert [(row["user_id"], row["succeeded"], row["reason"]) for row in found] == [
        (user, True, None),
        (user, False, None),
        (None, False, None),
        (user, False, "disabled"),
    ]


def are_declared(view: str, found: list[dict[str, Any]]) -> bool:
    """Whether rows have the declared fields and no others; a sound row has all of them."""
    (declared,) = ({field.name for field in each.fields} for each in VIEWS if each.name == view)
    return {name for row in found for name in row} == declared and any(row.keys() == declared for row in found)


async def test_rows_have_the_declared_fields(ada: Account) -> None:
    await make_account(ada.client, "eve", email=EMAIL)
    await collection(TaskDocument).insert_one(await sound_task(ada))
    gone = (await ada.make_task("Gone"))["id"]
    await ada.delete(f"/tasks/{gone}")
    await refreshed()
    for view in VIEWS:
        assert are_declared(view.name, await rows(view.name)), view.name


@pytest.mark.parametrize("paths", [FIELDS, HISTORY, [*OTHERS, *TIMES]], ids=["fields", "history", "others"])
async def test_damaged_tasks_fail_no_view(ada: Account, paths: list[str]) -> None:
    sound = await sound_task(ada)
    spoiled = [each for each in damaged({**sound, "colour": None}, paths) if each is not MISSING]
    trashed = {**sound, "state": "trash", "trash": {"owner": sound["owner"], "deleted_at": 1, "expires_at": "never"}}
    kept = await store(TaskDocument, as_stored([*spoiled, {**trashed, "_id": ObjectId(), "key": "trashed"}]))
    active = [each["_id"] for each in kept if each.get("state") == "active"]
    assert {row["_id"] for row in await rows("v_tasks")} >= set(active)
    await refreshed()
    for name in (
        "v_tasks",
        "v_tasks_deleted",
        "v_task_changes",
        "v_status_periods",
        "v_checklist_items",
        "v_task_tags",
        "v_task_days",
        "v_days",
    ):
        await rows(name)
        assert await rows_of(name, [{"$group": {"_id": "$owner_id", "rows": {"$sum": 1}}}])


@pytest.mark.parametrize(
    "odd",
    [None, 7, [], "x", {"at": "x"}, {}, {"at": DAYS_BEFORE}, {"at": DAYS_AFTER}, {"at": [DAYS_AFTER]}, {"at": FAR}],
    ids=str,
)
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_periods_are_in_order(ada: Account, odd: Any, place: int) -> None:
    """One after another up to now, whatever is among the changes of status."""
    made = await ada.make_task("A task")
    changes = [{"status": status, "at": CREATED + days * DAY} for days, status in enumerate(("todo", "done", "in_progress"))]
    changes.insert(place, {"status": "done", **odd} if isinstance(odd, dict) else odd)
    stored = {"created_at": CREATED, "status_changes": changes}
    await collection(TaskDocument).update_one({"_id": ObjectId(made["id"])}, {"$set": stored}, bypass_document_validation=True)
    found = sorted(await rows("v_status_periods"), key=lambda row: (row["from"], row["until"] or datetime.max, row["status"]))
    lasting = [row for row in found if row["days"]]
    assert found[0]["from"] == CREATED
    assert [row["until"] for row in lasting] == [*(row["from"] for row in lasting[1:]), None]
    assert all(row["days"] >= 0 for row in found)
    assert [row["until"] for row in found].count(None) == 1


async def test_damaged_accounts_and_events_fail_no_view(ada: Account) -> None:
    await sign_in(ada.client, "ada", "a wrong password")
    for document, others in ((UserDocument, ("leaving", "colour")), (SecurityEventDocument, ("details",))):
        sound = await collection(document).find_one({})
        assert sound is not None
        spoiled = list(damaged({**sound, "leaving": None}, [*sound.keys() - {"_id", *UNIQUE}, *others]))
        assert await store(document, [{**each, **{name: str(each["_id"]) for name in UNIQUE & each.keys()}} for each in spoiled])
    for name in ("v_users", "v_user_emails", "v_sign_ins"):
        assert await rows(name)

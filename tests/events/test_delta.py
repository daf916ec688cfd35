"""Delta sync: what is refused, and that a copy equals the list after whatever happens."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId, Timestamp

from taskapi.core.clock import rfc3339, utc_now
from taskapi.core.keys import Keyring, decode_base64url, encode_base64url
from taskapi.db.change_streams import StreamsUnsupported
from taskapi.events.positions import Page, Position, PositionCodec, PositionSigner
from taskapi.tasks.services import changed_tasks
from taskapi.tasks.services.changes import TaskChanges
from taskapi.tasks.services.trash import TrashService
from taskapi.tasks.storage.documents import TaskDocument
from tests.accounts.users.renamer import follow_due
from tests.client import Account, is_problem, stored_task, wrong_fields
from tests.conftest import SECRET
from tests.events.copies import Copy, all_tasks, changes, page
from tests.stored import collection, service
from tests.tasks.import_export.test_importer import take

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("copies_wait")]

DAY_SECONDS = 86_400


async def types_of(account: Account, since: str) -> dict[str, tuple[str, list[str]]]:
    events, _ = await changes(account, since)
    return {event["task_id"]: (event["type"], event["changed"]) for event in events}


def position(account: Account, at: Position) -> str:
    return service(PositionCodec).write(at, ObjectId(account.id))


def seconds_ago(seconds: int) -> Timestamp:
    return Timestamp(int(utc_now().timestamp()) - seconds, 1)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"limit": "0"}, {"limit": "greater_than_equal"}),
        ({"limit": "1001"}, {"limit": "less_than_equal"}),
        ({"limit": "ten"}, {"limit": "int_parsing"}),
        ({"since": "a b"}, {"since": "string_pattern_mismatch"}),
        ({"since": ""}, {"since": "string_pattern_mismatch"}),
        ({"since": "a" * 500}, {"since": "string_too_long"}),
        ({"offset": "1"}, {"offset": "extra_forbidden"}),
    ],
    ids=str,
)
async def test_invalid_parameters_are_refused(ada: Account, given: dict[str, str], fault: dict[str, str]) -> None:
    assert wrong_fields(await ada.get("/tasks/changes", params=given)) == fault


async def test_foreign_position_is_a_forged_one(ada: Account, bob: Account) -> None:
    await bob.make_task()
    for _, since in [await changes(bob), await changes(bob, limit=1)]:
        is_problem(await ada.get("/tasks/changes", params={"since": since}), 400, "invalid_position")
    for event in (await changes(bob))[0]:
        is_problem(await ada.get("/tasks/changes", params={"since": event["id"]}), 400, "invalid_position")


async def test_each_changed_byte_makes_a_position_invalid(ada: Account) -> None:
    await ada.make_task()
    ((event,), since) = await changes(ada)
    for text in (since, event["id"]):
        whole = decode_base64url(text)
        assert whole is not None
        for place in range(len(whole)):
            forged = encode_base64url(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            is_problem(await ada.get("/tasks/changes", params={"since": forged}), 400, "invalid_position")
            if place:
                cut = {"since": encode_base64url(whole[:place])}
                is_problem(await ada.get("/tasks/changes", params=cut), 400, "invalid_position")


async def test_position_of_another_database_has_expired(ada: Account) -> None:
    other = PositionCodec(PositionSigner(Keyring([SECRET]).derived("positions")), b"another database")
    since = other.write(Position(seconds_ago(0)), ObjectId(ada.id))
    assert (
        "another database"
        in is_problem(await ada.get("/tasks/changes", params={"since": since}), 410, "position_expired")["detail"]
    )


@pytest.mark.parametrize("days", [30, 10_000])
@pytest.mark.parametrize("where", ["a run", "its first page", "its page"])
async def test_position_expires_with_the_tombstones(ada: Account, days: int, where: str) -> None:
    old = seconds_ago(days * DAY_SECONDS)
    pages = {"a run": None, "its first page": Page(None, 1, ObjectId()), "its page": Page(old.time * 1000, 1, ObjectId())}
    since = position(ada, Position(old, page=pages[where]))
    is_problem(await ada.get("/tasks/changes", params={"since": since}), 410, "position_expired")


async def test_position_is_valid_while_tombstones_are_kept(ada: Account) -> None:
    task = await ada.make_task()
    since = position(ada, Position(seconds_ago(30 * DAY_SECONDS - 600)))
    assert (await types_of(ada, since)).keys() == {task["id"]}


async def test_position_of_the_future_has_expired(ada: Account) -> None:
    since = position(ada, Position(seconds_ago(-3600)))
    is_problem(await ada.get("/tasks/changes", params={"since": since}), 410, "position_expired")


async def test_standalone_mongodb_is_told(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_: TaskChanges) -> None:
        raise StreamsUnsupported

    monkeypatch.setattr(TaskChanges, "now", refuse)
    is_problem(await ada.get("/tasks/changes"), 501, "change_streams_unsupported")


async def test_account_without_tasks_gets_a_position(ada: Account, bob: Account) -> None:
    await bob.make_task()
    found = await page(ada)
    assert (found["changes"], found["more"]) == ([], False)
    assert (await page(ada, found["next"]))["changes"] == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 1000])
async def test_first_run_has_the_active_tasks_in_pages(ada: Account, bob: Account, limit: int) -> None:
    tasks = [await ada.make_task(f"Task {number}") for number in range(9)]
    await bob.make_task()
    await ada.delete(f"/tasks/{tasks[0]['id']}")
    await ada.delete(f"/tasks/{tasks[1]['id']}")
    await ada.delete(f"/trash/{tasks[1]['id']}")
    copy = Copy(ada, limit)
    events = await copy.follow()
    assert [event["task"] for event in events] == tasks[:1:-1]
    assert {(event["type"], tuple(event["changed"])) for event in events} == {("task.created", ())}
    times = [rfc3339((await stored_task(event["task_id"]))["changed_at"]) for event in events]
    assert [event["at"] for event in events] == times
    assert copy.tasks == await all_tasks(ada)
    again = await copy.follow()  # what is within the overlap comes again, with what is gone
    assert {event["type"] for event in again} == {"task.created", "task.deleted", "task.purged"}
    assert copy.tasks == await all_tasks(ada)


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_every_kind_of_write_arrives(ada: Account, limit: int) -> None:
    copy = Copy(ada, limit)
    await copy.follow()
    task = await ada.make_task(tags=["a"], checklist=[{"text": "One"}])
    path = f"/tasks/{task['id']}"
    other = await ada.make_task("Another")
    imported = '{"title": "Imported", "key": "k1", "created_at": "2020-01-01T00:00:00Z"}\n'
    writes: list[tuple[str, str, dict[str, Any]]] = [
        ("PATCH", path, {"json": {"title": "Changed"}}),
        ("PUT", path, {"json": {"title": "Put", "status": "done"}}),
        ("POST", f"{path}/checklist", {"json": {"text": "Two"}}),
        ("POST", "/tasks/bulk?atomic=true", {"json": {"operations": [{"op": "delete", "id": other["id"]}]}}),
        ("POST", "/tasks/bulk", {"json": {"operations": [{"op": "create", "task": {"title": "In bulk"}}]}}),
        ("PATCH", "/tasks?tag=a", {"json": {"priority": 5}}),
        ("POST", f"/tasks/{other['id']}/restore", {}),
        ("POST", f"{path}/revert", {"json": {"version": 1}}),
        ("POST", "/tasks/import", {"content": imported, "headers": {"Content-Type": "application/jsonl"}}),
        ("DELETE", path, {}),
        ("DELETE", f"/trash/{task['id']}", {}),
        ("DELETE", "/tasks?status=todo", {}),
    ]
    for method, target, options in writes:
        answer = await ada.call(method, target, **options)
        assert answer.is_success, (target, answer.text)
        await copy.follow()
        assert copy.tasks == await all_tasks(ada), target


async def test_type_and_fields_say_what_has_happened(ada: Account) -> None:
    names = ("kept", "changed", "deleted", "restored", "purged")
    tasks = {name: (await ada.make_task(f"To be {name}"))["id"] for name in names}
    old = utc_now() - timedelta(days=3)
    aged = {"created_at": old, "changed_at": old, "history.0.at": old}
    await collection(TaskDocument).update_many({}, {"$set": aged})
    _, since = await changes(ada)
    await ada.patch(f"/tasks/{tasks['changed']}", json={"title": "Another", "tags": ["a"]})
    await ada.patch(f"/tasks/{tasks['changed']}", json={"status": "done"})
    for name in ("deleted", "restored", "purged"):
        await ada.delete(f"/tasks/{tasks[name]}")
    await ada.post(f"/tasks/{tasks['restored']}/restore")
    await ada.delete(f"/trash/{tasks['purged']}")
    made = (await ada.make_task("New"))["id"]
    assert await types_of(ada, since) == {
        tasks["changed"]: ("task.updated", ["completed", "completed_at", "progress", "status", "tags", "title"]),
        tasks["deleted"]: ("task.deleted", []),
        tasks["restored"]: ("task.restored", []),
        tasks["purged"]: ("task.purged", []),
        made: ("task.created", []),
    }


async def test_task_in_place_of_tombstone_arrives(ada: Account) -> None:
    line = {"id": str(ObjectId()), "title": "First life"}
    await take(ada, [line], "?match=id")
    copy = Copy(ada)
    (first,) = await copy.follow()
    path = f"/tasks/{first['task_id']}"
    for priority in (1, 2, 4):
        await ada.patch(path, json={"priority": priority})
    await copy.follow()
    await ada.delete(path)
    await ada.delete(f"/trash/{first['task_id']}")
    await take(ada, [{**line, "title": "Second life"}], "?match=id")
    (event,) = await copy.follow()
    assert (event["type"], event["version"]) == ("task.created", 7)
    assert copy.tasks == await all_tasks(ada)
    assert [task["title"] for task in copy.tasks.values()] == ["Second life"]


async def test_new_name_of_the_owner_arrives(ada: Account) -> None:
    await ada.make_task()
    copy = Copy(ada)
    await copy.follow()
    await ada.patch("/users/me", json={"username": "countess"})
    await follow_due()
    await copy.follow()
    assert copy.tasks == await all_tasks(ada)
    assert {task["owner"]["username"] for task in copy.tasks.values()} == {"countess"}


async def test_event_id_goes_on_behind_the_event(ada: Account) -> None:
    for number in range(5):
        await ada.make_task(f"Task {number}")
    first, since = await changes(ada)
    later, _ = await changes(ada, since)
    for events in (first, later):
        for place, event in enumerate(events):
            rest, _ = await changes(ada, event["id"], limit=2)
            assert [each["task_id"] for each in rest] == [each["task_id"] for each in events[place + 1 :]]


async def test_task_that_expires_between_pages_is_gone(ada: Account) -> None:
    tasks = [await ada.make_task(f"Task {number}") for number in range(6)]
    copy = Copy(ada)
    await copy.follow()
    for task in tasks[:3]:
        await ada.delete(f"/tasks/{task['id']}")
    found = await page(ada, copy.since, 4)
    await collection(TaskDocument).update_many({"state": "trash"}, {"$set": {"trash.expires_at": utc_now()}})
    await asyncio.gather(*(service(TrashService).purge_expired() for _ in range(2)))
    rest, copy.since = await changes(ada, found["next"], 2)
    for event in [*found["changes"], *rest]:
        copy.apply(event)
    assert copy.tasks == await all_tasks(ada)
    assert {event["task_id"] for event in rest if event["type"] == "task.purged"} == {task["id"] for task in tasks[:3]}


async def test_page_of_long_tasks_ends_early(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        await ada.make_task(f"Task {number}", description="x" * 1000)
    _, behind = await changes(ada)
    monkeypatch.setattr(changed_tasks, "MAX_READ", 2)
    monkeypatch.setattr(changed_tasks, "MAX_BYTES", 2500)
    for since in (None, behind):
        found = await page(ada, since)
        assert 0 < len(found["changes"]) < 7
        assert found["more"]
        rest, _ = await changes(ada, found["next"])
        ids = [event["task_id"] for event in [*found["changes"], *rest]]
        assert sorted(ids) == sorted(await all_tasks(ada))

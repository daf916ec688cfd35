"""Subscriptions of the WebSocket of events: what is told, in which order, from where, and until when."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson import ObjectId
from fastapi import FastAPI
from pymongo.errors import AutoReconnect

from taskapi.accounts.users.documents import UserDocument
from taskapi.db.change_streams import HistoryLost
from taskapi.events import follower
from taskapi.events.feed import ChangeFeed
from taskapi.events.guard import ListenerGuard
from taskapi.events.socket import subscription
from taskapi.tasks.services.changes import TaskChanges
from tests.client import Account, signed_in
from tests.events.sockets import Sockets, Wire, serving_sockets
from tests.events.test_tickets import ticket_of
from tests.stored import collection, service
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real


@pytest.fixture
async def sockets(app: FastAPI) -> AsyncIterator[Sockets]:
    async with serving_sockets(app) as served:
        yield served
    assert service(ChangeFeed)._followers == {}
    assert not service(ListenerGuard)._listeners


async def titles(wire: Wire, count: int) -> list[str]:
    return [(await wire.event())["task"]["title"] for _ in range(count)]


async def test_changes_are_told_in_their_order(sockets: Sockets, ada: Account) -> None:
    async with sockets.of(ada) as wire:
        await wire.subscribe()
        task = await ada.make_task("one")
        await ada.patch(f"/tasks/{task['id']}", json={"title": "two"})
        await ada.delete(f"/tasks/{task['id']}")
        await ada.post(f"/tasks/{task['id']}/restore")
        await ada.delete(f"/tasks/{task['id']}")
        await ada.delete(f"/trash/{task['id']}")
        events = [await wire.event() for _ in range(6)]
    kinds = ["created", "updated", "deleted", "restored", "deleted", "purged"]
    assert [event["type"] for event in events] == [f"task.{kind}" for kind in kinds]
    versions = [event["version"] for event in events]
    assert versions == sorted(versions)
    assert {event["task_id"] for event in events} == {task["id"]}
    assert len({event["id"] for event in events}) == 6


async def test_one_goes_on_where_one_was(sockets: Sockets, ada: Account) -> None:
    async with sockets.of(ada) as wire:
        await wire.subscribe()
        for number in range(5):
            await ada.make_task(f"task {number}")
        events = [await wire.event() for _ in range(5)]
    await ada.make_task("task 5")
    async with sockets.of(ada) as wire:
        assert await wire.subscribe(since=events[2]["id"]) == events[2]["id"]
        assert await titles(wire, 3) == ["task 3", "task 4", "task 5"]
        assert (await ada.make_task("task 6"))["title"] in await titles(wire, 1)


async def test_subscriptions_are_independent(sockets: Sockets, ada: Account) -> None:
    async with sockets.of(ada) as wire:
        await wire.subscribe("all")
        await wire.subscribe("high", where={"priority": {"$gte": 4}})
        await wire.subscribe("tag", tag="work")
        task = await ada.make_task("high", priority=5)
        await ada.make_task("low", priority=1, tags=["Work"])
        await ada.patch(f"/tasks/{task['id']}", json={"priority": 1})
        told: dict[str, list[str]] = {"all": [], "high": [], "tag": []}
        for _ in range(6):
            message = await wire.expect("event")
            told[message["subscription"]].append(message["event"]["type"])
        assert told == {
            "all": ["task.created", "task.created", "task.updated"],
            "high": ["task.created", "task.left"],
            "tag": ["task.created"],
        }


async def test_after_its_end_a_subscription_is_silent(sockets: Sockets, ada: Account) -> None:
    async with sockets.of(ada) as wire:
        await wire.subscribe("one")
        await wire.subscribe("two")
        await wire.send("unsubscribe", id="one")
        await wire.expect("unsubscribed", id="one")
        await ada.make_task("told once")
        await wire.event("two")
        await wire.send("ping")
        await wire.expect("pong")
        await wire.subscribe("one")


async def test_a_window_waits_for_acks(sockets: Sockets, ada: Account) -> None:
    async with sockets.of(ada) as wire:
        await wire.subscribe(window=2)
        for number in range(6):
            await ada.make_task(f"task {number}")
        first, second = await wire.event(), await wire.event()
        await wire.send("ping")
        await wire.expect("pong")  # and no third event
        await wire.send("ack", id="s", position=first["id"])
        await wire.expect("acknowledged", id="s", position=first["id"])
        third = await wire.event()
        await wire.send("ack", id="s", position=first["id"])  # again, which changes nothing
        await wire.expect("acknowledged", position=first["id"])
        await wire.send("ack", id="s", position=third["id"])  # and the second with it
        await wire.expect("acknowledged", position=third["id"])
        assert await titles(wire, 2) == ["task 3", "task 4"]
        await wire.send("ping")
        await wire.expect("pong")
    assert second["task"]["title"] == "task 1"


async def test_one_who_does_not_read_starts_anew(sockets: Sockets, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "MAX_WAITING", 10)
    async with sockets.of(ada) as wire:
        await wire.subscribe(window=1, status="todo")
        for number in range(20):
            await ada.make_task(f"task {number}")
        while (message := await wire.receive())["type"] != "reset":
            if message["type"] == "event":
                await wire.send("ack", id="s", position=message["event"]["id"])
        assert (message["reason"], message["list"]) == ("slow", "/tasks?status=todo")
        await ada.make_task("afterwards")
        while message["type"] != "event" or message["event"]["task"]["title"] != "afterwards":
            message = await wire.receive()
            if message["type"] == "event":
                await wire.send("ack", id="s", position=message["event"]["id"])


async def test_a_reset_begins_the_window_anew(sockets: Sockets, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "MAX_WAITING", 10)
    async with sockets.of(ada) as wire:
        await wire.subscribe(window=4)
        for number in range(30):
            await ada.make_task(f"task {number}")
        got: list[str] = []
        while (message := await wire.receive())["type"] != "reset":
            if message["type"] == "event":
                got.append(message["event"]["id"])
                if len(got) >= 4:
                    await wire.send("ack", id="s", position=got[-4])  # three others wait on
        for number in range(4):
            await ada.make_task(f"afterwards {number}")
        told = 0
        while told < 4:
            told += (await wire.receive())["type"] == "event"


async def test_an_ack_is_for_all_before_it(sockets: Sockets, ada: Account) -> None:
    async with sockets.of(ada) as wire, sockets.of(ada) as other:
        await wire.subscribe(window=2)
        for number in range(3):
            await ada.make_task(f"task {number}")
        assert await titles(wire, 2) == ["task 0", "task 1"]
        position = await other.subscribe()
        await wire.send("ack", id="s", position=position)
        await wire.expect("acknowledged", position=position)
        assert await titles(wire, 1) == ["task 2"]


async def test_an_idle_subscription_moves_on(
    sockets: Sockets, ada: Account, bob: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "HEARTBEAT_SECONDS", 0.1)
    async with sockets.of(ada) as wire:
        position = await wire.subscribe()
        await bob.make_task("nothing of hers")
        while (beat := await wire.expect("heartbeat", subscription="s"))["position"] == position:
            pass
        assert await wire.subscribe("other", since=beat["position"]) == beat["position"]


async def test_lost_history_is_told(sockets: Sockets, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sockets.of(ada) as wire:
        position = await wire.subscribe()
    feed = service(ChangeFeed)
    async with sockets.of(ada) as wire:
        await wire.subscribe("new")
        await ada.make_task("one")
        await wire.event("new")
        monkeypatch.setattr(feed, "_oldest", feed._place)

        def lost(*_: Any, **__: Any) -> Any:
            raise HistoryLost

        monkeypatch.setattr(TaskChanges, "watch", lost)
        await wire.send("subscribe", id="s", since=position)
        await wire.expect("subscribed", id="s")
        reset = await wire.expect("reset", subscription="s", reason="expired")
        assert reset["message"].endswith("Load your list anew.")


async def test_a_failing_database_ends_a_subscription(sockets: Sockets, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> Any:
        raise AutoReconnect("on purpose")

    async with sockets.of(ada) as wire:
        with monkeypatch.context() as broken:
            broken.setattr(TaskChanges, "matching", fail)
            position = await wire.subscribe(status="todo")
            await ada.make_task("one")
            await wire.expect("error", code="database_unavailable", id="s")
        await wire.subscribe(status="todo", since=position)
        assert await titles(wire, 1) == ["one"]


async def end_session(account: Account) -> tuple[int, str]:
    assert (await account.post("/logout")).status_code == 204
    return 4401, "session_ended"


async def disable(account: Account) -> tuple[int, str]:
    await collection(UserDocument).update_one({"_id": ObjectId(account.id)}, {"$set": {"disabled": True}})
    return 4401, "account_disabled"


@pytest.mark.parametrize("end", [end_session, disable])
async def test_connections_end_with_what_opened_them(sockets: Sockets, ada: Account, end: Any) -> None:
    other = await signed_in(ada.client, ada)
    ticket = await ticket_of(other)
    async with sockets.of(other) as wire, sockets.open(f"?ticket={ticket}") as ticketed:
        await wire.subscribe()
        await ticketed.expect("ready")
        expected = await end(other)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await wire.closing() == expected
            assert await ticketed.closing() == expected


async def test_an_expired_token_ends_a_connection(sockets: Sockets, ada: Account) -> None:
    async with sockets.of(ada) as wire:
        (listening,) = service(ListenerGuard)._listeners
        listening.expiry = 0
        assert await wire.closing() == (4401, "token_expired")


async def test_a_flood_of_messages_is_counted(sockets: Sockets, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    from taskapi.accounts.security.request_quota import QuotaDecision, RequestLimit

    async with sockets.of(ada) as wire:
        monkeypatch.setattr(RequestLimit, "take", lambda *_: QuotaDecision((), 1))
        await wire.send("ping")
        await wire.expect("pong")
        await wire.send("subscribe", id="s")
        assert await wire.closing() == (4429, "too_many_requests")


async def test_one_who_vanishes_leaves_nothing(sockets: Sockets, ada: Account) -> None:
    async with sockets.of(ada) as wire:
        await wire.subscribe()
        wire.connection.transport.abort()

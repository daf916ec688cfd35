"""The feed of events, on a real MongoDB."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import pytest
from bson import ObjectId, Timestamp

from taskapi.accounts.auth.loaders import AccountLoader
from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import rfc3339
from taskapi.core.keys import Keyring
from taskapi.events import catch_up
from taskapi.events.catch_up import CATCHING_UP
from taskapi.events.errors import InvalidPosition
from taskapi.events.feed import ChangeFeed
from taskapi.events.follower import MAX_WAITING, Accept, End, EndReason, Follower, Hello, Message, Reset, ResetReason
from taskapi.events.positions import Page, Position, PositionCodec, PositionSigner
from taskapi.events.rendering import EventReader, EventRenderer, OwnChange, RenderedEvent
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account
from tests.conftest import SECRET
from tests.stored import collection, service
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real


async def user_of(account: Account) -> UserRead:
    user = await service(AccountLoader).get(ObjectId(account.id))
    assert user is not None
    return user


class Following:
    """Somebody who follows, one message at a time."""

    def __init__(self, follower: Follower, messages: AsyncGenerator[Message, None]) -> None:
        self.follower, self._messages = follower, messages

    async def next(self) -> Message:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await anext(self._messages)

    async def events(self, number: int) -> list[dict[str, Any]]:
        found = []
        for _ in range(number):
            message = await self.next()
            assert isinstance(message, RenderedEvent), message
            event = json.loads(message.json)
            assert (event["id"], event["type"]) == (message.id, message.type)
            found.append(event)
        return found


@asynccontextmanager
async def following(account: Account, since: str | None = None, accept: Accept | None = None) -> AsyncIterator[Following]:
    feed = service(ChangeFeed)
    with feed.join(EventReader.of(await user_of(account)), accept) as follower:
        async with aclosing(feed.messages(follower, since)) as messages:
            yield Following(follower, messages)


def forget_all() -> None:
    """Has the feed remember nothing: what was missed comes from the oplog."""
    changes = service(ChangeFeed)
    changes._forget(changes._place)


async def test_changes_are_told_in_their_order(ada: Account) -> None:
    async with following(ada) as feed:
        assert isinstance(await feed.next(), Hello)
        task = await ada.make_task("Paint the fence")
        await ada.patch(f"/tasks/{task['id']}", json={"title": "Paint the wall"})
        await ada.delete(f"/tasks/{task['id']}")
        created, updated, deleted = await feed.events(3)
    assert [created["type"], updated["type"], deleted["type"]] == ["task.created", "task.updated", "task.deleted"]
    assert [created["version"], updated["version"], deleted["version"]] == [1, 2, 3]
    assert updated["changed"] == ["title"]
    assert {event["task_id"] for event in (created, updated, deleted)} == {task["id"]}
    assert "task" not in deleted


async def test_the_task_is_that_of_the_api(ada: Account) -> None:
    async with following(ada) as feed:
        await feed.next()
        task = await ada.make_task("Paint the fence", tags=["home"], metadata={"room": 1})
        (event,) = await feed.events(1)
    assert event["task"] == task
    stored = await collection(TaskDocument).find_one({"_id": ObjectId(task["id"])})
    assert stored is not None
    assert event["at"] == rfc3339(stored["changed_at"])


async def test_nobody_is_told_of_the_tasks_of_others(ada: Account, bob: Account) -> None:
    async with following(ada) as mine, following(bob) as theirs:
        await mine.next()
        await theirs.next()
        of_bob = await bob.make_task("Theirs")
        of_ada = await ada.make_task("Mine")
        assert [event["task_id"] for event in await mine.events(1)] == [of_ada["id"]]
        assert [event["task_id"] for event in await theirs.events(1)] == [of_bob["id"]]


async def test_the_id_of_each_event_resumes_after_it(ada: Account) -> None:
    async with following(ada) as feed:
        hello = await feed.next()
        assert isinstance(hello, Hello)
        for number in range(5):
            await ada.make_task(f"Task {number}")
        events = await feed.events(5)
    for number, place in enumerate([hello.position, *(event["id"] for event in events)]):
        async with following(ada, place) as later:
            assert await later.next() == Hello(place)
            assert await later.events(5 - number) == events[number:]


async def test_what_comes_follows_what_was_missed(ada: Account) -> None:
    async with following(ada) as feed:
        hello = await feed.next()
        assert isinstance(hello, Hello)
        made = [(await ada.make_task(f"Task {number}"))["id"] for number in range(3)]
        await feed.events(3)
        async with following(ada, hello.position) as later:
            await later.next()
            made.append((await ada.make_task("Task 3"))["id"])
            assert [event["task_id"] for event in await later.events(4)] == made


async def test_what_memory_has_forgotten_comes_from_the_oplog(ada: Account) -> None:
    async with following(ada) as feed:
        hello = await feed.next()
        assert isinstance(hello, Hello)
        made = [(await ada.make_task(f"Task {number}"))["id"] for number in range(3)]
        await feed.events(3)
        forget_all()
        async with following(ada, hello.position) as later:
            await later.next()
            assert [event["task_id"] for event in await later.events(3)] == made
            made.append((await ada.make_task("Task 3"))["id"])
            assert [event["task_id"] for event in await later.events(1)] == made[3:]


async def test_slow_readers_let_others_catch_up(ada: Account, bob: Account) -> None:
    async with AsyncExitStack() as stack:
        mine, theirs = [await stack.enter_async_context(following(account)) for account in (ada, bob)]
        begin, other_begin = await mine.next(), await theirs.next()
        assert isinstance(begin, Hello)
        assert isinstance(other_begin, Hello)
        made = [(await ada.make_task(f"Task {number}"))["id"] for number in range(2)]
        of_bob = [(await bob.make_task("Theirs"))["id"]]
        await mine.events(2)
        await theirs.events(1)
        forget_all()
        slow = [await stack.enter_async_context(following(ada, begin.position)) for _ in range(CATCHING_UP)]
        for each in slow:
            await each.next()
            assert [event["task_id"] for event in await each.events(1)] == made[:1]
        later = await stack.enter_async_context(following(bob, other_begin.position))
        await later.next()
        assert [event["task_id"] for event in await later.events(1)] == of_bob
        for each in slow:
            assert [event["task_id"] for event in await each.events(1)] == made[1:]


async def test_catching_up_in_parts_leaves_nothing_out(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    async with following(ada) as feed:
        hello = await feed.next()
        assert isinstance(hello, Hello)
        for number in range(7):
            await ada.make_task(f"Task {number}")
        events = await feed.events(7)
        forget_all()
        monkeypatch.setattr(catch_up, "AT_A_TIME", 1)
        monkeypatch.setattr("taskapi.db.change_streams.MAX_BATCH", 2)
        async with following(ada, hello.position) as later:
            await later.next()
            assert await later.events(7) == events


@pytest.mark.parametrize("is_forgotten", [False, True])
async def test_catching_up_with_large_tasks_takes_parts(
    ada: Account, monkeypatch: pytest.MonkeyPatch, is_forgotten: bool
) -> None:
    kept, read = list[int](), list[int]()
    find = EventRenderer.find

    def size(changes: Sequence[OwnChange]) -> int:
        return sum(len(each.task.raw) for each in changes)

    async def note(changes: Sequence[OwnChange]) -> Sequence[OwnChange]:
        kept.append(size(changes))
        return changes

    async def find_and_note(*given: Any) -> list[OwnChange]:
        found = await find(*given)
        read.append(size(found))
        return found

    async with following(ada) as feed:
        hello = await feed.next()
        assert isinstance(hello, Hello)
        for number in range(80):
            await ada.make_task(f"Task {number}", description=("" if number < 30 else 2000 * "x"))
        events = await feed.events(80)
        if is_forgotten:
            forget_all()
        monkeypatch.setattr(catch_up, "MAX_WAITING_BYTES", 40_000)
        monkeypatch.setattr(EventRenderer, "find", find_and_note)
        async with following(ada, hello.position, note) as later:
            await later.next()
            assert await later.events(80) == events
    assert max(kept) <= 2 * 40_000
    assert max(read) <= 2 * 40_000


async def test_a_slow_follower_starts_anew(ada: Account) -> None:
    async with following(ada) as feed:
        await feed.next()
        lines = "".join(f'{{"title": "Task {number}"}}\n' for number in range(MAX_WAITING + 1))
        answer = await ada.post("/tasks/import", content=lines, headers={"Content-Type": "application/x-ndjson"})
        assert answer.status_code == 200, answer.text
        async with asyncio.timeout(PATIENCE_SECONDS):
            while feed.follower.reset is None:  # noqa: ASYNC110 - nobody tells when it is
                await asyncio.sleep(0)
        reset = await feed.next()
        assert isinstance(reset, Reset)
        assert reset.reason is ResetReason.slow
        task = await ada.make_task("After all")
        while (event := (await feed.events(1))[0])["task_id"] != task["id"]:
            assert event["task"]["title"].startswith("Task")
    async with following(ada, reset.position) as later:
        await later.next()
        assert (await later.events(1))[0]["type"] == "task.created"


async def test_what_was_before_the_feed_makes_nobody_slow(ada: Account) -> None:
    lines = "".join(f'{{"title": "Task {number}"}}\n' for number in range(MAX_WAITING + 1))
    answer = await ada.post("/tasks/import", content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 200, answer.text
    if reading := service(ChangeFeed)._reading:
        reading.cancel()
        await asyncio.wait([reading])
    async with following(ada) as feed:
        assert isinstance(await feed.next(), Hello)
        task = await ada.make_task("The first to hear of")
        assert [event["task_id"] for event in await feed.events(1)] == [task["id"]]


async def test_an_end_is_the_last_message(ada: Account) -> None:
    async with following(ada) as feed:
        await feed.next()
        feed.follower.end(EndReason.session_ended)
        assert await feed.next() == End(EndReason.session_ended)
        with pytest.raises(StopAsyncIteration):
            await feed.next()


def codec(database: bytes | None = None) -> PositionCodec:
    signer = PositionSigner(Keyring([SECRET]).derived("positions"))
    return PositionCodec(signer, database or service(PositionCodec)._database)


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (Position(Timestamp(2**31, 1)), ResetReason.ahead),
        (Position(Timestamp(1, 1), None, Page(None, 0, ObjectId("0" * 24))), ResetReason.incomplete),
    ],
    ids=["ahead", "incomplete"],
)
async def test_a_place_that_cannot_be_reached(ada: Account, position: Position, reason: ResetReason) -> None:
    async with following(ada, codec().write(position, ObjectId(ada.id))) as feed:
        reset = await feed.next()
    assert isinstance(reset, Reset)
    assert reset.reason is reason


async def test_a_place_in_another_database(ada: Account) -> None:
    other = codec(b"another1").write(Position(Timestamp(1, 1)), ObjectId(ada.id))
    async with following(ada, other) as feed:
        reset = await feed.next()
    assert isinstance(reset, Reset)
    assert reset.reason is ResetReason.other_database


async def test_positions_of_others_are_refused(ada: Account, bob: Account) -> None:
    async with following(bob) as feed:
        hello = await feed.next()
        assert isinstance(hello, Hello)
    async with following(ada, hello.position) as mine:
        with pytest.raises(InvalidPosition):
            await mine.next()

"""Look-ups that arrive together share one query, and none gets an answer older than its question."""

import asyncio
from collections.abc import Collection

import pytest

from taskapi.core import data_loader
from taskapi.core.data_loader import DataLoader
from taskapi.core.errors import ServerBusy
from tests.tools import PATIENCE_SECONDS


class Store:
    """Answers from ``values`` once the test opens the gate; remembers what each query asked for."""

    def __init__(self) -> None:
        self.values = {"a": 1, "b": 2}
        self.queries: list[set[str]] = []
        self.asked: asyncio.Queue[set[str]] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def fetch(self, keys: Collection[str]) -> dict[str, int]:
        self.queries.append(set(keys))
        self.asked.put_nowait(set(keys))
        seen = {key: self.values[key] for key in keys if key in self.values}  # what the database sees when asked
        await self.gate.wait()
        if self.error:
            raise self.error
        return seen


async def test_callers_during_a_query_share_the_next() -> None:
    store = Store()
    coalescer = DataLoader(store.fetch)
    first = asyncio.create_task(coalescer.get("a"))
    await store.asked.get()
    rest = [asyncio.create_task(coalescer.get(key)) for key in ("a", "b", "b", "missing")]
    store.gate.set()
    assert await asyncio.gather(first, *rest) == [1, 1, 2, 2, None]
    assert store.queries == [{"a"}, {"a", "b", "missing"}]


async def test_lookup_never_joins_a_query_already_sent() -> None:
    store = Store()
    coalescer = DataLoader(store.fetch)
    early = asyncio.create_task(coalescer.get("a"))
    await store.asked.get()
    late = asyncio.create_task(coalescer.get("a"))
    await asyncio.sleep(0)
    store.values["a"] = 9
    store.gate.set()
    assert (await early, await late) == (1, 9)


async def test_an_error_reaches_its_own_round_only() -> None:
    store = Store()
    coalescer = DataLoader(store.fetch)
    store.error = RuntimeError("gone")
    store.gate.set()
    with pytest.raises(RuntimeError, match="gone"):
        await coalescer.get("a")
    store.error = None
    assert await coalescer.get("a") == 1


async def test_cancelled_query_releases_all_callers() -> None:
    store = Store()
    coalescer = DataLoader(store.fetch)
    waiting = [asyncio.create_task(coalescer.get("a"))]
    await store.asked.get()
    waiting.append(asyncio.create_task(coalescer.get("b")))
    await asyncio.sleep(0)
    (worker,) = coalescer._workers
    worker.cancel()
    await asyncio.wait(waiting, timeout=PATIENCE_SECONDS)
    assert [task.cancelled() for task in waiting] == [True, True]
    store.gate.set()
    assert await coalescer.get("a") == 1


async def test_cancelled_caller_does_not_affect_the_others() -> None:
    store = Store()
    coalescer = DataLoader(store.fetch)
    leaving, staying = asyncio.create_task(coalescer.get("a")), asyncio.create_task(coalescer.get("a"))
    await store.asked.get()
    leaving.cancel()
    store.gate.set()
    assert await staying == 1
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert await coalescer.get("b") == 2


async def test_several_queries_run_at_the_same_time() -> None:
    store = Store()
    coalescer = DataLoader(store.fetch, queries=2, max_keys=2)
    callers = []
    for key in ("a", "b", "c"):
        callers.append(asyncio.create_task(coalescer.get(key)))
        if key != "c":
            await store.asked.get()
    callers += [asyncio.create_task(coalescer.get(key)) for key in ("d", "e")]
    await asyncio.sleep(0)
    assert store.queries == [{"a"}, {"b"}]
    store.gate.set()
    assert await asyncio.gather(*callers) == [1, 2, None, None, None]
    assert store.queries[2:] == [{"c", "d"}, {"e"}]


async def test_caller_facing_too_long_a_wait_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskapi.core.data_loader.MAX_WAIT_SECONDS", -1)
    store = Store()
    coalescer = DataLoader(store.fetch)
    first = asyncio.create_task(coalescer.get("a"))
    await store.asked.get()
    second = asyncio.create_task(coalescer.get("b"))
    await asyncio.sleep(0)
    with pytest.raises(ServerBusy):
        await coalescer.get("c")
    store.gate.set()
    assert (await first, await second) == (1, 2)


async def test_keys_beyond_one_query_start_the_next_immediately() -> None:
    store = Store()
    coalescer = DataLoader(store.fetch, queries=2, max_keys=2)
    callers = [asyncio.create_task(coalescer.get(key)) for key in ("a", "b", "c")]
    assert [await store.asked.get(), await store.asked.get()] == [{"a", "b"}, {"c"}]
    store.gate.set()
    assert await asyncio.gather(*callers) == [1, 2, None]


async def test_query_cancelled_before_it_starts_releases_all_callers() -> None:
    store = Store()
    coalescer = DataLoader(store.fetch)
    waiting = asyncio.create_task(coalescer.get("a"))
    await asyncio.sleep(0)
    (worker,) = coalescer._workers
    worker.cancel()
    await asyncio.wait([waiting], timeout=PATIENCE_SECONDS)
    assert waiting.cancelled()
    store.gate.set()
    assert await coalescer.get("a") == 1


async def test_slow_query_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_loader, "SLOW_SECONDS", 0.0)
    gates, asked, slow = {"a": asyncio.Event(), "b": asyncio.Event()}, asyncio.Queue[set[str]](), list[set[str]]()

    async def fetch(keys: Collection[str]) -> dict[str, str]:
        asked.put_nowait(set(keys))
        for key in keys:
            await gates[key].wait()
        return {key: key for key in keys}

    loader = DataLoader(fetch, on_slow=lambda keys: slow.append(set(keys)))
    first = loader.ask("a")
    assert await asked.get() == {"a"}
    second = loader.ask("b")
    assert await asked.get() == {"b"}  # although the first query has not ended
    gates["b"].set()
    assert await second == "b"
    assert not first.done()
    gates["a"].set()
    assert await first == "a"
    assert slow[0] == {"a"}

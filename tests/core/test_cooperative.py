"""Sharing the event loop between those who have much to do and all others."""

import asyncio
import time

import pytest

from taskapi.core.cooperative import CooperativeYield, activity

pytestmark = pytest.mark.asyncio(loop_scope="function")  # these change the clock of their loop, which others would share


async def work(turns: CooperativeYield, steps: int, done: list[str], name: str) -> None:
    for _ in range(steps):
        done.append(name)
        await turns.wait()


async def test_busy_tasks_take_turns() -> None:
    done: list[str] = []
    await asyncio.gather(*(work(CooperativeYield(), 3, done, name) for name in "abc"))
    assert "".join(done) == "abcabcabc"


async def test_all_parts_of_one_task_share_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = 0
    original = CooperativeYield.wait

    async def wait(turns: CooperativeYield) -> None:
        nonlocal waits
        waits += 1
        await original(turns)

    monkeypatch.setattr(CooperativeYield, "wait", wait)
    reader, writer = CooperativeYield(), CooperativeYield()
    until = time.monotonic() + 0.02
    while time.monotonic() < until:
        pass
    for _ in range(10):  # which take no time
        await reader.checkpoint()
        await writer.checkpoint()
    assert waits < 5


async def test_work_may_go_on_in_another_task() -> None:
    turns = CooperativeYield()
    await asyncio.create_task(turns.checkpoint())
    await asyncio.create_task(turns.wait())


async def test_one_alone_goes_on_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", None)
    done: list[str] = []
    await work(CooperativeYield(), 20, done, "a")
    assert len(done) == 20


async def test_one_alone_pauses_while_there_are_other_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, pauses = asyncio.get_running_loop(), list[float]()

    def call_later(seconds: float, call: object) -> None:
        pauses.append(seconds)
        loop.call_soon(call)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_later", call_later)
    monkeypatch.setattr(activity, "requests", 2)
    await work(CooperativeYield(), 20, [], "a")
    assert len(pauses) == 19


async def test_each_task_pauses_while_the_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, pauses = asyncio.get_running_loop(), list[float]()

    def call_later(seconds: float, call: object) -> None:
        pauses.append(seconds)
        loop.call_soon(call)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_later", call_later)

    async def busy() -> None:
        turns = CooperativeYield()
        for _ in range(3):
            await turns.wait()
            until = time.monotonic() + 0.002
            while time.monotonic() < until:
                pass

    await asyncio.gather(busy(), busy())
    assert len(pauses) >= 4
    assert all(0 <= seconds <= 0.02 for seconds in pauses)
    assert max(pauses) >= 0.002

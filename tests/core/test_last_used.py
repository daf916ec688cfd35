"""Noting a last use without a write for every use."""

import asyncio
import logging
from types import SimpleNamespace

import pytest
from pymongo.errors import AutoReconnect

from taskapi.core import last_used
from taskapi.core.last_used import PAUSE_SECONDS, LastUsedRecorder


class Clock:
    """The clock of the module, which stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("taskapi.core.last_used.time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_use_is_written_at_once_then_every_minute(clock: Clock) -> None:
    written: list[str] = []

    async def write(key: str) -> None:
        written.append(key)

    seen = LastUsedRecorder(write)
    for seconds in (0, 1, PAUSE_SECONDS - 2, 1, 0, PAUSE_SECONDS - 1):
        clock.now += seconds
        seen.touch("ada")
    seen.touch("bob")
    await seen.close()
    assert written == ["ada", "ada", "bob"]


async def test_the_caller_does_not_wait_for_the_write(clock: Clock) -> None:
    gate = asyncio.Event()
    written: list[str] = []

    async def write(key: str) -> None:
        await gate.wait()
        written.append(key)

    seen = LastUsedRecorder(write)
    seen.touch("ada")
    assert written == []
    gate.set()
    await seen.close()
    assert written == ["ada"]


async def test_a_write_that_fails_is_nobodys_problem(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    tries: list[str] = []

    async def write(key: str) -> None:
        tries.append(key)
        raise AutoReconnect("db.internal closed")

    seen = LastUsedRecorder(write)
    with caplog.at_level(logging.INFO, "taskapi"):
        seen.touch("ada")
        await seen.close()
    clock.now += PAUSE_SECONDS
    seen.touch("ada")
    await seen.close()
    assert tries == ["ada", "ada"]
    assert "AutoReconnect" in caplog.text
    assert "internal" not in caplog.text


async def test_its_memory_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_used, "MAX_KEYS", 3)
    written: list[int] = []

    async def write(key: int) -> None:
        written.append(key)

    seen = LastUsedRecorder(write)
    for key in range(10):
        seen.touch(key)
    await seen.close()
    assert written == list(range(10))
    assert len(seen._noted) <= 3

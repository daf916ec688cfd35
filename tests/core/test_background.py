"""Work beside the requests."""

import asyncio
import logging

import pytest
from pymongo.errors import AutoReconnect

from taskapi.core.background import Job, running
from tests.tools import PATIENCE_SECONDS

LONG = 3600


async def test_job_runs_at_start_and_when_woken() -> None:
    runs: asyncio.Queue[int] = asyncio.Queue()
    job = Job("counting", lambda: runs.put(1), LONG)
    async with running([job]):
        assert await asyncio.wait_for(runs.get(), PATIENCE_SECONDS) == 1
        assert runs.empty()
        job.wake()
        assert await asyncio.wait_for(runs.get(), PATIENCE_SECONDS) == 1


async def test_a_job_runs_again_by_itself() -> None:
    runs: asyncio.Queue[int] = asyncio.Queue()
    async with running([Job("counting", lambda: runs.put(1), 0.001)]):
        for _ in range(3):
            await asyncio.wait_for(runs.get(), PATIENCE_SECONDS)


@pytest.mark.parametrize(("error", "level"), [(AutoReconnect("db.internal"), logging.WARNING), (ValueError("x"), logging.ERROR)])
async def test_failing_job_is_logged_and_runs_again(caplog: pytest.LogCaptureFixture, error: Exception, level: int) -> None:
    runs: asyncio.Queue[int] = asyncio.Queue()

    async def work() -> None:
        await runs.put(1)
        raise error

    job = Job("failing", work, LONG)
    async with running([job]):
        await asyncio.wait_for(runs.get(), PATIENCE_SECONDS)
        job.wake()
        await asyncio.wait_for(runs.get(), PATIENCE_SECONDS)
    assert {record.levelno for record in caplog.records} == {level}
    assert "db.internal" not in caplog.text


async def test_running_job_is_cancelled_at_shutdown() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.sleep(LONG)
        finally:
            cancelled.set()

    async with running([Job("slow", work, LONG)]):
        await started.wait()
    assert cancelled.is_set()


async def test_failure_at_the_end_keeps_no_job_alive() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise AutoReconnect("what the work holds cannot be given back")

    async with asyncio.timeout(PATIENCE_SECONDS), running([Job("stubborn", work, 0.01)]):
        await begun.wait()


@pytest.mark.parametrize("turns", range(6))
async def test_job_woken_as_it_is_cancelled_ends(turns: int) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()

    job = Job("woken", work, LONG)
    async with asyncio.timeout(PATIENCE_SECONDS), running([job]):
        await begun.wait()
        await asyncio.sleep(0)
        job.wake()
        for _ in range(turns):
            await asyncio.sleep(0)

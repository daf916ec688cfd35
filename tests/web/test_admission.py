"""Bulkheads: a share for each account, a larger one for the worker, turns for those who wait."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from taskapi.accounts.errors import ExportUnderWay
from taskapi.core.errors import ServerBusy, TooManyAtOnce
from taskapi.web.admission import Bulkhead, Work
from taskapi.web.disconnect import Disconnect

SMALL = Work("tests", 2, 3, 30)
IMPATIENT = SMALL._replace(wait_seconds=0)


async def test_exceeding_the_account_share_refuses_that_account_only() -> None:
    bulkhead = Bulkhead(IMPATIENT)
    async with bulkhead.admit("ada"), bulkhead.admit("ada"):
        with pytest.raises(TooManyAtOnce):
            await bulkhead.admit("ada").__aenter__()
        async with bulkhead.admit("bob"):
            pass
    async with bulkhead.admit("ada"), bulkhead.admit("ada"):
        pass


async def test_exceeding_the_worker_share_is_a_busy_server() -> None:
    bulkhead = Bulkhead(IMPATIENT)
    async with bulkhead.admit("ada"), bulkhead.admit("ada"), bulkhead.admit("bob"):
        with pytest.raises(ServerBusy):
            await bulkhead.admit("eve").__aenter__()


async def test_work_may_have_a_refusal_of_its_own() -> None:
    bulkhead = Bulkhead(IMPATIENT._replace(per_account=1, refusal=ExportUnderWay))
    async with bulkhead.admit("ada"):
        with pytest.raises(ExportUnderWay):
            await bulkhead.admit("ada").__aenter__()


async def test_accounts_that_wait_are_let_in_in_turn() -> None:
    bulkhead, order = Bulkhead(SMALL._replace(per_worker=1)), []

    async def work(account: str) -> None:
        async with bulkhead.admit(account):
            order.append(account)

    async with bulkhead.admit("first"):
        waiting = [asyncio.create_task(work(account)) for account in ("ada", "ada", "ada", "bob", "eve")]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert order == ["ada", "bob", "eve", "ada", "ada"]


async def test_cancelled_waiting_request_takes_no_place() -> None:
    bulkhead = Bulkhead(SMALL._replace(per_account=1))
    async with bulkhead.admit("ada"):
        gone = [asyncio.create_task(bulkhead.admit("ada").__aenter__()) for _ in range(2)]
        await asyncio.sleep(0)
        gone[0].cancel()
        await asyncio.sleep(0)
        gone[1].cancel()  # its turn comes at this very moment, before it runs again
    await asyncio.gather(*gone, return_exceptions=True)
    assert all(task.cancelled() for task in gone)
    async with bulkhead.admit("ada"):
        pass
    assert (bulkhead._total, bulkhead._waiters, bulkhead._waiting) == (0, 0, {})


async def test_admitted_request_cancelled_at_once_returns_its_place() -> None:
    bulkhead = Bulkhead(SMALL._replace(per_account=1))
    async with bulkhead.admit("ada"):
        gone = asyncio.create_task(bulkhead.admit("ada").__aenter__())
        await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert (bulkhead._total, bulkhead._waiters, bulkhead._waiting) == (0, 0, {})


async def test_disconnected_waiting_client_is_refused_without_a_place() -> None:
    bulkhead, disconnect = Bulkhead(SMALL._replace(per_account=1)), Disconnect()
    async with bulkhead.admit("ada"):
        gone = [asyncio.create_task(bulkhead.admit("ada", disconnect).__aenter__()) for _ in range(2)]
        stays = asyncio.create_task(bulkhead.admit("ada").__aenter__())
        await asyncio.sleep(0)
        disconnect.notify()  # and a turn comes at this very moment, before they run again
    assert [type(error) for error in await asyncio.gather(*gone, return_exceptions=True)] == [TooManyAtOnce] * 2
    await stays
    assert (bulkhead._total, bulkhead._waiters, bulkhead._waiting) == (1, 0, {})
    with pytest.raises(TooManyAtOnce):
        await bulkhead.admit("ada", disconnect).__aenter__()  # nor does one wait that comes later
    assert (bulkhead._total, bulkhead._waiters, bulkhead._waiting) == (1, 0, {})


async def test_a_queue_has_an_end() -> None:
    bulkhead = Bulkhead(SMALL._replace(per_worker=1, max_waiting=3, max_waiting_of_account=2))
    async with AsyncExitStack() as running:
        await running.enter_async_context(bulkhead.admit("first"))
        waiting = [asyncio.create_task(bulkhead.admit(account).__aenter__()) for account in ("ada", "ada", "bob")]
        await asyncio.sleep(0)
        with pytest.raises(TooManyAtOnce):
            await bulkhead.admit("ada").__aenter__()
        with pytest.raises(ServerBusy):
            await bulkhead.admit("eve").__aenter__()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert (bulkhead._total, bulkhead._waiters, bulkhead._waiting) == (0, 0, {})

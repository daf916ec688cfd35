"""Accounts for modules that send very many requests."""

import httpx
import pytest

from tests.client import Account, make_account


@pytest.fixture(scope="module")
async def pair(shared: httpx.AsyncClient) -> tuple[Account, Account]:
    """Two accounts with three tasks each."""
    ada, bob = [await make_account(shared, name) for name in ("ada", "bob")]
    for account in (ada, bob):
        for number in range(3):
            await account.make_task(f"Task {number}")
    return ada, bob

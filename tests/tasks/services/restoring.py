"""A task that is restored right after a write has found it in the trash."""

from typing import Any

import pytest

from taskapi.tasks.storage.repository import TaskRepository
from tests.client import Account


def restore_before_the_look(account: Account, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Restores the task at ``path`` right before the service looks for the reason why a write has matched nothing."""
    find = TaskRepository.find

    async def restore_and_find(*given: Any, **options: Any) -> Any:
        monkeypatch.setattr(TaskRepository, "find", find)
        assert (await account.post(f"{path}/restore")).status_code == 200
        return await find(*given, **options)

    monkeypatch.setattr(TaskRepository, "find", restore_and_find)

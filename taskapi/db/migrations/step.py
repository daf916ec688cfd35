"""What a migration is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from taskapi.db.connection import Database


class Phase(StrEnum):
    """When a step may run."""

    expand = "expand"  # before the new code starts; workers of the previous version go on meanwhile and afterwards
    contract = "contract"  # once no worker of the previous version runs any more


class Progress(Protocol):
    """Called when a step begins, with the number of documents to change, and then after each batch."""

    async def __call__(self, total: int, changed: int = 0, skipped: int = 0) -> None:
        """``changed`` and ``skipped`` are the documents of the batch; skipped ones could not be written."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step.

    ``run`` may be killed at any point and is then run again, and it may run twice at once: it looks for what is left to do.
    It works in batches, each a short operation, while the API goes on. ``count_left`` is the number of documents that it would
    change now: 0 after it, unless workers of the previous version have written since.
    """

    number: int
    name: str  # a few words in snake case, unique
    description: str  # one sentence for "taskapi migrate status"
    phase: Phase
    run: Callable[[Database, Progress], Awaitable[None]]
    count_left: Callable[[Database], Awaitable[int]]

"""The errors of tasks, each in a category of ``core.errors``.

BadRequest
└── MalformedImport     the body does not contain tasks in the format of its media type
Conflict
├── BulkRefused         one of many operations failed, so none was applied
├── CountDiffers        a filter matches another number of tasks than the caller expects
├── KeyTaken            another task of the owner has this external key
├── PatchTestFailed     a `test` of a JSON Patch failed
└── TooManyItems        the checklist is full
Gone
└── VersionNotKept      the history no longer goes back that far
TooLarge
└── TooManyLines        an import has more lines than one request may have
Unprocessable
└── TooManyMatches      a filter matches more tasks than one request may change
Unavailable
└── Contended           too many requests change the same task at the same time
"""

from collections.abc import Sequence
from typing import Self

from taskapi.core.errors import BadRequest, Conflict, FieldError, Gone, NotFound, TooLarge, Unavailable, Unprocessable


class MalformedImport(BadRequest):
    code = "malformed_import"

    @classmethod
    def sample(cls) -> Self:
        return cls("The body is one JSON string. Send the lines themselves, not quoted.")


class BulkRefused(Conflict):
    """The operation at ``index`` failed because of ``faults``."""

    code = "bulk_refused"

    def __init__(self, index: int, faults: Sequence[FieldError]) -> None:
        super().__init__(f"Operation {index} failed. Nothing was changed.")
        self.faults = tuple(faults)

    @classmethod
    def sample(cls) -> Self:
        return cls(1, [FieldError("operations.1", NotFound.detail, NotFound.code)])


class CountDiffers(Conflict):
    code = "count_differs"

    def __init__(self, found: int, expected: int) -> None:
        tasks = "1 task" if found == 1 else f"{found} tasks"
        super().__init__(f"The filter matches {tasks}, not the {expected} you expected. Nothing was changed.")

    @classmethod
    def sample(cls) -> Self:
        return cls(7, 5)


class KeyTaken(Conflict):
    code = "key_taken"
    detail = "Another task has this key."


class PatchTestFailed(Conflict):
    code = "patch_test_failed"

    def __init__(self, index: int) -> None:
        super().__init__(f"The test in operation {index} failed. Nothing was changed.")

    @classmethod
    def sample(cls) -> Self:
        return cls(0)


class TooManyItems(Conflict):
    code = "too_many_items"
    detail = "The checklist is full: it has 100 items."


class VersionNotKept(Gone):
    code = "version_not_kept"
    detail = "The history of this task no longer goes back that far."


class TooManyLines(TooLarge):
    """An import has more than ``limit`` lines; ``kept`` says whether the lines up to the limit are stored."""

    code = "too_many_lines"

    def __init__(self, limit: int, kept: bool) -> None:
        outcome = "Those were imported, and nothing after them" if kept else "Nothing was imported"
        super().__init__(f"An import can have at most {limit} lines. {outcome}.")

    @classmethod
    def sample(cls) -> Self:
        return cls(100_000, kept=True)


class TooManyMatches(Unprocessable):
    code = "too_many_matches"

    def __init__(self, most: int) -> None:
        super().__init__(f"The filter matches more than {most} tasks. Narrow it. Nothing was changed.")

    @classmethod
    def sample(cls) -> Self:
        return cls(100_000)


class Contended(Unavailable):
    code = "contended"
    detail = "Too many requests change this task at the same time. Try again shortly."

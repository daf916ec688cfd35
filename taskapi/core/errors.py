"""What can go wrong, in the domain's words. Nothing here knows HTTP; ``problems.py`` renders it.

TaskAPIError
├── StartupError                 the process cannot start; one line for the operator
└── DomainError                  the caller's request cannot be met
    ├── InvalidInput             a value is wrong (carries the faults by field)
    ├── NotFound                 missing, or somebody else's
    ├── …                        with accounts and credentials: account_errors.py
    ├── BulkRefused              one of many operations cannot be carried out, so none was
    ├── CountDiffers             a filter finds another number of tasks than the caller expects
    ├── TooManyMatches           a filter finds more tasks than one request changes
    ├── TransactionsUnsupported  the MongoDB is a standalone server
    ├── KeyTaken                 another task of the owner has this external key
    ├── DamagedTask              what a script has stored keeps MongoDB from changing it
    ├── TooManyItems             the checklist is full
    ├── PatchTestFailed          a `test` of a JSON Patch does not hold
    ├── VersionNotKept           the history no longer reaches back so far
    ├── PreconditionFailed       the task has another version than the caller expects
    ├── PreconditionRequired     the caller has to say which version they change
    ├── NotAcceptable            the caller takes none of the media types there are
    ├── TargetTooLong            the address is longer than any that can be right
    ├── UnreadableBody           the body is not what its route takes
    │   ├── MalformedJSON
    │   ├── MalformedImport
    │   ├── UnsupportedMediaType
    │   ├── UnsupportedContentCoding
    │   ├── BodyTooLarge
    │   └── TooManyLines
    ├── IdempotencyKeyReused     the key stands for another request
    └── Unavailable              try again later
        ├── DatabaseUnavailable
        ├── QueryTimeout
        ├── ServerBusy           more requests wait than can be answered in time
        ├── Contended
        └── IdempotencyInFlight  the same request is still being answered
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

MESSAGES = {"extra_forbidden": "There is no such field", "missing": "Field required", "list_type": "Input should be a list"}
MESSAGES |= dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "Input should be an object")
MAX_FAULTS = 50
MAX_FIELD_LENGTH = 100  # characters of a field name that came from the caller


class TaskAPIError(Exception):
    """The root of every error raised on purpose."""


class StartupError(TaskAPIError):
    """The process cannot start. The message is one line that says what to change."""


class DomainError(TaskAPIError):
    """A request that cannot be met. ``code`` is stable; ``detail`` is a sentence for people."""

    code: ClassVar[str] = "error"
    detail: str = "The request cannot be met."
    faults: "tuple[FieldError, ...] | None" = None  # the values that are wrong

    def __init__(self, detail: str | None = None) -> None:
        if detail is not None:
            self.detail = detail
        super().__init__(self.detail)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong value: where it stands, what is wrong with it, and the kind of rule it breaks."""

    field: str
    message: str
    type: str


def field_errors(validation_errors: Sequence[Any], skip: int = 0) -> list[FieldError]:
    """Pydantic's errors in our words, without the values that were sent; ``skip`` leading parts of each place are left out."""
    return [
        FieldError(
            field=".".join(str(part) for part in error["loc"][skip:])[:MAX_FIELD_LENGTH],
            message=MESSAGES.get(error["type"], error["msg"]),
            type=error["type"],
        )
        for error in validation_errors[:MAX_FAULTS]
    ]


class InvalidInput(DomainError):
    """Some values are wrong. Never holds the values themselves: they may be secrets."""

    code = "validation_error"
    detail = "Some values are not valid."
    faults: tuple[FieldError, ...]

    def __init__(self, faults: Sequence[FieldError]) -> None:
        super().__init__()
        self.faults = tuple(faults)


class NotFound(DomainError):
    """There is no such thing, or it belongs to somebody else; the caller cannot tell which."""

    code = "not_found"
    detail = "Not found"


class BulkRefused(DomainError):
    """``faults`` say why the operation of that index cannot be carried out."""

    code = "bulk_refused"

    def __init__(self, index: int, faults: Sequence[FieldError]) -> None:
        super().__init__(f"Operation {index} cannot be carried out; nothing was changed.")
        self.faults = tuple(faults)


class CountDiffers(DomainError):
    code = "count_differs"

    def __init__(self, found: int, expected: int) -> None:
        super().__init__(f"The filter matches {found} tasks, not the {expected} you expected. Nothing was changed.")


class TooManyMatches(DomainError):
    code = "too_many_matches"

    def __init__(self, most: int) -> None:
        super().__init__(f"The filter matches more than {most} tasks; narrow it. Nothing was changed.")


class TransactionsUnsupported(DomainError):
    code = "transactions_unsupported"
    detail = "Atomic operations need a MongoDB replica set; this server's MongoDB is standalone."


class KeyTaken(DomainError):
    code = "key_taken"
    detail = "Another task has this key."


class DamagedTask(DomainError):
    code = "damaged_task"
    detail = "This task is stored in a damaged form that keeps it from being changed in this way; delete it, or have it mended."


class TooManyItems(DomainError):
    code = "too_many_items"
    detail = "The checklist is full: it holds 100 items."


class PatchTestFailed(DomainError):
    code = "patch_test_failed"

    def __init__(self, index: int) -> None:
        super().__init__(f"The test of operation {index} does not hold; nothing was changed.")


class VersionNotKept(DomainError):
    code = "version_not_kept"
    detail = "The history of this task no longer reaches back so far."


class PreconditionFailed(DomainError):
    """The task is at ``version``, which is not what the caller expects."""

    code = "precondition_failed"

    def __init__(self, version: int) -> None:
        super().__init__(
            f'The task is at version "{version}", not at the one you sent (in If-Match with its quotes); read it again.'
        )
        self.version = version


class PreconditionRequired(DomainError):
    code = "precondition_required"
    detail = "Send If-Match with the ETag of your copy."


class NotAcceptable(DomainError):
    """The caller takes none of ``offers``, the media types there are."""

    code = "not_acceptable"

    def __init__(self, offers: Sequence[str]) -> None:
        super().__init__(f"This address can only return {' or '.join(offers)}.")


class TargetTooLong(DomainError):
    code = "uri_too_long"  # as nginx's answer has it
    detail = "The address is too long. POST /tasks/search takes long filters."


class UnreadableBody(DomainError):
    code = "unreadable_body"


class MalformedJSON(UnreadableBody):
    code = "malformed_json"
    detail = "The body is not valid JSON."


class MalformedImport(UnreadableBody):
    """The body of an import does not hold tasks in the way that its media type says."""

    code = "malformed_import"


class UnsupportedMediaType(UnreadableBody):
    code = "unsupported_media_type"

    def __init__(self, expected: Sequence[str]) -> None:
        *others, last = expected
        super().__init__(f"Send the body as {', '.join(others)}{' or ' if others else ''}{last}.")
        self.expected = tuple(expected)


class UnsupportedContentCoding(UnreadableBody):
    code = "unsupported_content_coding"
    detail = "Send the body uncompressed, without Content-Encoding."


class BodyTooLarge(UnreadableBody):
    code = "body_too_large"

    def __init__(self, limit: int, hint: str = "") -> None:
        super().__init__(f"The body is larger than {limit} bytes.{hint and ' '}{hint}")


class TooManyLines(UnreadableBody):
    """An import has more than ``limit`` lines; ``kept`` says whether those before are stored."""

    code = "too_many_lines"

    def __init__(self, limit: int, kept: bool) -> None:
        outcome = "those were imported, and nothing after them" if kept else "nothing was imported"
        super().__init__(f"An import has at most {limit} lines; {outcome}.")


class IdempotencyKeyReused(DomainError):
    code = "idempotency_key_reused"
    detail = "This Idempotency-Key was sent with another request; use a new key for each."


class Unavailable(DomainError):
    """Nothing is wrong with the request; ``retry_after`` says in how many seconds to repeat it."""

    code = "unavailable"
    retry_after: int = 1


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"
    detail = "The database cannot be reached at the moment; try again shortly."
    retry_after = 2


class QueryTimeout(Unavailable):
    code = "query_timeout"
    detail = "The database took too long to answer; narrow the query or try again."


class ServerBusy(Unavailable):
    code = "server_busy"
    detail = "The server has more requests of this kind than it can answer at the moment; try again shortly."


class Contended(Unavailable):
    code = "contended"
    detail = "Too many change this task at the same time; try again shortly."


class IdempotencyInFlight(Unavailable):
    code = "idempotency_in_flight"
    detail = "A request with this Idempotency-Key is being answered at the moment; repeat it shortly."

"""The errors of the service, independent of HTTP. ``web.problems`` maps each category to a status.

TaskAPIError
├── StartupError             the process cannot start; one line for the operator
└── DomainError              the request cannot be fulfilled
    ├── BadRequest           it is not what the operation takes
    ├── NotAuthenticated     no valid proof of who calls
    ├── Forbidden            the credential is good, but not for this
    ├── NotFound             missing, or in another account
    ├── NotAcceptable        the caller takes none of the media types there are
    ├── Conflict             what is stored, or under way, does not allow it
    ├── Gone                 it was there once
    ├── PreconditionFailed   the task has another version than the caller expects
    ├── PreconditionRequired the caller has to say which version they change
    ├── TooLarge             the body is larger than is read
    ├── TargetTooLong        the address is longer than any that can be right
    ├── Unsupported          the body comes in a form that is not read
    ├── Unprocessable        it is well formed, but cannot be right
    │   └── InvalidInput     a value is wrong (carries the faults by field)
    ├── NeedsReplicaSet      MongoDB is standalone, and cannot do this
    └── Unavailable          try again later
        └── RateLimited      the caller is to slow down

Those that all packages use follow their category; ``accounts.errors`` and ``tasks.errors`` add their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import ValidationError

MESSAGES = {"extra_forbidden": "There is no such field", "missing": "Field required", "list_type": "Input should be a list"}
MESSAGES["date_from_datetime_parsing"] = "There is no such day"  # as 2027-02-30: other formats are refused before
MESSAGES |= dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "Input should be an object")
MAX_FAULTS, MAX_FIELD_LENGTH = 50, 100  # in one answer; characters of a field name that came from the caller


class TaskAPIError(Exception):
    """The root of all errors that taskapi raises on purpose."""


class StartupError(TaskAPIError):
    """The process cannot start. The message is one line that says what to change."""


class DomainError(TaskAPIError):
    """A request that cannot be fulfilled. ``code`` is stable; ``detail`` is a sentence for people."""

    code: ClassVar[str] = "error"
    detail: str = "The request cannot be fulfilled."
    faults: "tuple[FieldError, ...] | None" = None  # the values that are wrong
    retry_after: int | None = None  # seconds, if the same request may succeed later

    def __init__(self, detail: str | None = None) -> None:
        if detail is not None:
            self.detail = detail
        super().__init__(self.detail)

    @classmethod
    def sample(cls) -> Self:
        """An error of this class as callers meet it, for the documentation."""
        return cls()


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid value: the path of its field, what is wrong with it, and the kind of rule it violates."""

    field: str
    message: str
    type: str


def field_errors(error: ValidationError) -> list[FieldError]:
    """Pydantic's errors as ours, without the values that were sent."""
    return describe_errors(error.errors(include_input=False, include_url=False))


def describe_errors(validation_errors: Sequence[Any], skip: int = 0) -> list[FieldError]:
    """As ``field_errors``, for a list of Pydantic's errors; the first ``skip`` parts of each path are left out."""
    return [
        FieldError(
            field=".".join(str(part) for part in error["loc"][skip:])[:MAX_FIELD_LENGTH],
            message=MESSAGES.get(error["type"], error["msg"]),
            type=error["type"],
        )
        for error in validation_errors[:MAX_FAULTS]
    ]


class BadRequest(DomainError):
    """The request is not what the operation takes."""


class MalformedJSON(BadRequest):
    code = "malformed_json"
    detail = "The body is not valid JSON."


class NotAuthenticated(DomainError):
    """There is no valid proof of who calls."""

    code = "not_authenticated"
    detail = "Not authenticated"


class InvalidToken(NotAuthenticated):
    code = "invalid_token"
    detail = "Could not validate credentials"


class Forbidden(DomainError):
    """The credential is valid, but does not permit this."""

    scope: str | None = None  # what a credential would need


class InsufficientScope(Forbidden):
    """The token lacks ``scope``, which the route needs (RFC 6750, section 3.1)."""

    code = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"Your token lacks the scope {scope}.")
        self.scope = scope

    @classmethod
    def sample(cls) -> Self:
        return cls("tasks:write")


class NotFound(DomainError):
    """It does not exist or belongs to another account; the caller cannot tell which."""

    code = "not_found"
    detail = "Not found"


class NotAcceptable(DomainError):
    """The caller accepts none of ``offers``, the available media types."""

    code = "not_acceptable"

    def __init__(self, offers: Sequence[str]) -> None:
        super().__init__(f"This endpoint can only return {' or '.join(offers)}.")

    @classmethod
    def sample(cls) -> Self:
        return cls(["application/json"])


class Conflict(DomainError):
    """The stored data, or work in progress, does not allow the request."""


class DamagedTask(Conflict):
    code = "damaged_task"
    detail = "This task is stored in a damaged form that prevents this change. Delete it, or have it repaired."


class Gone(DomainError):
    """What the caller asks for existed once."""


class PreconditionFailed(DomainError):
    """The task is at ``version``, which is not what the caller expects."""

    code = "precondition_failed"

    def __init__(self, version: int, detail: str | None = None) -> None:
        super().__init__(
            detail or f'The task is at version "{version}", not at the one you sent (in If-Match with its quotes). Read it again.'
        )
        self.version = version

    @classmethod
    def sample(cls) -> Self:
        return cls(4)


class PreconditionRequired(DomainError):
    code = "precondition_required"
    detail = "Send If-Match with the ETag of your copy."


class TooLarge(DomainError):
    """The body is larger than the operation reads."""


class BodyTooLarge(TooLarge):
    code = "body_too_large"

    def __init__(self, limit: int, hint: str = "") -> None:
        super().__init__(f"The body is larger than {limit} bytes.{hint and ' '}{hint}")

    @classmethod
    def sample(cls) -> Self:
        return cls(1_048_576)


class TargetTooLong(DomainError):
    code = "uri_too_long"  # as nginx's answer has it
    detail = "The URL is too long. Send long filters to POST /tasks/search."


class Unsupported(DomainError):
    """The body comes in a form that the operation does not read."""


class UnsupportedMediaType(Unsupported):
    code = "unsupported_media_type"

    def __init__(self, expected: Sequence[str]) -> None:
        *others, last = expected
        super().__init__(f"Send the body as {', '.join(others)}{' or ' if others else ''}{last}.")
        self.expected = tuple(expected)

    @classmethod
    def sample(cls) -> Self:
        return cls(["application/json"])


class UnsupportedContentCoding(Unsupported):
    code = "unsupported_content_coding"
    detail = "Send the body uncompressed, without Content-Encoding."


class Unprocessable(DomainError):
    """The request is well formed, but not valid."""


class InvalidInput(Unprocessable):
    """Some values are invalid. Never contains the values themselves: they may be secrets."""

    code = "validation_error"
    detail = "Some values are not valid."
    faults: tuple[FieldError, ...]

    def __init__(self, faults: Sequence[FieldError]) -> None:
        super().__init__()
        self.faults = tuple(faults)

    @classmethod
    def sample(cls) -> Self:
        short = FieldError("title", "String should have at least 3 characters", "string_too_short")
        return cls([short, FieldError("owner", MESSAGES["extra_forbidden"], "extra_forbidden")])


class NeedsReplicaSet(DomainError):
    """MongoDB is standalone, and only a replica set can do this."""


class TransactionsUnsupported(NeedsReplicaSet):
    code = "transactions_unsupported"
    detail = "Atomic operations need a MongoDB replica set; this server's MongoDB is standalone."


class Unavailable(DomainError):
    """Nothing is wrong with the request; ``retry_after`` says in how many seconds to repeat it."""

    retry_after: int = 1


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"
    detail = "The database cannot be reached. Try again shortly."
    retry_after = 2


class QueryTimeout(Unavailable):
    code = "query_timeout"
    detail = "The database took too long to answer. Narrow the query or try again."


class ServerBusy(Unavailable):
    code = "server_busy"
    detail = "The server has more requests of this kind than it can answer. Try again shortly."


class RateLimited(Unavailable):
    """The caller has to slow down, and may try again in ``retry_after`` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after

    @classmethod
    def sample(cls) -> Self:
        return cls(1)


class TooManyRequests(RateLimited):
    code = "too_many_requests"
    detail = "You have sent too many requests. Slow down."


class TooManyAtOnce(RateLimited):
    code = "too_many_at_once"
    detail = "Your account has too many requests of this kind in progress. Wait for their answers."

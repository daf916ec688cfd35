"""One error of each kind, as callers meet it; the examples of the OpenAPI document."""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Final

from taskapi.accounts import errors as account_errors
from taskapi.core import errors
from taskapi.core.errors import DomainError, FieldError

REQUEST_ID: Final = "0f8fad5bd9cb469fa165b70867728950"
FAULTS: Final[Sequence[FieldError]] = (
    FieldError("title", "String should have at least 3 characters", "string_too_short"),
    FieldError("owner", "There is no such field", "extra_forbidden"),
)
# Of those that are made with what they are about; the others say the same each time.
MADE: Final[Mapping[type[DomainError], DomainError]] = {
    type(error): error
    for error in (
        errors.InvalidInput(FAULTS),
        errors.BulkRefused(1, [FieldError("operations.1", errors.NotFound.detail, errors.NotFound.code)]),
        errors.CountDiffers(7, 5),
        errors.TooManyMatches(100_000),
        errors.PatchTestFailed(0),
        errors.PreconditionFailed(4),
        errors.NotAcceptable(["application/json"]),
        errors.UnsupportedMediaType(["application/json"]),
        errors.BodyTooLarge(1_048_576),
        errors.TooManyLines(100_000, kept=True),
        errors.MalformedImport("The body is one JSON string. Send the lines themselves, not quoted."),
        account_errors.InsufficientScope("tasks:write"),
        account_errors.TooManyAttempts(30),
        account_errors.TooManyRequests(1),
        account_errors.TooManyAtOnce(2),
    )
}


def samples(codes: Set[str], family: type[DomainError] = DomainError) -> Iterator[DomainError]:
    """A sample of each kind that has one of these codes."""
    for kind in family.__subclasses__():
        if kind.code in codes:
            yield MADE[kind] if kind in MADE else kind()
        yield from samples(codes, kind)

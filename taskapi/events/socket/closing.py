"""How a connection ends: a code (RFC 6455, section 7.4) that says whether to come back, and the stable code of the error."""

from enum import IntEnum
from typing import Final

from taskapi.core.errors import DomainError, Forbidden, NotAuthenticated, RateLimited, Unavailable
from taskapi.db.change_streams import StreamsUnsupported
from taskapi.events.errors import AuthenticationTooLate
from taskapi.events.follower import EndReason


class CloseCode(IntEnum):
    """Why the server closes a connection."""

    server_stopping = 1001
    unexpected = 1011
    unavailable = 1013
    bad_message = 4400
    not_authenticated = 4401
    forbidden = 4403
    too_late = 4408
    too_many = 4429
    unsupported = 4501


MEANING: Final = {
    1000: "You have closed the connection.",
    CloseCode.server_stopping: "The server stops. Connect again; another worker may answer at once.",
    1002: "What you sent is no WebSocket frame.",
    1007: "A message is not UTF-8.",
    1009: "A message is larger than 64 KiB, or comes in more than 256 parts.",
    CloseCode.unexpected: "You have not answered a ping within 20 seconds, or something went wrong on our side. Connect again.",
    CloseCode.unavailable: "The server is too busy, or cannot reach its database. Connect again later.",
    CloseCode.bad_message: "A message is not a JSON object of a known type.",
    CloseCode.not_authenticated: "The token or ticket is missing, wrong or expired, or your session or account has ended.",
    CloseCode.forbidden: "The token lacks the scope `tasks:read`.",
    CloseCode.too_late: "No token came within 10 seconds.",
    CloseCode.too_many: "Your account has too many connections, or sends too many messages.",
    CloseCode.unsupported: "The server's MongoDB is standalone, which has no change streams.",
}
"""The codes, as they are documented."""

OF_END: Final = {
    EndReason.session_ended: CloseCode.not_authenticated,
    EndReason.account_disabled: CloseCode.not_authenticated,
    EndReason.token_expired: CloseCode.not_authenticated,
    EndReason.scope_lost: CloseCode.forbidden,
    EndReason.server_stopping: CloseCode.server_stopping,
}
OF_ERROR: Final[tuple[tuple[type[DomainError], CloseCode], ...]] = (
    (AuthenticationTooLate, CloseCode.too_late),
    (NotAuthenticated, CloseCode.not_authenticated),
    (Forbidden, CloseCode.forbidden),
    (StreamsUnsupported, CloseCode.unsupported),
    (RateLimited, CloseCode.too_many),
    (Unavailable, CloseCode.unavailable),
)


def code_of(error: DomainError) -> CloseCode:
    """The code for an error that ends a connection."""
    return next((code for kind, code in OF_ERROR if isinstance(error, kind)), CloseCode.bad_message)

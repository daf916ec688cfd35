"""The errors of events, each in a category of ``core.errors``.

BadRequest
└── InvalidPosition     it is no position of this account
NotAuthenticated
└── InvalidTicket       a ticket does not work
Gone
└── PositionExpired     what happened since can no longer be told
    └── OtherDatabase   it is a place in another database
RateLimited
└── TooManyListeners    the account has too many open streams
"""

from typing import Self

from taskapi.core.errors import BadRequest, Gone, NotAuthenticated, RateLimited


class InvalidTicket(NotAuthenticated):
    """A ticket does not work, for whatever reason."""

    code = "invalid_ticket"
    detail = "The ticket is unknown, used or expired. Ask POST /events/tickets for another one."


class InvalidPosition(BadRequest):
    """The text is no position, or one of another account; the caller cannot tell which."""

    code = "invalid_position"
    detail = "That is not a position of your account. Send one that you were given, unchanged, or none to start anew."


class PositionExpired(Gone):
    """What happened since is no longer known."""

    code = "position_expired"
    detail = "That position is too old: not everything that happened since is known. Start anew, without a position."


class OtherDatabase(PositionExpired):
    """The position was given out with another database: before a restore, for example."""

    detail = "That position belongs to another database: this one was restored or replaced. Start anew, without a position."


class TooManyListeners(RateLimited):
    """The account listens as often as it may. One has to be closed first, so the time to retry is a guess."""

    code = "too_many_listeners"
    detail = "Your account has too many open streams of events. Close one, or share one among your windows."

    def __init__(self) -> None:
        super().__init__(60)

    @classmethod
    def sample(cls) -> Self:
        return cls()

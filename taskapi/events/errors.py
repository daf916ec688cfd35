"""The errors of events, each in a category of ``core.errors``.

BadRequest
├── InvalidPosition     it is no position of this account
└── BadMessage          what came over a WebSocket is no message
NotAuthenticated
├── InvalidTicket       a ticket does not work
└── AuthenticationTooLate
Conflict                what the WebSocket has, or lacks, does not allow it
├── AlreadyAuthenticated
├── SubscriptionExists
├── TooManySubscriptions
└── UnknownSubscription
Gone
└── PositionExpired     what happened since can no longer be told
    └── OtherDatabase   it is a place in another database
RateLimited
└── TooManyListeners    the account has too many open streams
Unavailable
└── SubscriptionFailed  something went wrong on our side
"""

from typing import Self

from taskapi.core.errors import BadRequest, Conflict, Gone, NotAuthenticated, RateLimited, Unavailable


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


class BadMessage(BadRequest):
    """What came over a WebSocket is no message."""

    code = "bad_message"
    detail = "That is not a message."


class AuthenticationTooLate(NotAuthenticated):
    """No token came over a WebSocket in time."""

    code = "authentication_too_late"
    detail = "No token came within 10 seconds."


class AlreadyAuthenticated(Conflict):
    """A WebSocket belongs to one caller."""

    code = "already_authenticated"
    detail = "You are authenticated already. Open another connection for another token."


class SubscriptionExists(Conflict):
    """The name is taken."""

    code = "subscription_exists"
    detail = "There is a subscription with that id already. Choose another id, or end the other one first."


class TooManySubscriptions(Conflict):
    """The WebSocket has as many as it may have."""

    code = "too_many_subscriptions"
    detail = "A connection has at most 20 subscriptions. End one, or open another connection."


class UnknownSubscription(Conflict):
    """There is none, or not any more."""

    code = "unknown_subscription"
    detail = "There is no such subscription."


class SubscriptionFailed(Unavailable):
    """A subscription has ended for a reason that is not the caller's."""

    code = "subscription_failed"
    detail = "Something went wrong on our side. Subscribe again, with the position of the last event."

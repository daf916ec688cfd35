"""The errors of events."""

from taskapi.core.errors import NotAuthenticated


class InvalidTicket(NotAuthenticated):
    """A ticket does not work, for whatever reason."""

    code = "invalid_ticket"
    detail = "The ticket is unknown, used or expired. Ask POST /events/tickets for another one."

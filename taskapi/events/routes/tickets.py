"""The route of tickets."""

from taskapi.events.dependencies import EventTickets, TaskReadingCaller
from taskapi.events.ticket_schemas import TicketMade
from taskapi.web.problems import responses
from taskapi.web.routing import strict_router

router = strict_router(prefix="/events", tags=["events"])


@router.post(
    "/tickets",
    status_code=201,
    summary="Get a ticket",
    response_description="The ticket, which is shown only here.",
    responses=responses(401, 403),
)
async def create_ticket(caller: TaskReadingCaller, tickets: EventTickets) -> TicketMade:
    """Get a ticket for a client that cannot send headers, such as `EventSource` in a browser. Send it as `?ticket=` to
    `/events/stream` or `/events/ws`. It works once, for 30 seconds; what it opens ends with your session or API token."""
    return await tickets.create(caller)

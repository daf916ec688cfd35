"""The stream of events."""

import json
import random
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import urlencode

from fastapi import Query, Request
from pydantic import Field
from starlette.responses import Response

from taskapi.core.errors import ServerBusy
from taskapi.db.change_streams import StreamsUnsupported
from taskapi.events.dependencies import Listener
from taskapi.events.errors import InvalidPosition, InvalidTicket, TooManyListeners
from taskapi.events.feed import ChangeFeed
from taskapi.events.filters import EventFilter, EventFilterQuery, FilteredChanges, FilterQueries
from taskapi.events.follower import RESET_MESSAGES, End, EndReason, Follower, Heartbeat, Hello, Message, Reset
from taskapi.events.guard import ListenerGuard, Listening
from taskapi.events.rendering import EventReader, RenderedEvent
from taskapi.events.schemas import EVENT_EXAMPLE, POSITION_EXAMPLE, PositionText
from taskapi.events.tickets import MAX_LENGTH as MAX_TICKET_LENGTH
from taskapi.events.tickets import Tickets
from taskapi.web.admission import begins_in_turn
from taskapi.web.event_stream import HEADERS, EventStream, event, heartbeat, retry
from taskapi.web.methods import is_head
from taskapi.web.problems import responses
from taskapi.web.routing import strict_router
from taskapi.web.services import services_of

router = strict_router(prefix="/events", tags=["events"])

RETRY_MS: Final = 3000
RESTART_MS: Final = (500, 3000)  # when the server stops: not everybody comes back at once
HEARTBEAT_SECONDS: Final = 15.0
FILTERS: Final = tuple(EventFilter.model_fields)
LAST_EVENT_ID: Final = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "Like `since`, and takes precedence over it. `EventSource` sends it when it connects again.",
    "schema": {"type": "string"},
}
EXAMPLE: Final = (
    f"retry: {RETRY_MS}\n\nevent: hello\nid: {POSITION_EXAMPLE}\ndata: {json.dumps({'position': POSITION_EXAMPLE})}\n\n"
    f"event: task.updated\nid: {POSITION_EXAMPLE}\ndata: {json.dumps(EVENT_EXAMPLE)}\n\n"
)


class StreamQuery(EventFilterQuery):
    """Where to begin, and which tasks to hear of."""

    since: PositionText | None = None
    ticket: str | None = Field(
        None, max_length=MAX_TICKET_LENGTH, description="A ticket of `POST /events/tickets`, in place of a token."
    )


class Held(NamedTuple):
    """What a stream holds until it ends."""

    feed: ChangeFeed
    follower: Follower
    guard: ListenerGuard
    listening: Listening

    def close(self) -> None:
        """Leaves the feed and the guard."""
        self.feed.remove(self.follower)
        self.guard.remove(self.listening)


class TaskEventStream(EventStream):
    """The events of one caller, from the first message on."""

    def __init__(self, messages: AsyncGenerator[Message, None], first: Message, held: Held, list_path: str) -> None:
        self._held, self._list_path = held, list_path
        super().__init__(retry(RETRY_MS) + self.render(first), messages, held.listening.ended)

    def render(self, message: Message) -> bytes:
        """A message as it is sent."""
        match message:
            case RenderedEvent(position, kind, text):
                return event(kind, text, position)
            case Heartbeat(position):
                return heartbeat(position)
            case Hello(position):
                return event("hello", _json(position=position), position)
            case Reset(reason, position):
                text = _json(reason=reason, message=RESET_MESSAGES[reason], list=self._list_path, position=position)
                return event("reset", text, position)
            case End(reason):
                self._held.listening.end(reason)
                return b""

    def render_end(self) -> bytes:
        """The reason of the end. When the server stops, not all clients come back at the same moment."""
        reason: EndReason = self._held.listening.ended.result()
        text = event("end", _json(reason=reason))
        if reason is not EndReason.server_stopping:
            return text
        return retry(random.randint(*RESTART_MS)) + text  # noqa: S311  # nosec B311

    def close(self) -> None:
        """Leaves the feed and the guard."""
        self._held.close()


def _json(**members: Any) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def _list_path(request: Request, query: StreamQuery) -> str:
    """Where the tasks are listed that the stream tells of."""
    names = [name for name in FILTERS if name in query.model_fields_set]
    filters = urlencode([(name, request.query_params[name]) for name in names])
    return f"{request.scope.get('root_path', '')}/tasks{filters and '?'}{filters}"


@router.get(
    "/stream",
    summary="Follow your tasks",
    response_class=Response,
    response_description="Server-sent events, for as long as you read them.",
    responses={
        200: {"content": {EventStream.media_type: {"schema": {"type": "string"}, "example": EXAMPLE}}},
        **responses(InvalidPosition, 401, InvalidTicket, 403, 422, TooManyListeners, StreamsUnsupported, ServerBusy, 503),
    },
    openapi_extra={"parameters": [LAST_EVENT_ID]},
)
@begins_in_turn
async def stream_events(query: Annotated[StreamQuery, Query()], caller: Listener, request: Request) -> Response:
    """Each change of your tasks as it happens, as server-sent events. With `Last-Event-ID` or `since`, also what happened since.

    The first event is `hello`, or `reset` if it is not known what happened since: load your list anew, then go on. A stream ends
    with your session, and with a worker that stops: connect again with the last `id`. *Try it out* shows nothing, as it waits for
    the end: use curl, or the page `/live`.
    """
    services = services_of(request)
    feed, guard, user = services[ChangeFeed], services[ListenerGuard], caller.user
    choose = FilteredChanges(query, user.object_id, services[FilterQueries]).choose if query.is_given else None
    listening = guard.add(caller)
    held = Held(feed, feed.add(EventReader.of(user), choose), guard, listening)
    messages = feed.messages(held.follower, request.headers.get("last-event-id") or query.since, HEARTBEAT_SECONDS)
    try:
        first = await anext(messages)
        if query.ticket is not None and not is_head(request):
            await services[Tickets].use_up(query.ticket)
    except BaseException:
        held.close()
        raise
    if is_head(request):
        held.close()
        return Response(headers=HEADERS)
    return TaskEventStream(messages, first, held, _list_path(request, query))

"""One subscription of a connection: the events of an account, or of those of its tasks that match a filter."""

import json
import logging
from contextlib import aclosing, suppress
from functools import partial
from itertools import takewhile
from typing import Final
from urllib.parse import urlencode

from pymongo.errors import PyMongoError

from taskapi.core.errors import DomainError
from taskapi.db.errors import to_domain_error
from taskapi.events.errors import SubscriptionFailed
from taskapi.events.feed import ChangeFeed
from taskapi.events.filters import EventFilter, FilteredChanges, FilterQueries
from taskapi.events.follower import RESET_MESSAGES, End, Heartbeat, Hello, Message, Reset
from taskapi.events.positions import Position
from taskapi.events.rendering import EventReader, RenderedEvent
from taskapi.events.socket import messages
from taskapi.events.socket.messages import Subscribe
from taskapi.events.socket.turns import MessageTurns
from taskapi.web.http_lean import LeanEvent
from taskapi.web.websocket import Disconnected, WebSocket

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 60.0


class Subscription:
    """Sends what it is told, in a task of its own, until it is cancelled or fails."""

    def __init__(self, wanted: Subscribe, user: EventReader, list_path: str, socket: WebSocket) -> None:
        self.id = wanted.id
        self._wanted, self._user, self._socket = wanted, user, socket
        self._list = f"{list_path}{_query(wanted)}"
        self._waiting: list[str] = []  # the resume tokens of events without an ack, if there is a window
        self._room = LeanEvent()

    def acknowledge(self, position: Position) -> None:
        """Takes all events up to a position for done."""
        done = len(list(takewhile(lambda token: not position.is_before(token), self._waiting)))
        del self._waiting[:done]
        self._room.set()

    async def run(self, feed: ChangeFeed, queries: FilterQueries, turns: MessageTurns) -> None:
        """Sends the events. Returns when the follower has ended, or after a message of what has failed."""
        owner_id, choose = self._user.object_id, None
        try:
            if self._wanted.is_given:
                choose = (await turns.run(owner_id, partial(FilteredChanges, self._wanted, owner_id, queries))).choose
            with feed.join(self._user, choose) as follower:
                async with aclosing(feed.messages(follower, self._wanted.since, HEARTBEAT_SECONDS)) as told:
                    async for message in told:
                        await self._tell(message)
        except Disconnected:
            pass
        except Exception as error:
            with suppress(Disconnected):
                await self._socket.send(messages.error_message(_describe(error), self.id))

    async def _tell(self, message: Message) -> None:
        match message:
            case RenderedEvent(_, _, text, token):
                await self._wait_for_room()
                if self._wanted.window is not None:
                    self._waiting.append(token)
                await self._socket.send(messages.event_message(self.id, text))
            case Hello(position):
                await self._socket.send(messages.Subscribed(type="subscribed", id=self.id, position=position).model_dump_json())
            case Reset(reason, position):
                self._waiting.clear()
                reset = messages.Reset(
                    type="reset",
                    subscription=self.id,
                    reason=reason,
                    message=RESET_MESSAGES[reason],
                    list=self._list,
                    position=position,
                )
                await self._socket.send(reset.model_dump_json())
            case Heartbeat(position):
                told = messages.Heartbeat(type="heartbeat", subscription=self.id, position=position)
                await self._socket.send(told.model_dump_json())
            case End(_):
                pass  # the connection ends as well, and says why

    async def _wait_for_room(self) -> None:
        while self._wanted.window is not None and len(self._waiting) >= self._wanted.window:
            self._room.clear()
            await self._room.wait()


def _describe(error: Exception) -> DomainError:
    """What the client is told of an error."""
    if isinstance(error, DomainError):
        return error
    if isinstance(error, PyMongoError) and (known := to_domain_error(error)):
        log.warning("%s: %s", known.code, type(error).__name__)
        return known
    log.error("unexpected error", exc_info=error)
    return SubscriptionFailed()


def _query(wanted: EventFilter) -> str:
    """The filter as a query string."""
    values = {"where": wanted.where and json.dumps(wanted.where), "tag": wanted.tag, "status": wanted.status}
    query = urlencode({name: value for name, value in values.items() if value})
    return f"?{query}" if query else ""

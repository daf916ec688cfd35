"""A connection: reads what its client sends, and keeps the subscriptions."""

import asyncio
from functools import partial
from typing import Final

from taskapi.accounts.callers import Caller
from taskapi.accounts.security.request_quota import RequestLimit
from taskapi.core.errors import DomainError, TooManyRequests
from taskapi.events.errors import AlreadyAuthenticated, SubscriptionExists, TooManySubscriptions, UnknownSubscription
from taskapi.events.feed import ChangeFeed
from taskapi.events.filters import FilterQueries
from taskapi.events.positions import PositionCodec
from taskapi.events.rendering import EventReader
from taskapi.events.socket import messages
from taskapi.events.socket.messages import (
    Ack,
    Acknowledged,
    Authenticate,
    ClientMessage,
    InvalidMessage,
    Ping,
    Pong,
    Ready,
    Subscribe,
    Unsubscribe,
    Unsubscribed,
)
from taskapi.events.socket.subscription import Subscription
from taskapi.events.socket.turns import LARGE_MESSAGE, MessageTurns
from taskapi.web.services import services_of
from taskapi.web.websocket import WebSocket

MAX_SUBSCRIPTIONS: Final = 20


class Session:
    """The subscriptions of one connection, whose caller is authenticated."""

    def __init__(self, socket: WebSocket, caller: Caller) -> None:
        services = services_of(socket.scope)
        self._socket, self._user = socket, EventReader.of(caller.user)
        self._feed, self._queries, self._positions = services[ChangeFeed], services[FilterQueries], services[PositionCodec]
        self._turns, self._limit = services[MessageTurns], services.get(RequestLimit)
        self._list_path = f"{socket.scope.get('root_path', '')}/tasks"
        self._running: dict[str, tuple[Subscription, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Serves the client until something is raised.

        Raises:
            Disconnected: the client has gone.
            BadMessage: what it sends is none.
            TooManyRequests: it sends too many.
        """
        await self._socket.send(Ready(type="ready").model_dump_json())
        try:
            while True:
                await self._answer(await self._socket.receive())
        finally:
            await asyncio.gather(*(self._end(subscription_id) for subscription_id in list(self._running)))

    async def _answer(self, text: str | None) -> None:
        try:
            message = await self._read(text)
        except InvalidMessage as error:
            self._count()
            await self._socket.send(messages.error_message(error, error.subscription))
            return
        if not isinstance(message, Ack | Ping):
            self._count()
        try:
            await self._fulfil(message)
        except DomainError as error:
            await self._socket.send(messages.error_message(error, getattr(message, "id", None)))

    async def _read(self, text: str | None) -> ClientMessage:
        if text is None or len(text) <= LARGE_MESSAGE:
            return messages.read_message(text)
        return await self._turns.run(self._user.object_id, partial(messages.read_message, text))

    def _count(self) -> None:
        """Counts a message like a request, so that nobody floods the server with either. Raises TooManyRequests."""
        if self._limit and (retry_after := self._limit.take(self._user.id).retry_after):
            raise TooManyRequests(retry_after)

    async def _fulfil(self, message: ClientMessage) -> None:
        match message:
            case Ping():
                await self._socket.send(Pong(type="pong").model_dump_json())
            case Ack(id=subscription_id, position=position):
                subscription, _ = self._find(subscription_id)
                subscription.acknowledge(self._positions.read(position, self._user.object_id))
                await self._socket.send(
                    Acknowledged(type="acknowledged", id=subscription_id, position=position).model_dump_json()
                )
            case Subscribe():
                self._subscribe(message)
            case Unsubscribe(id=subscription_id):
                self._find(subscription_id)
                await self._end(subscription_id)
                await self._socket.send(Unsubscribed(type="unsubscribed", id=subscription_id).model_dump_json())
            case Authenticate():
                raise AlreadyAuthenticated

    def _subscribe(self, message: Subscribe) -> None:
        self._running = {name: each for name, each in self._running.items() if not each[1].done()}
        if message.id in self._running:
            raise SubscriptionExists
        if len(self._running) >= MAX_SUBSCRIPTIONS:
            raise TooManySubscriptions
        subscription = Subscription(message, self._user, self._list_path, self._socket)
        task = asyncio.create_task(subscription.run(self._feed, self._queries, self._turns), name="subscription")
        self._running[message.id] = subscription, task

    def _find(self, subscription_id: str) -> tuple[Subscription, "asyncio.Task[None]"]:
        found = self._running.get(subscription_id)
        if found is None or found[1].done():
            raise UnknownSubscription
        return found

    async def _end(self, subscription_id: str) -> None:
        """Ends a subscription: afterwards, nothing more of it is sent."""
        _, task = self._running.pop(subscription_id)
        task.cancel()
        await asyncio.wait([task])

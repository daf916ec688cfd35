"""The WebSocket of events, hostile callers first: who gets in, what is no message, and what is told to whom."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pymongo.errors import AutoReconnect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from taskapi.core.errors import ServerBusy
from taskapi.db.change_streams import StreamsUnsupported
from taskapi.events.documents import EventTicketDocument
from taskapi.events.feed import ChangeFeed
from taskapi.events.guard import ListenerGuard
from taskapi.events.routes import socket as socket_route
from taskapi.events.routes.socket import PATH, SUBPROTOCOL
from taskapi.events.socket.session import MAX_SUBSCRIPTIONS
from taskapi.tasks.services.changes import TaskChanges
from tests.client import Account, is_problem, make_account, signed_in
from tests.events.sockets import Sockets, Wire, serving_sockets
from tests.events.test_tickets import api_token, ticket_of
from tests.stored import collection, service

pytestmark = pytest.mark.real

DEEP = "[" * 50_000
NOTHING_TOLD: Any = {}


@pytest.fixture
async def sockets(app: FastAPI) -> AsyncIterator[Sockets]:
    async with serving_sockets(app) as served:
        yield served
    assert service(ChangeFeed)._followers == {}
    assert not service(ListenerGuard)._listeners


async def is_told(wire: Wire, code: str, **members: Any) -> None:
    """The next message is an error, and the connection goes on."""
    await wire.expect("error", code=code, **members)
    await wire.send("ping")
    await wire.expect("pong")


async def test_without_a_handshake_there_is_nothing(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get(PATH)
    is_problem(answer, 426, "upgrade_required")
    assert (answer.headers["upgrade"], answer.headers["sec-websocket-version"]) == ("websocket", "13")
    is_problem(await anonymous.post(PATH), 405, "method_not_allowed")


@pytest.mark.parametrize(
    "message",
    [
        {"type": "subscribe", "id": "s"},
        {"type": "ping"},
        {"type": "authenticate", "token": ""},
        {"type": "authenticate", "token": "tsk_" + 36 * "x"},
        {"type": "authenticate", "token": "\ud800"},
        {"type": "authenticate", "token": "eyJhbGciOiJub25lIn0.e30."},
    ],
    ids=["subscribe", "ping", "empty", "api-token", "surrogate", "jwt"],
)
async def test_who_is_nobody_is_sent_away(sockets: Sockets, message: dict[str, str]) -> None:
    async with sockets.open() as wire:
        await wire.send(message.pop("type"), **message)
        code, _ = await wire.closing()
        assert code in (4400, 4401)


@pytest.mark.parametrize("ticket", ["", "tkt_x", "tkt_" + 43 * "A"])
async def test_a_wrong_ticket_is_refused(sockets: Sockets, ticket: str) -> None:
    async with sockets.open(f"?ticket={ticket}") as wire:
        assert await wire.closing() == (4401, "invalid_ticket")


@pytest.mark.parametrize("query", ["?token=x", "?ticket=a&ticket=b", f"?ticket={101 * 'x'}"])
async def test_a_wrong_query_is_refused(sockets: Sockets, query: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with sockets.open(query):
            pass
    assert refused.value.response.status_code == 422


async def test_one_who_says_nothing_is_sent_away(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_route, "AUTHENTICATION_SECONDS", 0.1)
    async with sockets.open() as wire:
        assert await wire.closing() == (4408, "authentication_too_late")


async def test_a_token_must_permit_reading(sockets: Sockets, ada: Account) -> None:
    writer = await signed_in(ada.client, ada, scope="tasks:write")
    async with sockets.open(subprotocols=[Subprotocol(SUBPROTOCOL), Subprotocol(writer.token)]) as wire:
        assert await wire.closing() == (4403, "insufficient_scope")


async def test_the_token_comes_in_any_of_four_ways(sockets: Sockets, ada: Account) -> None:
    token = (await api_token(ada, "tasks:read"))["token"]
    ticket = await ticket_of(ada)
    for query, options in (
        (f"?ticket={ticket}", NOTHING_TOLD),
        ("", {"additional_headers": {"Authorization": f"Bearer {token}"}}),
        ("", {"subprotocols": [Subprotocol(SUBPROTOCOL), Subprotocol(token)]}),
    ):
        async with sockets.open(query, **options) as wire:
            await wire.expect("ready")
            assert wire.connection.subprotocol == (SUBPROTOCOL if "subprotocols" in options else None)
    async with sockets.open() as wire:
        await wire.send("authenticate", token=token)
        await wire.expect("ready")
        await wire.send("authenticate", token=token)
        await is_told(wire, "already_authenticated")
    async with sockets.open(f"?ticket={ticket}") as wire:
        assert await wire.closing() == (4401, "invalid_ticket")


async def test_a_connection_keeps_no_token(sockets: Sockets, ada: Account) -> None:
    async with sockets.of(ada) as wire:
        await wire.subscribe()
        connections: list[Any] = list(sockets.state.connections)
        assert len(connections) == 1
        assert connections[0].scope.keys().isdisjoint({"headers", "subprotocols", "query_string"})


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", '"ping"', "1e999", '{"type":1}', '{"type":"drop"}', '{"type":"ping","type":"ping"}', DEEP, b"x", b""],
    ids=["empty", "half", "null", "list", "text", "number", "type", "kind", "twice", "deep", "binary", "no-bytes"],
)
async def test_what_is_no_message_ends_the_connection(sockets: Sockets, ada: Account, text: str | bytes) -> None:
    for authenticated in (True, False):
        async with sockets.of(ada) if authenticated else sockets.open() as wire:
            await wire.connection.send(text)
            assert await wire.closing() == (4400, "bad_message")


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({}, "id"),
        ({"id": 1}, "id"),
        ({"id": ""}, "id"),
        ({"id": 65 * "x"}, "id"),
        ({"id": 'a"b'}, "id"),
        ({"id": "s", "status": "lost"}, "status"),
        ({"id": "s", "where": "{}"}, "where"),
        ({"id": "s", "where": {"secret": 1}}, "where.secret"),
        ({"id": "s", "where": {"$where": "1"}}, "where.$where"),
        ({"id": "s", "window": 0}, "window"),
        ({"id": "s", "window": True}, "window"),
        ({"id": "s", "since": "?"}, "since"),
        ({"id": "s", "since": 401 * "A"}, "since"),
        ({"id": "s", "q": "words"}, "q"),
    ],
)
async def test_a_wrong_member_is_named(sockets: Sockets, ada: Account, members: dict[str, Any], field: str) -> None:
    async with sockets.of(ada) as wire:
        await wire.send("subscribe", **members)
        message = await wire.expect("error", code="validation_error")
        assert [fault["field"] for fault in message["details"]] == [field]
        assert message.get("id") == (None if field == "id" else "s")
        await wire.subscribe("s")


async def test_foreign_and_forged_positions_are_refused(sockets: Sockets, ada: Account, bob: Account) -> None:
    async with sockets.of(bob) as wire:
        foreign = await wire.subscribe()
    async with sockets.of(ada) as wire:
        own = await wire.subscribe()
        for position in (foreign, own[:-1], own[1:], own[:-1] + ("A" if own[-1] != "A" else "B"), "x"):
            await wire.send("subscribe", id="other", since=position)
            await is_told(wire, "invalid_position", id="other")
            await wire.send("ack", id="s", position=position)
            await is_told(wire, "invalid_position", id="s")


async def test_a_connection_has_few_subscriptions(sockets: Sockets, ada: Account) -> None:
    async with sockets.of(ada) as wire:
        for number in range(1000):
            await wire.send("subscribe", id=str(number))
        told = [await wire.receive() for _ in range(1000)]
        assert sorted(message["id"] for message in told if message["type"] == "subscribed") == sorted(
            str(number) for number in range(MAX_SUBSCRIPTIONS)
        )
        assert {message["code"] for message in told if message["type"] == "error"} == {"too_many_subscriptions"}
        await wire.send("subscribe", id="1")
        await is_told(wire, "subscription_exists", id="1")
        await wire.send("unsubscribe", id="1")
        await wire.expect("unsubscribed", id="1")
        await wire.subscribe("another")


async def test_an_account_has_few_connections(sockets: Sockets, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskapi.events.guard.MAX_OF_ACCOUNT", 1)
    async with sockets.of(ada), sockets.open(additional_headers=ada.headers) as wire:
        assert await wire.closing() == (4429, "too_many_listeners")


async def test_ticket_outlasts_connections_that_do_not_open(
    sockets: Sockets, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = await ticket_of(ada)

    async def fail(_: TaskChanges) -> None:
        raise ServerBusy

    for name, value, reason in (
        ("taskapi.events.guard.MAX_OF_ACCOUNT", 0, "too_many_listeners"),
        ("taskapi.events.guard.MAX_SHARE", 0, "server_busy"),
        ("taskapi.tasks.services.changes.TaskChanges.now", fail, "server_busy"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(name, value)
            async with sockets.open(f"?ticket={ticket}") as wire:
                assert (await wire.closing())[1] == reason
        assert await collection(EventTicketDocument).count_documents({}) == 1
    async with sockets.open(f"?ticket={ticket}") as wire:
        await wire.expect("ready")
        assert await collection(EventTicketDocument).count_documents({}) == 0


async def test_unknown_subscriptions_are_named(sockets: Sockets, ada: Account) -> None:
    async with sockets.of(ada) as wire:
        position = await wire.subscribe()
        await wire.send("unsubscribe", id="other")
        await is_told(wire, "unknown_subscription", id="other")
        await wire.send("ack", id="other", position=position)
        await is_told(wire, "unknown_subscription", id="other")


UNABLE: list[tuple[Exception, int, str]] = [
    (StreamsUnsupported(), 4501, "change_streams_unsupported"),
    (AutoReconnect("MongoDB is gone"), 1013, "database_unavailable"),
    (ServerBusy(), 1013, "server_busy"),
    (RuntimeError("of a kind that nobody has thought of"), 1011, "internal_error"),
]


@pytest.mark.parametrize(("failure", "code", "reason"), UNABLE, ids=lambda value: value if isinstance(value, str) else "")
async def test_a_server_that_cannot_tell_says_why(
    sockets: Sockets, ada: Account, monkeypatch: pytest.MonkeyPatch, failure: Exception, code: int, reason: str
) -> None:
    async def fail(_: TaskChanges) -> None:
        raise failure

    monkeypatch.setattr(TaskChanges, "now", fail)
    async with sockets.open(additional_headers=ada.headers) as wire:
        assert await wire.closing() == (code, reason)


async def test_nobody_is_told_of_tasks_of_others(sockets: Sockets, ada: Account, anonymous: httpx.AsyncClient) -> None:
    bob = await make_account(anonymous, "bob")
    async with sockets.of(ada) as hers, sockets.of(bob) as his:
        await asyncio.gather(hers.subscribe(), his.subscribe())
        for number in range(20):
            await ada.make_task(f"hers {number}")
            await bob.make_task(f"his {number}")
        assert [(await hers.event())["task"]["title"] for _ in range(20)] == [f"hers {number}" for number in range(20)]
        assert [(await his.event())["task"]["title"] for _ in range(20)] == [f"his {number}" for number in range(20)]

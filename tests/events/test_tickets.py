"""Tickets: who gets one, and that it works once, for a short time, for as long as its session or API token does."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from taskapi.accounts.callers import Caller
from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.accounts.users.documents import UserDocument
from taskapi.core.clock import in_utc, parse_rfc3339, utc_now
from taskapi.events.documents import EventTicketDocument
from taskapi.events.errors import InvalidTicket
from taskapi.events.tickets import LIFETIME, Tickets
from tests.client import Account, is_problem, signed_in
from tests.conftest import another
from tests.leaks import keep_secret
from tests.stored import collection, service

FOREVER = timedelta(days=1)


async def ticket_of(account: Account, token: str | None = None) -> str:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = await account.post("/events/tickets", headers=headers)
    assert answer.status_code == 201, answer.text
    return keep_secret(answer.json()["ticket"], "ticket")


async def redeem(ticket: str, tickets: Tickets | None = None) -> Caller:
    tickets = tickets or service(Tickets)
    caller = await tickets.find_caller(ticket)
    await tickets.use_up(ticket)
    return caller


async def is_refused(ticket: str) -> None:
    with pytest.raises(InvalidTicket):
        await redeem(ticket)


async def api_token(account: Account, *scopes: str) -> dict[str, Any]:
    answer = await account.post("/users/me/tokens", json={"name": "script", "scopes": scopes})
    return {**answer.json(), "token": keep_secret(answer.json()["token"], "API token")}


@pytest.mark.parametrize("text", ["", "tkt_", "tkt_" + 43 * "A", "tkt_" + 10_000 * "A", "tkt_\0", "tkt_\N{SNOWMAN}", "tsk_x"])
async def test_what_is_no_ticket_is_refused(ada: Account, text: str) -> None:
    await ticket_of(ada)
    await is_refused(text)


async def test_a_ticket_needs_the_right_to_read_tasks(ada: Account) -> None:
    writer = await signed_in(ada.client, ada, scope="tasks:write account")
    is_problem(await writer.post("/events/tickets"), 403, "insufficient_scope")
    assert await collection(EventTicketDocument).count_documents({}) == 0


async def test_a_ticket_lasts_half_a_minute(ada: Account) -> None:
    before = utc_now()
    answer = (await ada.post("/events/tickets")).json()
    keep_secret(answer["ticket"], "ticket")
    assert before + LIFETIME <= parse_rfc3339(answer["expires_at"]) <= utc_now() + LIFETIME
    assert timedelta(seconds=30) == LIFETIME


async def test_only_a_hash_of_a_ticket_is_stored(ada: Account) -> None:
    ticket = await ticket_of(ada)
    (kept,) = await collection(EventTicketDocument).find({}).to_list(None)
    assert ticket not in str(kept)
    assert kept.keys() == {"_id", "user", "session", "api_token", "scopes", "expires_at"}
    assert kept["user"] == ObjectId(ada.id)


async def test_a_ticket_stands_for_its_session(ada: Account) -> None:
    reader = await signed_in(ada.client, ada, scope="tasks:read")
    caller = await redeem(await ticket_of(reader))
    assert (caller.user.id, set(caller.scopes), caller.api_token) == (ada.id, {"tasks:read"}, None)
    (kept,) = await collection(UserDocument).find({}).to_list(None)
    assert caller.session == kept["sessions"][-1]


async def test_a_ticket_lasts_no_longer_than_its_session(ada: Account) -> None:
    """An account lists sessions that have expired, too: without a look at the session, a stream would go on for ever."""
    sessions, ticket, late = collection(SessionDocument), await ticket_of(ada), await ticket_of(ada)
    (session,) = await sessions.find({}).to_list(None)
    assert (await redeem(ticket)).expiry == int(in_utc(session["expires_at"]).timestamp())
    await sessions.update_one({}, {"$set": {"expires_at": utc_now()}})
    await is_refused(late)


async def test_a_ticket_works_once(ada: Account) -> None:
    ticket = await ticket_of(ada)
    await redeem(ticket)
    await is_refused(ticket)
    assert await collection(EventTicketDocument).count_documents({}) == 0


@pytest.mark.real
async def test_of_callers_on_two_workers_one_wins(ada: Account) -> None:
    ticket = await ticket_of(ada)
    async with another() as other:
        tickets = [service(Tickets), other._transport.app.state.services[Tickets]]  # type: ignore[attr-defined]
        outcomes = await asyncio.gather(*(redeem(ticket, each) for each in 10 * tickets), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Caller"] + 19 * ["InvalidTicket"]


async def test_an_expired_ticket_is_refused(ada: Account) -> None:
    ticket = await ticket_of(ada)
    await collection(EventTicketDocument).update_one({}, {"$set": {"expires_at": utc_now()}})
    await is_refused(ticket)


@pytest.mark.parametrize("change", [{"disabled": True}, {"leaving": {"requested_at": utc_now(), "due_at": utc_now() + FOREVER}}])
async def test_a_ticket_ends_with_its_account(ada: Account, change: dict[str, Any]) -> None:
    ticket = await ticket_of(ada)
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": change})
    await is_refused(ticket)


async def test_a_ticket_ends_with_its_session(ada: Account) -> None:
    other = await signed_in(ada.client, ada)
    ticket, lasting = await ticket_of(other), await ticket_of(ada)
    assert (await other.post("/logout")).status_code == 204
    await is_refused(ticket)
    await redeem(lasting)


@pytest.mark.real
async def test_a_ticket_of_an_api_token(ada: Account) -> None:
    token = await api_token(ada, "tasks:read", "account")
    caller = await redeem(await ticket_of(ada, token["token"]))
    assert (caller.user.id, caller.session, set(caller.scopes)) == (ada.id, None, {"tasks:read", "account"})
    assert caller.api_token
    ticket = await ticket_of(ada, token["token"])
    assert (await ada.delete(f"/users/me/tokens/{token['id']}")).status_code == 204
    await is_refused(ticket)


async def test_a_key_replays_no_ticket(ada: Account) -> None:
    key = {"Idempotency-Key": "twice"}
    one, other = [(await ada.post("/events/tickets", headers=key)).json()["ticket"] for _ in range(2)]
    assert keep_secret(one, "ticket") != keep_secret(other, "ticket")

"""Tickets: each opens one stream of events, for a client that cannot send headers, such as ``EventSource`` in a browser.

A ticket stands in a URL, which others may log, so it is worth little: it works once, for 30 seconds, and for streams only.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from taskapi.accounts.auth.loaders import AccountLoader, TokenOwnerLoader
from taskapi.accounts.callers import Caller
from taskapi.accounts.security.scopes import OF_ROLE
from taskapi.accounts.sessions.repository import SessionRepository
from taskapi.core.clock import in_utc, utc_now
from taskapi.db.connection import BSON
from taskapi.events.errors import InvalidTicket
from taskapi.events.ticket_repository import TicketRepository
from taskapi.events.ticket_schemas import TicketMade

LIFETIME: Final = timedelta(seconds=30)
PREFIX: Final = "tkt_"
SECRET_BYTES = 32
MAX_LENGTH = 100  # characters; tickets have 47


@dataclass(frozen=True, slots=True)
class Tickets:
    """Creates tickets, and says whom they stand for."""

    tickets: TicketRepository
    accounts: AccountLoader
    token_owners: TokenOwnerLoader
    sessions: SessionRepository

    async def create(self, caller: Caller) -> TicketMade:
        """A ticket that lets its bearer listen as ``caller``."""
        text, expires_at = PREFIX + secrets.token_urlsafe(SECRET_BYTES), utc_now() + LIFETIME
        values = {
            "user": caller.user.object_id,
            "session": caller.session,
            "api_token": caller.api_token,
            "scopes": sorted(caller.scopes),
            "expires_at": expires_at,
        }
        await self.tickets.add(_hash(text), values)
        return TicketMade(ticket=text, expires_at=expires_at)

    async def find_caller(self, text: str) -> Caller:
        """The caller that a ticket was created for, as they are now.

        The access token that asked for the ticket may expire: what the caller opens lasts as long as its session.

        Raises:
            InvalidTicket: it is unknown, used or expired; or its session, API token or account has ended.
        """
        found = await self.tickets.find(_hash(text)) if text.startswith(PREFIX) and len(text) <= MAX_LENGTH else None
        caller = await self._caller(found) if found else None
        if caller is None:
            raise InvalidTicket
        return caller

    async def use_up(self, text: str) -> None:
        """Has a ticket work no more. Raises InvalidTicket: it was used meanwhile."""
        if not await self.tickets.remove(_hash(text)):
            raise InvalidTicket

    async def _caller(self, ticket: BSON) -> Caller | None:
        if api_token := ticket["api_token"]:
            owner = await self.token_owners.get(api_token)
            return Caller(owner.user, owner.scopes.intersection(ticket["scopes"]), None, api_token) if owner else None
        user, session = await self.accounts.get(ticket["user"]), await self.sessions.find(ticket["session"])
        if user is None or session is None or session["_id"] not in user.sessions:
            return None
        expiry = int(in_utc(session["expires_at"]).timestamp())  # later, the account may still list the session
        return Caller(user, OF_ROLE[user.role].intersection(ticket["scopes"]), session["_id"], expiry=expiry)


def _hash(text: str) -> bytes:
    """SHA-256, without a key since tickets cannot be guessed."""
    return hashlib.sha256(text.encode()).digest()

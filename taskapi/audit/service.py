"""Shows security events, newest first."""

from dataclasses import dataclass

from bson import ObjectId

from taskapi.audit.documents import SecurityEventDocument
from taskapi.audit.repository import SecurityEventRepository
from taskapi.audit.schemas import AllEventsQuery, EventQuery, SecurityEventRead
from taskapi.db import damaged
from taskapi.db.connection import BSON
from taskapi.web.pagination import Page

SOURCE = SecurityEventDocument.Settings.name


@dataclass(frozen=True, slots=True)
class SecurityEventService:
    """Lists security events, newest first."""

    events: SecurityEventRepository
    milliseconds: int  # the time limit of a query

    async def list_for_user(self, user: ObjectId, query: EventQuery) -> Page[SecurityEventRead]:
        """The events of ``user``, without the IP addresses and user agents of admins."""
        page = await self._page(query, {"user": user})
        return Page([for_owner(event) for event in page.entries], page.total)

    async def list_all(self, query: AllEventsQuery) -> Page[SecurityEventRead]:
        """The events of all accounts."""
        conditions: BSON = {"user": ObjectId(query.user)} if query.user else {}
        if query.outcome:
            conditions["outcome"] = query.outcome
        return await self._page(query, conditions)

    async def _page(self, query: EventQuery, conditions: BSON) -> Page[SecurityEventRead]:
        matching = conditions | ({"kind": query.kind} if query.kind else {})
        found = await self.events.find_page(query, matching, self.milliseconds)
        return Page(damaged.read_all(SecurityEventRead, found.entries, SOURCE), found.total)


def for_owner(event: SecurityEventRead) -> SecurityEventRead:
    """``event`` for the account it is about: without the IP address and user agent of an admin."""
    return event.model_copy(update={"address": "", "agent": ""}) if event.by else event

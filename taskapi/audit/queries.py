"""Reads security events, newest first."""

from bson import ObjectId

from taskapi.audit.documents import SecurityEventDocument
from taskapi.audit.repository import SecurityEventRepository
from taskapi.audit.schemas import AllEventsQuery, EventQuery, SecurityEventRead
from taskapi.db import damaged
from taskapi.db.connection import BSON
from taskapi.web.pagination import Page

SOURCE = SecurityEventDocument.Settings.name


async def list_for_user(
    events: SecurityEventRepository, user: ObjectId, query: EventQuery, milliseconds: int
) -> Page[SecurityEventRead]:
    """The events of ``user``, found within ``milliseconds``, without the IP addresses and user agents of admins."""
    page = await _page(events, query, {"user": user}, milliseconds)
    return Page([for_owner(event) for event in page.entries], page.total)


def for_owner(event: SecurityEventRead) -> SecurityEventRead:
    """``event`` for the account it is about: without the IP address and user agent of an admin."""
    return event.model_copy(update={"address": "", "agent": ""}) if event.by else event


async def list_all(events: SecurityEventRepository, query: AllEventsQuery, milliseconds: int) -> Page[SecurityEventRead]:
    """The events of all accounts, found within ``milliseconds``."""
    conditions: BSON = {"user": ObjectId(query.user)} if query.user else {}
    if query.outcome:
        conditions["outcome"] = query.outcome
    return await _page(events, query, conditions, milliseconds)


async def _page(
    events: SecurityEventRepository, query: EventQuery, conditions: BSON, milliseconds: int
) -> Page[SecurityEventRead]:
    matching = conditions | ({"kind": query.kind} if query.kind else {})
    found = await events.find_page(query, matching, milliseconds)
    return Page(damaged.read_all(SecurityEventRead, found.entries, SOURCE), found.total)

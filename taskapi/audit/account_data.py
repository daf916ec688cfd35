"""The export of the events of one account."""

from collections.abc import AsyncGenerator

from bson import ObjectId

from taskapi.audit.repository import SecurityEventRepository
from taskapi.audit.schemas import SecurityEventRead
from taskapi.audit.service import SOURCE, for_owner
from taskapi.db import damaged
from taskapi.db.connection import BSON
from taskapi.web.streaming import rendered


def export_events(events: SecurityEventRepository, user: ObjectId) -> AsyncGenerator[str, None]:
    """The events of ``user``, oldest first, each as JSON."""
    return rendered(events.stream_for_user(user), _line)


def _line(event: BSON) -> list[str]:
    return [for_owner(damaged.read(SecurityEventRead, event, SOURCE)).model_dump_json()]

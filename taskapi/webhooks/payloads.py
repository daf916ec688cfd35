"""What is sent to receivers, in JSON."""

import json
from datetime import datetime
from typing import Any, Final

from taskapi.core.clock import rfc3339

MAX_BYTES: Final = 64 * 1024
GAP: Final = "webhook.gap"
PING: Final = "webhook.ping"
OVERFLOW_MESSAGE: Final = (
    "Too many events were pending. Those before this one will not be sent. Load what has changed from GET /tasks/changes "
    "with this event's `since`."
)
GAP_MESSAGE: Final = (
    "Some events were lost, because the server can no longer read them. Load what has changed from GET /tasks/changes, since the "
    "id of the last event that you have."
)


def task_event(kind: str, at: datetime, event: bytes, address: str) -> bytes:
    """An event of a task, which is JSON already. One that would be too large comes without the task, but with its ``address``."""
    whole = _payload(kind, at, event)
    if len(whole) <= MAX_BYTES:
        return whole
    short: dict[str, Any] = {name: value for name, value in json.loads(event).items() if name != "task"}
    return _payload(kind, at, _json({**short, "task_url": address}))


def ping(at: datetime, hook_id: str) -> bytes:
    """An event that says nothing but that the webhook works."""
    return _payload(PING, at, _json({"type": PING, "at": rfc3339(at), "webhook_id": hook_id}))


def gap(at: datetime, position: str) -> bytes:
    """An event that says that others before the position were lost."""
    return _payload(GAP, at, _json({"id": position, "type": GAP, "at": rfc3339(at), "message": GAP_MESSAGE}))


def overflow(at: datetime, position: str, since: str) -> bytes:
    """As ``gap``, for events between two positions that are not sent because too many were pending."""
    data = {"id": position, "type": GAP, "at": rfc3339(at), "since": since, "message": OVERFLOW_MESSAGE}
    return _payload(GAP, at, _json(data))


def _payload(kind: str, at: datetime, data: bytes) -> bytes:
    return b'{"type":"%b","timestamp":"%b","data":%b}' % (kind.encode(), rfc3339(at).encode(), data)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()

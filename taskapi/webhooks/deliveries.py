"""New deliveries."""

from bson import ObjectId

from taskapi.core.clock import utc_now
from taskapi.db.connection import BSON
from taskapi.webhooks.backoff import PATIENCE
from taskapi.webhooks.delivery_repository import KEPT


def new_delivery(
    user: ObjectId,
    hook_id: ObjectId,
    kind: str,
    event: str,
    body: bytes,
) -> BSON:
    """A delivery that is due now; of an event of no task and no position."""
    now = utc_now()
    return {
        "_id": ObjectId(),
        "user": user,
        "hook": hook_id,
        "event": event,
        "position": None,
        "type": kind,
        "task": None,
        "body": body,
        "status": "pending",
        "attempts": 0,
        "next_attempt_at": now,
        "give_up_at": now + PATIENCE,
        "leased_until": now,
        "attempted_at": None,
        "code": None,
        "duration_ms": None,
        "answer": None,
        "error": None,
        "created_at": now,
        "expires_at": now + KEPT,
    }

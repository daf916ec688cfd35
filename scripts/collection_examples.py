"""A document of each collection, as an example."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from beanie import Document
from bson import ObjectId

from taskapi.accounts.recovery.documents import OneTimeTokenDocument
from taskapi.accounts.security.documents import ThrottleDocument
from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.accounts.users.documents import UserDocument
from taskapi.accounts.users.schemas import UserRead
from taskapi.audit.documents import SecurityEventDocument
from taskapi.core.ids import deterministic_ids
from taskapi.db.migrations.documents import MigrationDocument
from taskapi.db.service_state import ServiceStateDocument
from taskapi.mail.documents import MailJobDocument
from taskapi.tasks.schemas import TASK_EXAMPLE, TaskCreate
from taskapi.tasks.services.tasks import new_task
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.web.idempotency.documents import IdempotencyDocument

BSON = dict[str, Any]

NOW = datetime(2027, 1, 2, 9, 15, 0, 123000, UTC)
USER, SESSION, TOKEN = (ObjectId(f"65f1a2b3c4d5e6f708192a{number:02x}") for number in range(3))
OTHER = ObjectId("65f1a2b3c4d5e6f708192aff")
REQUEST_ID = "0f8fad5bd9cb469fa16570867728950e"
CLIENT = {"address": "192.0.2.7", "agent": "curl/8.5.0"}
HASH = bytes(range(16))
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def _example_task() -> BSON:
    """A new task, as the service creates it, with fixed times."""
    fields: BSON = {"id": str(USER), "username": "ada", "email": None, "email_verified": False, "full_name": None, "role": "user"}
    owner = UserRead.model_validate({**fields, "_id": USER, "disabled": False, "created_at": NOW, "updated_at": NOW})
    with deterministic_ids(ObjectId("65f1a2b3c4d5e6f708000000")):
        task = new_task(owner, TaskCreate.model_validate(TASK_EXAMPLE))
    made = task["created_at"]
    fixed: BSON = _replace({**task, "changed_at": made}, made, NOW)
    return {**fixed, "history": [{**entry, "request_id": REQUEST_ID} for entry in fixed["history"]]}


def _replace(value: Any, old: object, new: object) -> Any:
    if isinstance(value, dict):
        return {name: _replace(member, old, new) for name, member in value.items()}
    if isinstance(value, list):
        return [_replace(member, old, new) for member in value]
    return new if value == old else value


EXAMPLES: Mapping[type[Document], list[BSON]] = {
    UserDocument: [
        {
            "_id": USER,
            "username": "Ada",
            "username_key": "ada",
            "email": "Ada@example.com",
            "email_verified": True,
            "full_name": "Ada Lovelace",
            "password_hash": "$argon2id$v=19$m=19456,t=2,p=1$…",
            "disabled": False,
            "role": "user",
            "sessions": [SESSION],
            "created_at": NOW,
            "updated_at": NOW,
            "email_key": "ada@example.com",
            "api_tokens": [
                {
                    "id": TOKEN,
                    "name": "Nightly report",
                    "name_key": "nightly report",
                    "hash": HASH,
                    "scopes": ["tasks:read"],
                    "days": 90,
                    "created_at": NOW,
                    "expires_at": NOW + 90 * DAY,
                    "last_used_at": None,
                }
            ],
        }
    ],
    SessionDocument: [
        {
            "_id": SESSION,
            "user": USER,
            "scopes": ["account", "tasks:read", "tasks:write"],
            "token_hash": HASH,
            "generation": 1,
            "chain": HASH,
            "rotations": [{"at": NOW + HOUR, **CLIENT}],
            **CLIENT,
            "created_at": NOW,
            "last_seen_at": NOW + HOUR,
            "ends_at": NOW + 90 * DAY,
            "expires_at": NOW + HOUR + 30 * DAY,
        }
    ],
    TaskDocument: [
        _example_task(),
        {
            "_id": OTHER,
            "owner_id": USER,
            "state": "purged",
            "created_at": NOW,
            "version": 3,
            "changed_at": NOW + 31 * DAY,
            "expires_at": NOW + 61 * DAY,
        },
    ],
    IdempotencyDocument: [
        {
            "_id": {"scope": f"user:{USER}", "key": "8e03978e-40d5-43e8-bc93-6894a57f9324"},
            "seed": ObjectId("65f1a2b3c4d5e6f708000000"),
            "fingerprint": HASH,
            "holder": None,
            "locked_until": NOW + MINUTE,
            "status": 204,
            "headers": [["x-request-id", REQUEST_ID]],
            "body": b"",
            "created_at": NOW,
            "expires_at": NOW + DAY,
        }
    ],
    SecurityEventDocument: [
        {
            "_id": OTHER,
            "at": NOW,
            "kind": "token_created",
            "outcome": "success",
            "user": USER,
            "by": None,
            **CLIENT,
            "request_id": REQUEST_ID,
            "details": {"token": str(TOKEN)},
            "expires_at": NOW + 90 * DAY,
        }
    ],
    ThrottleDocument: [
        {"_id": HASH, "failures": 2, "blocked_until": None, "forgotten_at": NOW + HOUR, "expires_at": NOW + HOUR},
    ],
    MailJobDocument: [
        {
            "_id": OTHER,
            "kind": "verify_email",
            "user": USER,
            "address": None,
            "origin": {**CLIENT, "request_id": REQUEST_ID},
            "due_at": NOW,
            "leased_until": NOW,
            "attempts": 0,
            "created_at": NOW,
            "expires_at": NOW + 2 * DAY,
        }
    ],
    OneTimeTokenDocument: [
        {
            "_id": OTHER,
            "user": USER,
            "purpose": "verify_email",
            "token_hash": HASH,
            "address": "Ada@example.com",
            "mark": HASH,
            "expires_at": NOW + HOUR,
        }
    ],
    ServiceStateDocument: [{"_id": "signing_key", "since": NOW, "fingerprint": "5f4dcc3b5aa765d6"}],
    MigrationDocument: [
        {
            "_id": 1,
            "name": "task owners",
            "phase": "expand",
            "started_at": NOW,
            "finished_at": NOW + MINUTE,
            "changed": 5000,
            "skipped": 0,
        }
    ],
}

"""A sound document for each collection, with a value in each field, written down by hand."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from beanie import Document
from bson import ObjectId

from taskapi.accounts.recovery.documents import OneTimeTokenDocument
from taskapi.accounts.security.documents import ThrottleDocument
from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.accounts.users.documents import UserDocument
from taskapi.analytics.daily.documents import TaskDayDocument
from taskapi.audit.documents import SecurityEventDocument
from taskapi.db.migrations.documents import MigrationDocument
from taskapi.db.service_state import ServiceStateDocument
from taskapi.events.documents import EventTicketDocument
from taskapi.mail.documents import MailJobDocument
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.web.idempotency.documents import IdempotencyDocument
from taskapi.webhooks.documents import WebhookDeliveryDocument, WebhookDocument

NOW = datetime(2026, 11, 25, 19, 0, 0, 123000, UTC)
DAY = datetime(2026, 11, 25, tzinfo=UTC)
ID = ObjectId("65f1a2b3c4d5e6f708192a3b")
ADA = {"id": ID, "username": "ada"}
CLIENT = {"address": "192.0.2.7", "agent": "curl/8.5.0"}
ENTRY = {"version": 1, "at": NOW, "by": ADA, "action": "create", "request_id": "r", "before": {}}

SOUND: Mapping[type[Document], dict[str, Any]] = {
    UserDocument: {
        "_id": ID,
        "username": "Grace",
        "username_key": "grace",
        "email": "Grace@example.com",
        "email_key": "grace@example.com",
        "email_verified": True,
        "pending_email": "new@example.com",
        "full_name": "Grace Hopper",
        "password_hash": "$argon2id$",
        "disabled": False,
        "role": "user",
        "sessions": [ID],
        "last_admin_checks": 1,
        "leaving": {"requested_at": NOW, "due_at": NOW, "leased_until": NOW},
        "renames": 1,
        "renaming": {"renamed_at": NOW, "due_at": NOW, "leased_until": NOW, "holder": ID},
        "api_tokens": [
            {
                "id": ID,
                "name": "Nightly",
                "name_key": "nightly",
                "hash": b"h",
                "scopes": ["tasks:read"],
                "days": 90,
                "created_at": NOW,
                "expires_at": NOW,
                "last_used_at": NOW,
            }
        ],
        "two_factor": True,
        "authenticator": {"secret": b"s", "expires_at": NOW, "last_step": 5, "recovery": [b"r"]},
        "created_at": NOW,
        "updated_at": NOW,
    },
    SessionDocument: {
        "_id": ID,
        "user": ID,
        "scopes": ["account"],
        "token_hash": b"h",
        "generation": 1,
        "chain": b"c",
        "rotations": [{"at": NOW, **CLIENT}],
        **CLIENT,
        "created_at": NOW,
        "last_seen_at": NOW,
        "ends_at": NOW,
        "expires_at": NOW,
    },
    TaskDocument: {
        "_id": ID,
        "owner_id": ID,
        "state": "active",
        "title": "Sound",
        "description": "All of it.",
        "status": "done",
        "completed": True,
        "completed_at": NOW,
        "priority": 3,
        "due_date": DAY,
        "start_date": DAY,
        "estimate_minutes": 90,
        "tags": ["work"],
        "links": ["https://example.com/"],
        "checklist": [{"id": ID, "text": "one", "done": True}],
        "progress": 1.0,
        "metadata": {"a": 1},
        "key": "crm-4711",
        "owner": ADA,
        "created_at": NOW,
        "updated_at": NOW,
        "version": 1,
        "changed_at": NOW,
        "status_changes": [{"status": "done", "at": NOW}],
        "history": [ENTRY],
    },
    IdempotencyDocument: {
        "_id": {"scope": "user:1", "key": "k"},
        "seed": ID,
        "fingerprint": b"f",
        "holder": ID,
        "locked_until": NOW,
        "status": 201,
        "headers": [["content-type", "application/json"]],
        "body": b"{}",
        "created_at": NOW,
        "expires_at": NOW,
    },
    SecurityEventDocument: {
        "_id": ID,
        "at": NOW,
        "kind": "sign_in",
        "outcome": "success",
        "user": ID,
        "by": ID,
        **CLIENT,
        "request_id": "r",
        "details": {"session": "1"},
        "expires_at": NOW,
    },
    ThrottleDocument: {
        "_id": b"t",
        "failures": 1,
        "blocked_until": NOW,
        "forgotten_at": NOW,
        "expires_at": NOW,
        "account": b"a",
    },
    MailJobDocument: {
        "_id": ID,
        "kind": "verify_email",
        "user": ID,
        "address": "ada@example.com",
        "origin": {**CLIENT, "request_id": "r"},
        "due_at": NOW,
        "leased_until": NOW,
        "attempts": 1,
        "created_at": NOW,
        "expires_at": NOW,
    },
    OneTimeTokenDocument: {
        "_id": ID,
        "user": ID,
        "purpose": "verify_email",
        "token_hash": b"h",
        "address": "ada@example.com",
        "mark": b"m",
        "expires_at": NOW,
    },
    EventTicketDocument: {
        "_id": b"h",
        "user": ID,
        "session": ID,
        "api_token": None,
        "scopes": ["tasks:read"],
        "expires_at": NOW,
    },
    TaskDayDocument: {
        "_id": {"owner_id": ID, "day": DAY},
        "owner_id": ID,
        "day": DAY,
        "created": 2,
        "completed": 1,
        "status_changes": 4,
        "todo": 0,
        "in_progress": 1,
        "done": 1,
        "lead_hours": [{"hours": 5, "tasks": 1}],
        "cycle_hours": [{"hours": 3, "tasks": 1}],
        "open": 1,
        "open_priorities": [{"priority": 3, "tasks": 1}],
        "open_due": 1,
        "monthly_active": 1,
        "fields": [{"field": "status", "changes": 2, "tasks": 1}],
        "refreshed_at": NOW,
    },
    ServiceStateDocument: {
        "_id": "signing_key",
        "since": NOW,
        "fingerprint": "f",
        "leased_until": NOW,
        "holder": ID,
        "place": "8265F1A2B3000000012B0229296E04",
        "generation": 1,
    },
    WebhookDocument: {
        "_id": ID,
        "user": ID,
        "url": "https://example.com/hooks/tasks",
        "events": ["task.created"],
        "where": '{"tags": "work"}',
        "description": "Feeds the wall display",
        "enabled": False,
        "disabled_reason": "failing",
        "secret": b"s",
        "previous_secret": b"p",
        "previous_secret_until": NOW,
        "begins_after": "1764100800.1",
        "failing_since": NOW,
        "version": 2,
        "created_at": NOW,
        "updated_at": NOW,
    },
    WebhookDeliveryDocument: {
        "_id": ID,
        "user": ID,
        "hook": ID,
        "event": "8265F1A2B3000000012B0229296E04",
        "position": "kZ0p",
        "type": "task.created",
        "task": ID,
        "body": b"{}",
        "status": "failed",
        "attempts": 1,
        "next_attempt_at": NOW,
        "give_up_at": NOW,
        "leased_until": NOW,
        "slot": "example.com:443 0",
        "attempted_at": NOW,
        "code": 503,
        "duration_ms": 48,
        "answer": "Down for maintenance.",
        "error": "timeout",
        "created_at": NOW,
        "expires_at": NOW,
    },
    MigrationDocument: {
        "_id": 1,
        "name": "a_step",
        "phase": "expand",
        "started_at": NOW,
        "finished_at": NOW,
        "changed": 1,
        "skipped": 0,
    },
}

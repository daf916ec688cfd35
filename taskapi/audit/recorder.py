"""Records security events."""

from dataclasses import dataclass
from typing import Literal

from bson import ObjectId

from taskapi.audit.repository import SecurityEventRepository
from taskapi.core.logs import request_id

Kind = Literal[
    "account_created",
    "account_deletion_requested",
    "account_deletion_cancelled",
    "account_disabled",
    "account_enabled",
    "account_exported",
    "current_password",
    "email_changed",
    "email_verified",
    "password_changed",
    "password_reset",
    "password_reset_requested",
    "recovery_code_used",
    "recovery_codes_made",
    "refresh_token_reused",
    "role_changed",
    "session_ended",
    "sessions_ended",
    "sign_in",
    "token_created",
    "token_revoked",
    "token_rotated",
    "two_factor_disabled",
    "two_factor_enabled",
    "username_changed",
]
Outcome = Literal["success", "failure"]

MAX_AGENT_LENGTH = 200  # characters of a User-Agent that are stored


@dataclass(frozen=True, slots=True)
class AuditLog:
    """Records the security events of one caller, with their IP address and user agent."""

    events: SecurityEventRepository
    ip_address: str
    agent: str

    async def record(
        self,
        kind: Kind,
        user: ObjectId | None,
        *,
        outcome: Outcome = "success",
        by: ObjectId | None = None,
        **details: str,
    ) -> None:
        """Stores one event about the account ``user``. ``by`` is the admin who did it, if it was not the account itself.

        ``details`` are shown to people and must not contain a password, a token or a code.
        """
        await self.events.add(
            {
                "kind": kind,
                "outcome": outcome,
                "user": user,
                "by": by if by != user else None,
                "address": self.ip_address,
                "agent": self.agent[:MAX_AGENT_LENGTH],
                "request_id": request_id.get(),
                "details": details,
            }
        )

"""Records security events."""

from dataclasses import dataclass

from bson import ObjectId

from taskapi.audit.documents import MAX_AGENT_LENGTH, Kind, Outcome
from taskapi.audit.repository import SecurityEventRepository
from taskapi.core.logs import request_id


@dataclass(frozen=True, slots=True)
class AuditLog:
    """Records the security events of one caller, with their IP address and user agent."""

    events: SecurityEventRepository
    ip_address: str
    agent: str

    @property
    def client(self) -> dict[str, str]:
        """The caller's IP address and the start of their user agent, as they are stored."""
        return {"address": self.ip_address, "agent": self.agent[:MAX_AGENT_LENGTH]}

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
                **self.client,
                "request_id": request_id.get(),
                "details": details,
            }
        )

"""Creates, refreshes and ends sessions. A session is alive while its account lists it, so one write ends it."""

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bson import ObjectId

from taskapi.accounts.errors import InvalidGrant
from taskapi.accounts.security.scopes import OF_ROLE, Scopes, grant_scopes
from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.accounts.sessions.refresh import MAX_CHAIN_LENGTH, RefreshToken
from taskapi.accounts.sessions.repository import SessionRepository
from taskapi.accounts.sessions.schemas import SessionRead
from taskapi.accounts.users.repository import UserRepository, ids_in
from taskapi.accounts.users.schemas import Account
from taskapi.audit.recorder import AuditLog
from taskapi.core.clock import in_utc, utc_now
from taskapi.core.errors import NotFound
from taskapi.core.keys import Signer
from taskapi.db import damaged
from taskapi.db.connection import BSON

RETRY: Final = timedelta(seconds=10)  # how long a client that did not receive the successor may retry
CHAIN_BYTES = 32
MAX_SESSIONS = 100  # per account; another one ends the least recently seen

LookUp = Callable[[ObjectId], Awaitable[Account | None]]


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How long sessions live, and the key that signs the hashes of their refresh tokens."""

    idle: timedelta
    max_lifetime: timedelta
    signer: Signer

    def hashes(self, token: RefreshToken) -> tuple[bytes, ...]:
        """The hashes of ``token``, by the current key first."""
        return self.signer.signatures(b"refresh token", token.raw)

    def expiry(self, now: datetime, ends_at: datetime) -> datetime:
        """When a session ends that is not refreshed after ``now``."""
        return min(now + self.idle, ends_at)


@dataclass(frozen=True, slots=True)
class SessionGrant:
    """A session, its refresh token, and the scopes of its access token."""

    user: Account
    session: ObjectId
    scopes: Scopes
    refresh_token: str
    ends_at: datetime  # the session, at the latest


@dataclass(frozen=True, slots=True)
class SessionService:
    """Creates, refreshes and ends sessions. ``look_up`` finds the active account of a session."""

    sessions: SessionRepository
    users: UserRepository
    policy: SessionPolicy
    look_up: LookUp

    async def create(
        self, user: Account, password_hash: str, renewed: str | None, scopes: Scopes, audit_log: AuditLog
    ) -> SessionGrant | None:
        """Creates a session for ``user``, who has ``password_hash``; ``renewed`` replaces that hash.

        None when the account was disabled, or its password, role or second factor changed meanwhile.
        """
        now = utc_now()
        token = RefreshToken.first(ObjectId())
        ends_at = now + self.policy.max_lifetime
        session: BSON = {
            "_id": token.session,
            "user": user.object_id,
            "scopes": sorted(scopes),
            "token_hash": self.policy.hashes(token)[0],
            "generation": 0,
            "chain": secrets.token_bytes(CHAIN_BYTES),
            "rotations": [],
            **audit_log.client,
            "created_at": now,
            "last_seen_at": now,
            "ends_at": ends_at,
            "expires_at": self.policy.expiry(now, ends_at),
        }
        await self.sessions.add(session)
        added = await self.users.add_session(user, token.session, scopes, password_hash, renewed)
        if added is None:
            await self.sessions.remove(token.session)
            return None
        if added.cancelled_deletion:
            await audit_log.record("account_deletion_cancelled", user.object_id)
        if len(added.sessions) > MAX_SESSIONS:
            await self._make_room(user.object_id, added.sessions)
        return SessionGrant(user, token.session, scopes, str(token), ends_at)

    async def refresh(self, text: str, scope: str, audit_log: AuditLog) -> SessionGrant:
        """Rotates a refresh token (RFC 9700, section 4.14.2): the session continues with its successor.

        ``scope`` names the requested scopes.

        The client may repeat this within 10 s, and gets the same successor. Any other use of a used token ends the session:
        the token has been stolen.

        Raises:
            InvalidGrant: it is wrong, used or expired, or its session has ended.
            InvalidScope: the session has none of these scopes; the token stays valid.
        """
        token = RefreshToken.read(text)
        session = await self.sessions.find(token.session) if token else None
        user = await self.look_up(session["user"]) if session else None
        if token is None or user is None or token.session not in user.sessions:
            raise InvalidGrant
        while session and self._is_current(token, session):
            scopes = _grant(scope, session, user)
            successor = token.later(session["chain"])
            if await self._rotate(session, successor, audit_log):
                return SessionGrant(user, token.session, scopes, str(successor), in_utc(session["ends_at"]))
            session = await self.sessions.find(token.session)  # another request rotated it first
        if session and self._is_of(token, session):
            if _is_retry(token, session, audit_log):
                scopes, successor = _grant(scope, session, user), token.later(session["chain"])
                return SessionGrant(user, token.session, scopes, str(successor), in_utc(session["ends_at"]))
            await self._end_reused(session, audit_log)
        raise InvalidGrant

    async def revoke(self, text: str, audit_log: AuditLog) -> bool:
        """Ends the session of a refresh token, current or used (RFC 7009). False when no session has it."""
        token = RefreshToken.read(text)
        session = await self.sessions.find(token.session) if token else None
        if token is None or session is None or not self._is_of(token, session):
            return False
        with suppress(NotFound):  # it has already ended; a new password, for example, leaves the stored details behind
            await self.end(session["user"], token.session, audit_log)
        return True

    async def list_for_user(self, user: Account, current: ObjectId | None) -> list[SessionRead]:
        """The sessions of ``user``, last seen first."""
        found = await self.sessions.list_for_user(user.object_id, ids_in(user.sessions))
        listed = [{**session, "current": session["_id"] == current} for session in found]
        return damaged.read_all(SessionRead, listed, SessionDocument.Settings.name)

    async def export_for_user(self, user: Account) -> AsyncGenerator[str, None]:
        """The sessions of ``user``, each as JSON."""
        for session in await self.list_for_user(user, None):
            yield session.model_dump_json(exclude={"current"})

    async def end(self, user: ObjectId, session: ObjectId | None, audit_log: AuditLog) -> None:
        """Ends one session of ``user``.

        Raises:
            NotFound: the account has no such session.
        """
        if session is None or not await self.users.remove_sessions(user, [session]):
            raise NotFound("Session not found")
        await self.sessions.remove(session)
        await audit_log.record("session_ended", user, session=str(session))

    async def end_all(self, user: ObjectId, audit_log: AuditLog, *, by: ObjectId | None = None) -> None:
        """Ends every session of ``user``."""
        await self.users.remove_sessions(user, None)
        await self.sessions.delete_for_user(user)
        await audit_log.record("sessions_ended", user, by=by)

    async def _rotate(self, session: BSON, successor: RefreshToken, audit_log: AuditLog) -> bool:
        now, client = utc_now(), audit_log.client
        values = {
            "token_hash": self.policy.hashes(successor)[0],
            "generation": successor.generation,
            **client,
            "last_seen_at": now,
            "expires_at": self.policy.expiry(now, in_utc(session["ends_at"])),
        }
        return await self.sessions.rotate(session, values, {"at": now, **client})

    def _is_current(self, token: RefreshToken, session: BSON) -> bool:
        return token.generation == session["generation"] and session["token_hash"] in self.policy.hashes(token)

    def _is_of(self, token: RefreshToken, session: BSON) -> bool:
        """Whether ``token`` is the current one of ``session``, or was."""
        steps = session["generation"] - token.generation
        return 0 <= steps <= MAX_CHAIN_LENGTH and self._is_current(token.later(session["chain"], steps), session)

    async def _end_reused(self, session: BSON, audit_log: AuditLog) -> None:
        """Ends a session whose used refresh token was used again."""
        if await self.users.remove_sessions(session["user"], [session["_id"]]):
            await self.sessions.remove(session["_id"])
            await audit_log.record("refresh_token_reused", session["user"], outcome="failure", session=str(session["_id"]))

    async def _make_room(self, user: ObjectId, listed: list[ObjectId]) -> None:
        """Ends those of the ``listed`` sessions that have expired or are the least recently seen."""
        newest = await self.sessions.find_last_seen(listed, MAX_SESSIONS)
        superfluous = [session for session in listed if session not in newest]
        await self.users.remove_sessions(user, superfluous)
        await self.sessions.remove_many(superfluous)


def _grant(scope: str, session: BSON, user: Account) -> Scopes:
    return grant_scopes(scope, frozenset(session["scopes"]) & OF_ROLE[user.role])


def _is_retry(token: RefreshToken, session: BSON, audit_log: AuditLog) -> bool:
    steps = session["generation"] - token.generation
    if steps > len(session["rotations"]):
        return False
    rotation = session["rotations"][-steps]
    return utc_now() - in_utc(rotation.pop("at")) <= RETRY and rotation == audit_log.client

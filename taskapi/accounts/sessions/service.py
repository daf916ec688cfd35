"""What can be done with sessions. One lives as long as its account lists it: ending it is one write to the account."""

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bson import ObjectId

from taskapi.accounts.errors import InvalidGrant
from taskapi.accounts.security.scopes import OF_ROLE, Scopes, granted
from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.accounts.sessions.refresh import MAX_CHAIN_LENGTH, RefreshToken
from taskapi.accounts.sessions.schemas import SessionRead
from taskapi.accounts.users import service as users
from taskapi.accounts.users.repository import ids_in
from taskapi.accounts.users.schemas import Account
from taskapi.audit.recorder import MAX_AGENT_LENGTH, AuditLog
from taskapi.core.clock import in_utc, utc_now
from taskapi.core.errors import NotFound
from taskapi.core.keys import Signer
from taskapi.db import damaged
from taskapi.db.batches import delete_all
from taskapi.db.connection import BSON, collection

RETRY: Final = timedelta(seconds=10)  # how long a client may ask again for a successor that did not reach it
ROTATIONS_KEPT = 10  # that is how many a client may fall behind within that time
CHAIN_BYTES = 32
MAX_SESSIONS = 100  # of one account; those last seen longest ago make room

LookUp = Callable[[ObjectId], Awaitable[Account | None]]


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How long sessions live, and what signs the hashes of their refresh tokens."""

    idle: timedelta
    longest: timedelta
    signer: Signer

    def hashes(self, token: RefreshToken) -> tuple[bytes, ...]:
        """The hashes of ``token``, by the current key first."""
        return self.signer.signatures(b"refresh token", token.raw)

    def expiry(self, now: datetime, ends_at: datetime) -> datetime:
        """When a session ends that is not refreshed after ``now``."""
        return min(now + self.idle, ends_at)


@dataclass(frozen=True, slots=True)
class SessionGrant:
    """A session, the refresh token that carries it on, and what the access token beside it may be used for."""

    user: Account
    session: ObjectId
    scopes: Scopes
    refresh_token: str
    ends_at: datetime  # the session, at the latest


async def create_session(
    user: Account, password_hash: str, renewed: str | None, scopes: Scopes, audit_log: AuditLog, policy: SessionPolicy
) -> SessionGrant | None:
    """Creates a session for ``user``, who has ``password_hash``; ``renewed`` replaces that hash.

    None when the account was disabled, or its password, role or second factor changed meanwhile.
    """
    now = utc_now()
    token = RefreshToken.first(ObjectId())
    ends_at = now + policy.longest
    session: BSON = {
        "_id": token.session,
        "user": user.object_id,
        "scopes": sorted(scopes),
        "token_hash": policy.hashes(token)[0],
        "generation": 0,
        "chain": secrets.token_bytes(CHAIN_BYTES),
        "rotations": [],
        **_client(audit_log),
        "created_at": now,
        "last_seen_at": now,
        "ends_at": ends_at,
        "expires_at": policy.expiry(now, ends_at),
    }
    await collection(SessionDocument).insert_one(session)
    admission = await users.add_session(user, token.session, scopes, password_hash, renewed)
    if admission is None:
        await collection(SessionDocument).delete_one({"_id": token.session})
        return None
    if admission.cancelled_deletion:
        await audit_log.record("account_deletion_cancelled", user.object_id)
    if len(admission.sessions) > MAX_SESSIONS:
        await _make_room(user.object_id, admission.sessions)
    return SessionGrant(user, token.session, scopes, str(token), ends_at)


async def refresh(text: str, scope: str, look_up: LookUp, audit_log: AuditLog, policy: SessionPolicy) -> SessionGrant:
    """Rotates a refresh token (RFC 9700, section 4.14.2): the session goes on with another. ``scope`` says what is wanted.

    The client that did so may ask again within 10 s, and gets the same successor. Any other use of a spent token ends
    the session, for one of those who hold its tokens has stolen them.

    Raises:
        InvalidGrant: it is wrong, spent or expired, or its session has ended.
        InvalidScope: the session has none of these scopes; the token is not spent.
    """
    token = RefreshToken.read(text)
    session = await _find(token.session) if token else None
    user = await look_up(session["user"]) if session else None
    if token is None or user is None or token.session not in user.sessions:
        raise InvalidGrant
    while session and _is_current(token, session, policy):
        scopes = _granted(scope, session, user)
        successor = token.later(session["chain"])
        if await _rotate(session, successor, audit_log, policy):
            return SessionGrant(user, token.session, scopes, str(successor), in_utc(session["ends_at"]))
        session = await _find(token.session)  # another request was quicker
    if session and _is_of(token, session, policy):
        if _is_retry(token, session, audit_log):
            scopes, successor = _granted(scope, session, user), token.later(session["chain"])
            return SessionGrant(user, token.session, scopes, str(successor), in_utc(session["ends_at"]))
        await _stop(session, audit_log)
    raise InvalidGrant


async def revoke(text: str, audit_log: AuditLog, policy: SessionPolicy) -> bool:
    """Ends the session of a refresh token, current or spent (RFC 7009). False when it belongs to none."""
    token = RefreshToken.read(text)
    session = await _find(token.session) if token else None
    if token is None or session is None or not _is_of(token, session, policy):
        return False
    with suppress(NotFound):  # it has ended: a new password, say, leaves the details of the others behind
        await end(session["user"], token.session, audit_log)
    return True


async def of(user: Account, current: ObjectId | None) -> list[SessionRead]:
    """The sessions of ``user``, last seen first."""
    live = {"_id": {"$in": ids_in(user.sessions)}, "user": user.object_id, "expires_at": {"$gt": utc_now()}}
    found = collection(SessionDocument).find(live, sort=[("last_seen_at", -1), ("_id", -1)])
    listed = [{**session, "current": session["_id"] == current} async for session in found]
    return damaged.read_all(SessionRead, listed, SessionDocument.Settings.name)


async def end(user: ObjectId, session: ObjectId | None, audit_log: AuditLog) -> None:
    """Ends one session of ``user``.

    Raises:
        NotFound: they have no such session.
    """
    if session is None or not await users.remove_sessions(user, [session]):
        raise NotFound("Session not found")
    await collection(SessionDocument).delete_one({"_id": session})
    await audit_log.record("session_ended", user, session=str(session))


async def end_all(user: ObjectId, audit_log: AuditLog, *, by: ObjectId | None = None) -> None:
    """Ends every session of ``user``."""
    await users.remove_sessions(user, None)
    await delete_for_user(user)
    await audit_log.record("sessions_ended", user, by=by)


async def export_sessions(user: Account) -> AsyncGenerator[str, None]:
    """The sessions of ``user``, each as JSON."""
    for session in await of(user, None):
        yield session.model_dump_json(exclude={"current"})


async def delete_for_user(user: ObjectId) -> None:
    """Deletes the details of all sessions of ``user``."""
    await delete_all(collection(SessionDocument), {"user": user})


async def touch_session(session: ObjectId) -> None:
    """Notes that ``session`` was used now."""
    await collection(SessionDocument).update_one({"_id": session}, {"$set": {"last_seen_at": utc_now()}})


def _granted(scope: str, session: BSON, user: Account) -> Scopes:
    return granted(scope, frozenset(session["scopes"]) & OF_ROLE[user.role])


async def _find(session: ObjectId) -> BSON | None:
    return await collection(SessionDocument).find_one({"_id": session, "expires_at": {"$gt": utc_now()}})


async def _rotate(session: BSON, successor: RefreshToken, audit_log: AuditLog, policy: SessionPolicy) -> bool:
    now, client = utc_now(), _client(audit_log)
    changes = {
        "token_hash": policy.hashes(successor)[0],
        "generation": successor.generation,
        **client,
        "last_seen_at": now,
        "expires_at": policy.expiry(now, in_utc(session["ends_at"])),
    }
    rotation = {"$each": [{"at": now, **client}], "$slice": -ROTATIONS_KEPT}
    written = await collection(SessionDocument).update_one(
        {"_id": session["_id"], "token_hash": session["token_hash"]}, {"$set": changes, "$push": {"rotations": rotation}}
    )
    return written.modified_count == 1


def _is_current(token: RefreshToken, session: BSON, policy: SessionPolicy) -> bool:
    return token.generation == session["generation"] and session["token_hash"] in policy.hashes(token)


def _is_of(token: RefreshToken, session: BSON, policy: SessionPolicy) -> bool:
    """Whether ``token`` is the current one of ``session``, or was."""
    steps = session["generation"] - token.generation
    return 0 <= steps <= MAX_CHAIN_LENGTH and _is_current(token.later(session["chain"], steps), session, policy)


def _is_retry(token: RefreshToken, session: BSON, audit_log: AuditLog) -> bool:
    steps = session["generation"] - token.generation
    if steps > len(session["rotations"]):
        return False
    rotation = session["rotations"][-steps]
    return utc_now() - in_utc(rotation.pop("at")) <= RETRY and rotation == _client(audit_log)


async def _stop(session: BSON, audit_log: AuditLog) -> None:
    """Ends a session one of whose spent tokens came back."""
    if await users.remove_sessions(session["user"], [session["_id"]]):
        await collection(SessionDocument).delete_one({"_id": session["_id"]})
        await audit_log.record("refresh_token_reused", session["user"], outcome="failure", session=str(session["_id"]))


async def _make_room(user: ObjectId, listed: list[ObjectId]) -> None:
    """Ends those of the sessions ``listed`` that were seen longest ago, or have expired."""
    found = collection(SessionDocument).find({"_id": {"$in": listed}}, {"_id": 1}, sort=[("last_seen_at", -1), ("_id", -1)])
    newest = [session["_id"] async for session in found][:MAX_SESSIONS]
    superfluous = [session for session in listed if session not in newest]
    await users.remove_sessions(user, superfluous)
    await collection(SessionDocument).delete_many({"_id": {"$in": superfluous}})


def _client(audit_log: AuditLog) -> dict[str, str]:
    return {"address": audit_log.address, "agent": audit_log.agent[:MAX_AGENT_LENGTH]}

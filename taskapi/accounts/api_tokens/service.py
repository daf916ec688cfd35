"""What can be done with API tokens, and what one is worth."""

from collections.abc import AsyncGenerator
from collections.abc import Collection as Keys
from dataclasses import dataclass
from datetime import timedelta

from bson import ObjectId

from taskapi.accounts.api_tokens import repository as api_tokens
from taskapi.accounts.api_tokens.schemas import MAX_DAYS, ApiTokenCreate, ApiTokenMade, ApiTokenRead
from taskapi.accounts.api_tokens.text import hash_of, new_token
from taskapi.accounts.errors import InvalidScope, TokenNameTaken, TooManyTokens
from taskapi.accounts.security.scopes import OF_ROLE, Scopes
from taskapi.accounts.users.schemas import Account, UserRead
from taskapi.audit.recorder import AuditLog, Kind
from taskapi.core.clock import in_utc, utc_now
from taskapi.core.errors import InvalidToken, NotFound
from taskapi.core.unicode import caseless, spellings
from taskapi.db import damaged
from taskapi.db.connection import BSON

SOURCE = "users"  # whose documents hold the tokens


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """Whose a token is, and what it may be used for."""

    user: Account
    scopes: Scopes


async def holders(hashes: Keys[bytes]) -> dict[bytes, TokenOwner]:
    """What those of the tokens, given by their hashes, are worth that are good: not expired, of an active account."""
    now, good = utc_now(), {}
    for hashed, (user, token) in (await api_tokens.holders(hashes)).items():
        try:
            if in_utc(token["expires_at"]) > now:
                good[hashed] = TokenOwner(user, OF_ROLE[user.role].intersection(token["scopes"]))
        except (KeyError, TypeError, AttributeError):  # it is damaged, and so worth nothing; the others are not
            damaged.note(SOURCE, user.id, ["api_tokens"])
    return good


async def make(user: UserRead, session: ObjectId, held: Scopes, data: ApiTokenCreate, audit_log: AuditLog) -> ApiTokenMade:
    """Makes a token for ``user``, who holds the scopes ``held`` in ``session``.

    Raises:
        InvalidScope: they do not hold all of the scopes themselves.
        TooManyTokens, TokenNameTaken: decided by the write itself, so also when two callers race.
        InvalidToken: the session ended, or the account was disabled or deleted meanwhile.
    """
    _require(data.scopes, held)
    now, text = utc_now(), new_token()
    token: BSON = {
        "id": ObjectId(),
        "name": data.name,
        "name_key": caseless(data.name),
        "hash": hash_of(text),
        "scopes": sorted(set(data.scopes)),
        "days": data.expires_in_days,
        "created_at": now,
        "expires_at": now + timedelta(days=data.expires_in_days),
        "last_used_at": None,
    }
    while not await api_tokens.add(user.object_id, session, token):
        others = await _of(user, session)
        if len(others) >= api_tokens.MOST:
            raise TooManyTokens
        if any(other.get("name_key") in spellings(token["name_key"]) for other in others):
            raise TokenNameTaken
    await _record("token_created", user.object_id, token, audit_log)
    return ApiTokenMade.model_validate({**token, "token": text})


async def all_of(user: UserRead) -> list[ApiTokenRead]:
    """The tokens of ``user``, those that have expired too, the newest first."""
    return [damaged.read(ApiTokenRead, {**token, **_place(user.object_id)}, SOURCE) for token in reversed(await _of(user))]


async def export_api_tokens(user: Account) -> AsyncGenerator[str, None]:
    """The tokens of ``user`` without their secrets, each as JSON."""
    for token in await all_of(user):
        yield token.model_dump_json()


async def rotate(user: UserRead, session: ObjectId, held: Scopes, token_id: ObjectId | None, audit_log: AuditLog) -> ApiTokenMade:
    """Gives a token of ``user``, who holds the scopes ``held`` in ``session``, a new secret, good for as long as the first was.

    Raises:
        NotFound: they have no such token.
        InvalidScope: it can do what they cannot.
        InvalidToken: the session ended, or the account was disabled or deleted meanwhile.
    """
    token = next((token for token in await _of(user, session) if token.get("id") == token_id), None)
    if token is None or token_id is None:
        raise NotFound("Token not found")
    token = _sound(token, user.object_id)
    _require(token["scopes"], held)
    text = new_token()
    changes = {
        "hash": hash_of(text),
        "expires_at": utc_now() + timedelta(days=max(1, min(damaged.integer(token.get("days")), MAX_DAYS))),
        "last_used_at": None,
    }
    if not await api_tokens.change(user.object_id, session, token_id, changes):
        raise NotFound("Token not found")
    await _record("token_rotated", user.object_id, token, audit_log)
    return ApiTokenMade.model_validate({**token, **changes, "token": text})


async def revoke(user: UserRead, token_id: ObjectId | None, audit_log: AuditLog) -> None:
    """Removes a token of ``user``.

    Raises:
        NotFound: they have no such token.
    """
    removed = await api_tokens.remove({"id": token_id}, {"_id": user.object_id}) if token_id else None
    if removed is None:
        raise NotFound("Token not found")
    await _record("token_revoked", *removed, audit_log)


async def give_back(text: str, audit_log: AuditLog) -> bool:
    """Removes the token that ``text`` is (RFC 7009). False when it is none."""
    hashed = hash_of(text)
    removed = await api_tokens.remove({"hash": hashed}, {}) if hashed else None
    if removed is None:
        return False
    await _record("token_revoked", *removed, audit_log)
    return True


async def _of(user: UserRead, session: ObjectId | None = None) -> list[BSON]:
    found = await api_tokens.of(user.object_id, session)
    if found is None:
        raise InvalidToken
    return found


def _require(asked: Keys[str], held: Scopes) -> None:
    """A credential never makes one that can do more than itself."""
    if missing := sorted(set(asked) - held):
        raise InvalidScope(f"Your session does not have these scopes: {', '.join(missing)}.")


async def _record(kind: Kind, user: ObjectId, token: BSON, audit_log: AuditLog) -> None:
    token = _sound(token, user)
    await audit_log.record(kind, user, name=token["name"], scopes=" ".join(token["scopes"]))


def _sound(token: BSON, user: ObjectId) -> BSON:
    return damaged.sound(ApiTokenRead, {**token, **_place(user)}, SOURCE)


def _place(user: ObjectId) -> BSON:
    return {"_id": user}  # which document the log names

"""Creates, lists, rotates and revokes API tokens, and finds the account behind one."""

from collections.abc import AsyncGenerator
from collections.abc import Collection as Keys
from dataclasses import dataclass
from datetime import timedelta

from bson import ObjectId

from taskapi.accounts.api_tokens.repository import ApiTokenRepository
from taskapi.accounts.api_tokens.schemas import ApiTokenCreate, ApiTokenMade, ApiTokenRead
from taskapi.accounts.api_tokens.text import hash_of, new_token
from taskapi.accounts.errors import InvalidScope, TokenNameTaken, TooManyTokens
from taskapi.accounts.security.scopes import OF_ROLE, Scopes
from taskapi.accounts.users.documents import MAX_TOKEN_DAYS, MAX_TOKENS, SOURCE
from taskapi.accounts.users.schemas import Account, UserRead
from taskapi.audit.documents import Kind
from taskapi.audit.recorder import AuditLog
from taskapi.core.clock import in_utc, utc_now
from taskapi.core.errors import InvalidToken, NotFound
from taskapi.core.unicode import caseless, spellings
from taskapi.db import damaged
from taskapi.db.connection import BSON


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """The account of a token, and the token's scopes."""

    user: Account
    scopes: Scopes


@dataclass(frozen=True, slots=True)
class ApiTokenService:
    """Creates, lists, rotates and revokes API tokens, and finds their owners."""

    tokens: ApiTokenRepository

    async def find_owners(self, hashes: Keys[bytes]) -> dict[bytes, TokenOwner]:
        """The owners of the tokens with these hashes; without expired tokens and accounts that are not active."""
        now, owners = utc_now(), {}
        for hashed, (user, token) in (await self.tokens.find_with_owners(hashes)).items():
            try:
                if in_utc(token["expires_at"]) > now:
                    owners[hashed] = TokenOwner(user, OF_ROLE[user.role].intersection(token["scopes"]))
            except (KeyError, TypeError, AttributeError):  # only this damaged token is refused
                damaged.note(SOURCE, user.id, ["api_tokens"])
        return owners

    async def create(
        self, user: UserRead, session_id: ObjectId, held: Scopes, data: ApiTokenCreate, audit_log: AuditLog
    ) -> ApiTokenMade:
        """Creates a token for ``user``, whose session has the scopes ``held``.

        Raises:
            InvalidScope: the session does not have all of the scopes.
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
        while not await self.tokens.add(user.object_id, session_id, token):
            others = await self._list(user, session_id)
            if len(others) >= MAX_TOKENS:
                raise TooManyTokens
            if any(other.get("name_key") in spellings(token["name_key"]) for other in others):
                raise TokenNameTaken
        await _record("token_created", user.object_id, token, audit_log)
        return ApiTokenMade.model_validate({**token, "token": text})

    async def list_for_user(self, user: UserRead) -> list[ApiTokenRead]:
        """The tokens of ``user``, newest first, including those that have expired."""
        tokens = await self._list(user)
        return [damaged.read(ApiTokenRead, {**token, **_place(user.object_id)}, SOURCE) for token in reversed(tokens)]

    async def export(self, user: Account) -> AsyncGenerator[str, None]:
        """The tokens of ``user`` without their secrets, each as JSON."""
        for token in await self.list_for_user(user):
            yield token.model_dump_json()

    async def rotate(
        self, user: UserRead, session_id: ObjectId, held: Scopes, token_id: ObjectId | None, audit_log: AuditLog
    ) -> ApiTokenMade:
        """Replaces the secret of a token of ``user``, whose session has the scopes ``held``.

        The new secret is valid for as many days as the first.

        Raises:
            NotFound: the account has no such token.
            InvalidScope: the token has a scope that the session does not have.
            InvalidToken: the session ended, or the account was disabled or deleted meanwhile.
        """
        token = next((token for token in await self._list(user, session_id) if token.get("id") == token_id), None)
        if token is None or token_id is None:
            raise NotFound("Token not found")
        token = _sound(token, user.object_id)
        _require(token["scopes"], held)
        text = new_token()
        changes = {
            "hash": hash_of(text),
            "expires_at": utc_now() + timedelta(days=max(1, min(damaged.integer(token.get("days")), MAX_TOKEN_DAYS))),
            "last_used_at": None,
        }
        if not await self.tokens.change(user.object_id, session_id, token_id, changes):
            raise NotFound("Token not found")
        await _record("token_rotated", user.object_id, token, audit_log)
        return ApiTokenMade.model_validate({**token, **changes, "token": text})

    async def revoke(self, user: UserRead, token_id: ObjectId | None, audit_log: AuditLog) -> None:
        """Removes a token of ``user``.

        Raises:
            NotFound: the account has no such token.
        """
        removed = await self.tokens.remove(user.object_id, token_id) if token_id else None
        if removed is None:
            raise NotFound("Token not found")
        await _record("token_revoked", user.object_id, removed, audit_log)

    async def revoke_text(self, text: str, audit_log: AuditLog) -> bool:
        """Removes the token ``text`` (RFC 7009). False when there is no such token."""
        hashed = hash_of(text)
        removed = await self.tokens.remove_by_hash(hashed) if hashed else None
        if removed is None:
            return False
        await _record("token_revoked", *removed, audit_log)
        return True

    async def _list(self, user: UserRead, session_id: ObjectId | None = None) -> list[BSON]:
        found = await self.tokens.list_for_user(user.object_id, session_id)
        if found is None:
            raise InvalidToken
        return found


def _require(asked: Keys[str], held: Scopes) -> None:
    """Prevents a credential from creating one with more scopes than its own."""
    if missing := sorted(set(asked) - held):
        raise InvalidScope(f"Your session does not have these scopes: {', '.join(missing)}.")


async def _record(kind: Kind, user_id: ObjectId, token: BSON, audit_log: AuditLog) -> None:
    token = _sound(token, user_id)
    await audit_log.record(kind, user_id, name=token["name"], scopes=" ".join(token["scopes"]))


def _sound(token: BSON, user_id: ObjectId) -> BSON:
    return damaged.sound(ApiTokenRead, {**token, **_place(user_id)}, SOURCE)


def _place(user_id: ObjectId) -> BSON:
    return {"_id": user_id}  # which document the log names

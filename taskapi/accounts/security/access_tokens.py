"""Password hashes and access tokens. No framework and no settings here: ``accounts.wiring`` passes in what they need."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import TypeVar

from bson import ObjectId
from jose import JWTError, jwk, jwt
from passlib.context import CryptContext

from taskapi.accounts.errors import Overloaded
from taskapi.accounts.security.password_policy import candidates
from taskapi.core.clock import utc_now
from taskapi.core.errors import InvalidToken
from taskapi.core.fields import object_id
from taskapi.core.keys import SigningKey, decode_base64url

Result = TypeVar("Result")

ALGORITHM = "HS256"
ISSUER = AUDIENCE = "taskapi"
ACCESS = "access"
MAX_TOKEN_LENGTH = 2048  # characters; real tokens have about 450
REMEMBERED_TOKENS = 4096
REMEMBERED_SCOPES = 256  # combinations
BCRYPT_BYTES = 72
CLOCK_SKEW_SECONDS = 60  # between the servers that sign and those that read
REQUIRED_CLAIMS = ("sub", "iat", "exp", "iss", "aud", "jti")


class PasswordHasher:
    """Argon2id (bcrypt is still verified), in its own threads, a bounded number at a time."""

    def __init__(self, *, memory_kib: int, rounds: int, workers: int, queue: int) -> None:
        self._context = CryptContext(
            schemes=["argon2", "bcrypt"],
            deprecated=["bcrypt"],
            argon2__type="ID",
            argon2__memory_cost=memory_kib,
            argon2__rounds=rounds,
            argon2__parallelism=1,
        )
        self._threads = ThreadPoolExecutor(workers, "password")
        self._room = workers + queue
        self._unknown = self._context.hash(secrets.token_hex(16))

    def close(self) -> None:
        """Ends the threads; hashes under way are finished first."""
        self._threads.shutdown()

    async def hash(self, password: str) -> str:
        """A new hash of a prepared ``password``. Raises Overloaded when too many wait."""
        return await self._run(self._context.hash, password)

    async def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Whether ``password``, as it was typed, matches ``stored``, and a new hash when the stored one should be replaced.

        ``stored=None`` (no such user) takes the time of a real check and never matches. Raises Overloaded.
        """
        matches, renewed = await self._run(self._check, password, stored or self._unknown)
        return (matches, renewed) if stored else (False, None)

    def _check(self, typed: str, stored: str) -> tuple[bool, str | None]:
        prepared, *others = candidates(typed)
        for password in (prepared, *others):
            # bcrypt reads 72 bytes; longer passwords were cut when such hashes were made, and are cut here as well.
            secret = password.encode()[:BCRYPT_BYTES] if stored.startswith("$2") else password
            try:
                matches = self._context.verify(secret, stored)
            except ValueError:  # ``stored`` is damaged
                return False, None
            if matches:
                is_old = password != prepared or self._context.needs_update(stored)
                return True, self._context.hash(prepared) if is_old else None
        return False, None

    async def _run(self, work: Callable[..., Result], *arguments: str) -> Result:
        if self._room <= 0:
            raise Overloaded
        self._room -= 1
        job = asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        job.add_done_callback(lambda _: self._give_back())
        return await asyncio.shield(job)  # a caller that disconnects does not free the thread

    def _give_back(self) -> None:
        self._room += 1


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of an access token: the ids of its account and session, its scopes, and its expiry in seconds since 1970."""

    user: ObjectId
    session: ObjectId
    scopes: frozenset[str]
    expiry: int


@lru_cache(REMEMBERED_SCOPES)
def _scopes_of(text: str) -> frozenset[str]:
    """Tokens with the same scopes share them: thousands of tokens are remembered."""
    return frozenset(text.split())


class TokenCodec:
    """Creates and reads access tokens: JWT (RFC 7519) signed with HMAC-SHA-256. The first key signs, all of them verify.

    ``lifetime`` is how long a token is valid, unless its session ends earlier.
    """

    def __init__(self, keys: Sequence[SigningKey], *, lifetime: timedelta) -> None:
        self._kid = keys[0].kid
        self._keys = {key.kid: jwk.construct(key.secret, ALGORITHM) for key in keys}
        self.lifetime = lifetime
        # By the hashes of tokens. A valid signature stays valid, so only the expiry is checked again.
        self._verified: dict[bytes, Claims] = {}

    def encode(self, subject: str, session: str, scopes: Collection[str], lifetime: timedelta) -> str:
        """A new token for the user ``subject`` in ``session``, with ``scopes``, valid for ``lifetime``."""
        now = utc_now()
        claims = {
            "sub": subject,
            "sid": session,
            "scope": " ".join(sorted(scopes)),
            "iat": int(now.timestamp()),
            "exp": int((now + lifetime).timestamp()),
            "iss": ISSUER,
            "aud": AUDIENCE,
            "jti": secrets.token_hex(16),
            "typ": ACCESS,
        }
        return jwt.encode(claims, self._keys[self._kid], ALGORITHM, headers={"kid": self._kid})

    def read(self, token: str) -> Claims:
        """The claims of a valid access token.

        Raises:
            InvalidToken: the signature, the algorithm or any claim is wrong, or the token has expired.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise InvalidToken
        hashed = blake2b(token.encode(errors="surrogatepass"), digest_size=32).digest()  # a token is a secret, and long
        claims = self._verified.get(hashed)
        if claims is None:
            claims = self._decode(token)
            if len(self._verified) == REMEMBERED_TOKENS:
                del self._verified[next(iter(self._verified))]  # the oldest
            self._verified[hashed] = claims
        if claims.expiry <= utc_now().timestamp():
            raise InvalidToken
        return claims

    def _decode(self, token: str) -> Claims:
        required = {f"require_{claim}": True for claim in REQUIRED_CLAIMS}
        if any(decode_base64url(part) is None for part in token.split(".")):  # the library accepts non-canonical encodings
            raise InvalidToken
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(token, key, [ALGORITHM], options=required, audience=AUDIENCE, issuer=ISSUER)
        except (JWTError, KeyError, ValueError, TypeError, AttributeError, RecursionError):
            raise InvalidToken from None
        if claims.get("typ") != ACCESS or not (isinstance(claims["exp"], int) and isinstance(claims["iat"], int)):
            raise InvalidToken
        if claims["iat"] > utc_now().timestamp() + CLOCK_SKEW_SECONDS:
            raise InvalidToken
        user, session, scope = object_id(claims["sub"]), object_id(claims.get("sid")), claims.get("scope")
        if user is None or session is None or not isinstance(scope, str):
            raise InvalidToken
        return Claims(user, session, _scopes_of(scope), claims["exp"])

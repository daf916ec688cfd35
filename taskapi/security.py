"""Password hashes, access tokens and signatures. No framework and no settings here: they are made in main and passed in."""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TypeVar

from jose import JWTError, jwk, jwt
from passlib.context import CryptContext

from taskapi.clock import utc_now
from taskapi.errors import InvalidToken, Overloaded

Result = TypeVar("Result")

ALGORITHM = "HS256"
ISSUER = AUDIENCE = "taskapi"
ACCESS = "access"
LONGEST_TOKEN = 2048  # characters; ours have about 350
REMEMBERED_TOKENS = 4096
BCRYPT_BYTES = 72
SIGNATURE_BYTES = 16
CLOCK_SKEW_SECONDS = 60  # between the servers that sign and those that read
REQUIRED_CLAIMS = ("sub", "iat", "exp", "iss", "aud", "jti")


def derived_key(secret: str, purpose: str) -> bytes:
    """A key for ``purpose`` alone, made from the one secret. No text that is signed with the secret itself is a purpose."""
    return hmac.digest(secret.encode(), purpose.encode(), "sha256")


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
        self._nobody = self._context.hash(secrets.token_hex(16))

    def close(self) -> None:
        """Ends the threads; hashes under way are finished first."""
        self._threads.shutdown()

    async def hash(self, password: str) -> str:
        """A new hash of ``password``. Raises Overloaded when too many wait."""
        return await self._run(self._context.hash, password)

    async def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Whether ``password`` matches ``stored``, and a new hash when the stored one should be replaced.

        ``stored=None`` (no such user) takes the time of a real check and never matches. Raises Overloaded.
        """
        matches, renewed = await self._run(self._check, password, stored or self._nobody)
        return (matches, renewed) if stored else (False, None)

    def _check(self, password: str, stored: str) -> tuple[bool, str | None]:
        # bcrypt reads 72 bytes; longer passwords were cut when such hashes were made, and are cut here as well.
        secret = password.encode()[:BCRYPT_BYTES] if stored.startswith("$2") else password
        if not self._context.verify(secret, stored):
            return False, None
        return True, self._context.hash(password) if self._context.needs_update(stored) else None

    async def _run(self, work: Callable[..., Result], *arguments: str) -> Result:
        if self._room <= 0:
            raise Overloaded
        self._room -= 1
        job = asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        job.add_done_callback(lambda _: self._give_back())
        return await job

    def _give_back(self) -> None:
        self._room += 1


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed token and its lifetime in seconds."""

    text: str
    expires_in: int


class TokenCodec:
    """Makes and reads access tokens: JWT (RFC 7519) signed with HMAC-SHA-256."""

    def __init__(self, secret: str, *, lifetime: timedelta) -> None:
        self._key = jwk.construct(secret, ALGORITHM)
        self._lifetime = lifetime
        # A signature that was right stays right: only the expiry has to be looked at again.
        self._verified = lru_cache(REMEMBERED_TOKENS)(self._decode)

    def encode(self, subject: str) -> AccessToken:
        """A new token for ``subject``, the user's id."""
        now = utc_now()
        claims = {
            "sub": subject,
            "iat": int(now.timestamp()),
            "exp": int((now + self._lifetime).timestamp()),
            "iss": ISSUER,
            "aud": AUDIENCE,
            "jti": secrets.token_hex(16),
            "typ": ACCESS,
        }
        return AccessToken(jwt.encode(claims, self._key, ALGORITHM), int(self._lifetime.total_seconds()))

    def subject(self, token: str) -> str:
        """The user's id in a valid access token.

        Raises:
            InvalidToken: the signature, the algorithm or any claim is wrong, or the token has expired.
        """
        if len(token) > LONGEST_TOKEN:
            raise InvalidToken
        subject, expiry = self._verified(token)
        if expiry <= utc_now().timestamp():
            raise InvalidToken
        return subject

    def _decode(self, token: str) -> tuple[str, int]:
        required = {f"require_{claim}": True for claim in REQUIRED_CLAIMS}
        try:
            claims = jwt.decode(token, self._key, [ALGORITHM], options=required, audience=AUDIENCE, issuer=ISSUER)
        except (JWTError, ValueError, TypeError, AttributeError, RecursionError):
            raise InvalidToken from None
        if claims.get("typ") != ACCESS or not (isinstance(claims["exp"], int) and isinstance(claims["iat"], int)):
            raise InvalidToken
        if claims["iat"] > utc_now().timestamp() + CLOCK_SKEW_SECONDS:
            raise InvalidToken
        return claims["sub"], claims["exp"]


class Signer:
    """Signs what callers keep for us: keyed BLAKE2b (RFC 7693) of 16 bytes, with a key for this alone.

    HMAC from OpenSSL gives the interpreter up for each signature, and gets it back only behind every thread of the driver.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, context: bytes, message: bytes) -> bytes:
        """The signature of ``message`` within ``context``, which has to be known again to verify it."""
        framed = len(context).to_bytes(8, "big") + context + message
        return hashlib.blake2b(framed, key=self._key, digest_size=SIGNATURE_BYTES).digest()

    def verify(self, signature: bytes, context: bytes, message: bytes) -> bool:
        """Whether ``signature`` is that of ``message`` within ``context``."""
        return hmac.compare_digest(signature, self.sign(context, message))

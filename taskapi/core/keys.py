"""Keys derived from the service's secrets: the first secret signs and encrypts, all of them verify and decrypt.

Each purpose has its own keys, so a signature for one purpose is not valid for another.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

SIGNATURE_BYTES = 16
KEY_ID_CHARACTERS = 8
FINGERPRINT_CHARACTERS = 32


def encode_base64url(data: bytes) -> str:
    """``data`` in base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_base64url(text: str) -> bytes | None:
    """``text`` decoded from base64url; None unless it is exactly what ``encode_base64url`` produces."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    # Python's decoder skips foreign characters, and the last letter has bits to spare.
    return data if encode_base64url(data) == text else None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret that signs tokens, and the public name that a token carries for it (``kid``, RFC 7515, section 4.1.4)."""

    kid: str
    secret: str


class Keyring:
    """The secrets of the service, the current one first."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(secrets)

    def signing_keys(self) -> tuple[SigningKey, ...]:
        """The keys of access tokens, which are the secrets themselves."""
        names = (hmac.digest(secret.encode(), b"key id", "sha256").hex()[:KEY_ID_CHARACTERS] for secret in self._secrets)
        return tuple(SigningKey(kid, secret) for kid, secret in zip(names, self._secrets, strict=True))

    def fingerprints(self) -> tuple[str, ...]:
        """An identifier of each secret that reveals nothing about it."""
        return tuple(key.hex()[:FINGERPRINT_CHARACTERS] for key in self.derived("fingerprint of the secret"))

    def derived(self, purpose: str) -> tuple[bytes, ...]:
        """The keys for ``purpose``. A purpose must not be a text that is signed with a secret itself."""
        return tuple(hmac.digest(secret.encode(), purpose.encode(), "sha256") for secret in self._secrets)

    def signer(self, purpose: str) -> "Signer":
        """Signs for ``purpose``."""
        return Signer(self.derived(purpose))

    def cipher(self, purpose: str) -> "Cipher":
        """Encrypts for ``purpose``."""
        return Cipher(self.derived(purpose))


class Signer:
    """Signs data that callers keep for us: keyed BLAKE2b (RFC 7693) of 16 bytes.

    OpenSSL's HMAC releases the interpreter lock for each signature, and then has to wait for all threads of the driver.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def sign(self, context: bytes, message: bytes) -> bytes:
        """The signature of ``message`` in ``context``, which is needed to verify it."""
        return self.signatures(context, message)[0]

    def signatures(self, context: bytes, message: bytes) -> tuple[bytes, ...]:
        """The signatures by all keys, the current key first, to look up what is stored under a signature."""
        framed = len(context).to_bytes(8, "big") + context + message
        return tuple(hashlib.blake2b(framed, key=key, digest_size=SIGNATURE_BYTES).digest() for key in self._keys)

    def verify(self, signature: bytes, context: bytes, message: bytes) -> bool:
        """Whether ``signature`` is the signature of ``message`` in ``context`` by any of the keys."""
        return any(hmac.compare_digest(signature, made) for made in self.signatures(context, message))


class Cipher:
    """Encrypts what the service must be able to decrypt (Fernet: AES-128-CBC with HMAC-SHA-256)."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        each = [Fernet(base64.urlsafe_b64encode(key)) for key in keys]
        self._current, self._fernet = each[0], MultiFernet(each)

    def encrypt(self, text: str) -> bytes:
        """``text``, encrypted with the current key."""
        return self._fernet.encrypt(text.encode())

    def decrypt(self, sealed: bytes) -> str | None:
        """The text; None if it was encrypted with none of the keys."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            return None

    def renewed(self, sealed: bytes) -> bytes:
        """``sealed``, re-encrypted with the current key; unchanged if it already is."""
        try:
            self._current.decrypt(sealed)
        except InvalidToken:
            return self._fernet.rotate(sealed)
        return sealed

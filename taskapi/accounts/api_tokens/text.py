"""The text of an API token: ``tsk_``, 30 random letters and digits (178 bits), and their CRC-32 in 6 more characters.

The checksum rejects a mistyped or truncated token without a query, and saves secret scanners false positives.
"""

import hashlib
import re
import secrets
import string
import zlib
from typing import Final

PREFIX: Final = "tsk_"
ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_CHARACTERS = 30
CHECK_CHARACTERS = 6  # enough for 32 bits

_FORM = re.compile(f"{PREFIX}([{ALPHABET}]{{{RANDOM_CHARACTERS}}})([{ALPHABET}]{{{CHECK_CHARACTERS}}})")


def new_token() -> str:
    """A new random token."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return f"{PREFIX}{body}{_check(body)}"


def hash_of(token: str) -> bytes | None:
    """The stored hash of a token: SHA-256, without a key since tokens cannot be guessed. None if ``token`` is malformed."""
    written = _FORM.fullmatch(token)
    if written is None or _check(written[1]) != written[2]:
        return None
    return hashlib.sha256(token.encode()).digest()


def _check(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(CHECK_CHARACTERS):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits

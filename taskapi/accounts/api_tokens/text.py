"""How an API token is written: ``tsk_``, 30 random letters and digits (178 bits), and 6 more that are their CRC-32.

Whoever holds one that was mistyped or cut is told so without a query, and a scanner for secrets finds real ones alone.
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
    """A token that nobody has."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return f"{PREFIX}{body}{_check(body)}"


def hash_of(token: str) -> bytes | None:
    """What is stored of a token: SHA-256, which needs no key, as nobody guesses the token. None when ``token`` is none."""
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

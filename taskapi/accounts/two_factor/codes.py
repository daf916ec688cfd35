"""Codes of both kinds: TOTP (RFC 6238) with its usual 6 digits and 30 seconds, and recovery codes."""

import secrets
from datetime import datetime
from typing import Final

import pyotp
from pyotp.exceptions import OTPVerificationError

from taskapi.accounts.users.documents import RECOVERY_CODES

ISSUER: Final = "taskapi"
SKEW_STEPS = 1  # how far clocks may differ, in either direction
DIGITS = 6

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no two characters look alike
GROUPS, GROUP_CHARACTERS = 3, 4  # 60 bits
AS_MEANT: Final = str.maketrans("OIL", "011", "- ")


def new_secret() -> str:
    """A secret of 160 bits (RFC 4226, section 4), in base 32."""
    return pyotp.random_base32()


def uri_of(secret: str, username: str) -> str:
    """The URI from which an authenticator app reads the secret, usually as a QR code."""
    return pyotp.TOTP(secret, name=username, issuer=ISSUER).provisioning_uri()


def step_of(code: str, secret: str, now: datetime) -> int | None:
    """The time step close to ``now`` whose code is ``code``, as its owner typed it; None if there is none."""
    typed = plain(code)
    if len(typed) != DIGITS:
        return None
    try:
        return pyotp.TOTP(secret).verify_and_get_timecode(typed, for_time=now, valid_window=SKEW_STEPS)
    except OTPVerificationError:
        return None


def new_recovery_codes() -> list[str]:
    """New random codes, in groups that are easy to read and type."""
    return ["-".join(_group() for _ in range(GROUPS)) for _ in range(RECOVERY_CODES)]


def plain(code: str) -> str:
    """The normal form of a typed code, ignoring case, dashes and spaces."""
    return code.upper().translate(AS_MEANT)


def _group() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(GROUP_CHARACTERS))

"""Codes of both kinds."""

import re
from datetime import timedelta

import pyotp
import pytest

from taskapi.accounts.two_factor import codes
from taskapi.core.clock import utc_now

SECRET = codes.new_secret()


@pytest.mark.parametrize(("steps", "taken"), [(-3, False), (-2, False), (-1, True), (0, True), (1, True), (2, False), (3, False)])
def test_code_is_valid_one_step_before_and_after(steps: int, taken: bool) -> None:
    now = utc_now()
    code = pyotp.TOTP(SECRET).at(now + timedelta(seconds=30 * steps))
    assert codes.step_of(code, SECRET, now) == (int(now.timestamp()) // 30 + steps if taken else None)


def test_the_codes_are_those_of_rfc_6238() -> None:
    """Appendix B: the time 59 s, of which 6 of the 8 digits are shown."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert codes.step_of("287082", secret, utc_now().replace(year=1970, month=1, day=1, hour=0, minute=0, second=59)) == 1


@pytest.mark.parametrize("typed", ["{} ", " {}", "{}\u200b", "{}0", "", "abcdef", 6 * "\uff11"])
def test_only_six_digits_are_a_code(typed: str) -> None:
    now = utc_now()
    code = pyotp.TOTP(SECRET).at(now)
    assert (codes.step_of(typed.format(code), SECRET, now) is None) == (typed.strip() != "{}")


def test_code_may_be_typed_as_shown() -> None:
    now = utc_now()
    code = pyotp.TOTP(SECRET).at(now)
    assert codes.step_of(f"{code[:3]} {code[3:]}", SECRET, now) is not None


def test_recovery_codes_are_new_and_readable() -> None:
    made = codes.new_recovery_codes()
    assert len(set(made)) == 10
    assert all(re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){2}", code) for code in made)


def test_recovery_codes_are_read_as_they_are_meant() -> None:
    for typed in ("K0QX-M1VD-91TA", "k0qx m1vd 91ta", "KOQXMIVD9LTA", "koqx-m1vd-9lta"):
        assert codes.plain(typed) == "K0QXM1VD91TA"


def test_an_authenticator_reads_the_address() -> None:
    read = pyotp.parse_uri(codes.uri_of(SECRET, "ada.l"))
    assert isinstance(read, pyotp.TOTP)
    assert (read.secret, read.name, read.issuer, read.digits, read.interval) == (SECRET, "ada.l", "taskapi", 6, 30)

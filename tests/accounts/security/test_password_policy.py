"""Which passwords are refused."""

import pytest

from taskapi.accounts.security import password_policy
from taskapi.core.errors import InvalidInput
from tests.client import PASSWORD

NAMES = ("Grace.Hopper", None, "amazing@navy.example", "Grace Brewster Hopper")


@pytest.mark.parametrize("password", ["grace.hopper", "AMAZING@navy.example", "Amazing", "grace brewster hopper", "GRACE.HOPPER"])
def test_ones_own_names_are_refused_in_any_case(password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        password_policy.check(password, *NAMES)
    (fault,) = caught.value.faults
    assert (fault.field, fault.type) == ("password", "password_is_name")
    assert password not in fault.message


@pytest.mark.parametrize("password", ["12345678", "password1", "Password1", "TRUSTNO1", "1qaz2wsx", "qwertyuiop"])
def test_common_ones_are_refused_in_any_case(password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        password_policy.check(password, *NAMES, field="new_password")
    (fault,) = caught.value.faults
    assert (fault.field, fault.type) == ("new_password", "password_is_common")
    assert password not in fault.message


def test_common_passwords_list_holds_10000_casefolded_entries() -> None:
    assert len(password_policy._common()) == 10_000
    assert all(password == password.casefold() for password in password_policy._common())


@pytest.mark.parametrize("password", [PASSWORD, "grace.hopper1", "navy.example", "", "ǰ" * 8, "x" * 128])
def test_others_are_taken(password: str) -> None:
    password_policy.check(password, *NAMES)

"""Passwords in the form that is hashed, and which are refused although they are long enough."""

from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec

from precis_i18n import get_profile

from taskapi.core.errors import FieldError, InvalidInput
from taskapi.core.unicode import caseless, nfc

MAX_LENGTH = 128  # characters in NFC
MAX_TYPED_LENGTH = 4 * MAX_LENGTH  # in any form: NFC makes one character of four at most
COMMON_PASSWORDS = 10_000
_opaque_string = get_profile("OpaqueString")


def prepare(password: str) -> str:
    """``password`` in the form that is hashed, whatever keyboard it was typed on: the OpaqueString of RFC 8265, section 4.2.

    Raises:
        ValueError: it is empty or too long, or holds a control, invisible or unassigned character.
    """
    if password.isascii() and password.isprintable() and password:
        return password
    composed = nfc(password)
    if len(composed) > MAX_LENGTH:  # which bounds the time that it takes
        raise ValueError("the password is too long")
    return str(_opaque_string.enforce(composed))


def candidates(typed: str) -> tuple[str, ...]:
    """What may have been hashed of a password that somebody types: its prepared form, then what they type if that differs.

    Version 1.2 and before hashed passwords as they were typed. How many there are depends on ``typed`` alone.
    """
    with suppress(ValueError):
        return tuple(dict.fromkeys((prepare(typed), typed)))
    return (typed,)


def check(password: str, *own_names: str | None, field: str = "password") -> None:
    """Returns when ``password`` is neither one of its owner's names, in any case, nor among the 10,000 most common ones.

    ``password`` is prepared. ``own_names`` are user names, full names and e-mail addresses; of an address the part before
    the @ is a name as well.

    Raises:
        InvalidInput: names ``field``.
    """
    given = caseless(password)
    names = {caseless(part) for name in own_names if name for part in (name, name.partition("@")[0])}
    if given in names:
        raise InvalidInput([FieldError(field, "must not be one of your own names", "password_is_name")])
    if given in _common():
        raise InvalidInput([FieldError(field, "must not be one of the 10,000 most common passwords", "password_is_common")])


@cache
def _common() -> frozenset[str]:
    # Importing the package would build tables of all its words: 15 MB that stay, where this leaves two.
    package = find_spec("zxcvbn")
    assert package
    lists = PathFinder.find_spec("frequency_lists", package.submodule_search_locations)
    assert lists
    assert lists.loader
    module = module_from_spec(lists)
    lists.loader.exec_module(module)
    return frozenset(module.FREQUENCY_LISTS["passwords"][:COMMON_PASSWORDS])  # ordered, the most common first; in lower case

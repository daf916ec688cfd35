"""The form in which passwords are hashed, and the passwords that are refused as too easy to guess."""

from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec

from precis_i18n import get_profile

from taskapi.core.errors import FieldError, InvalidInput
from taskapi.core.unicode import caseless, nfc

MAX_LENGTH = 128  # characters in NFC
MAX_TYPED_LENGTH = 4 * MAX_LENGTH  # in any form: NFC combines at most four characters into one
COMMON_PASSWORDS = 10_000
_opaque_string = get_profile("OpaqueString")


def prepare(password: str) -> str:
    """``password`` in the form that is hashed, the same for every keyboard: OpaqueString of RFC 8265, section 4.2.

    Raises:
        ValueError: it is empty or too long, or contains a control, invisible or unassigned character.
    """
    if password.isascii() and password.isprintable() and password:
        return password
    composed = nfc(password)
    if len(composed) > MAX_LENGTH:  # bounds the time that it takes
        raise ValueError("the password is too long")
    return str(_opaque_string.enforce(composed))


def candidates(typed: str) -> tuple[str, ...]:
    """The forms of a typed password that may have been hashed: the prepared form, then the typed one if it differs.

    Version 1.2 and before hashed passwords as typed. The number of forms depends only on ``typed``.
    """
    with suppress(ValueError):
        return tuple(dict.fromkeys((prepare(typed), typed)))
    return (typed,)


def check(password: str, *own_names: str | None, field: str = "password") -> None:
    """Refuses ``password`` if it is one of its owner's names, ignoring case, or one of the 10,000 most common passwords.

    ``password`` is a prepared password. ``own_names`` are user names, full names and e-mail addresses; the part of an address
    before the @ also counts as a name.

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
    # Importing the package would build tables of all its words and keep 15 MB; this keeps 2 MB.
    package = find_spec("zxcvbn")
    assert package
    lists = PathFinder.find_spec("frequency_lists", package.submodule_search_locations)
    assert lists
    assert lists.loader
    module = module_from_spec(lists)
    lists.loader.exec_module(module)
    return frozenset(module.FREQUENCY_LISTS["passwords"][:COMMON_PASSWORDS])  # in lower case, most common first

"""Which passwords are refused although they are long enough."""

from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec

from taskapi.errors import Fault, InvalidInput

MOST_COMMON = 10_000


def check(password: str, *own_names: str | None, field: str = "password") -> None:
    """Returns when ``password`` is neither one of its owner's names, in any case, nor among the 10,000 most common ones.

    ``own_names`` are user names, full names and e-mail addresses; of an address the part before the @ is a name as well.

    Raises:
        InvalidInput: names ``field``.
    """
    given = password.casefold()
    names = {part.casefold() for name in own_names if name for part in (name, name.partition("@")[0])}
    if given in names:
        raise InvalidInput([Fault(field, "must not be one of your own names", "password_is_name")])
    if given in _common():
        raise InvalidInput([Fault(field, "must not be one of the 10,000 most common passwords", "password_is_common")])


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
    return frozenset(module.FREQUENCY_LISTS["passwords"][:MOST_COMMON])  # ordered, the most common first; in lower case

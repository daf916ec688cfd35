"""What the arguments of several commands share."""

import argparse
from collections.abc import Callable
from typing import Any


def add_action(actions: Any, name: str, about: str) -> argparse.ArgumentParser:
    """Adds an action to the subparsers of a command, with its description."""
    parser: argparse.ArgumentParser = actions.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    return parser


def utf8(given: str) -> str:
    """Text for MongoDB, which has no bytes that are not UTF-8."""
    try:
        given.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("not UTF-8") from None
    return given


def whole_number(what: str, most: int) -> Callable[[str], int]:
    """A whole number from 1 to ``most``; ``what`` says what it is, if it is none."""

    def check(given: str) -> int:
        if not given.isdecimal() or not 0 < int(given) <= most:
            raise argparse.ArgumentTypeError(f"{given!r} is not a {what} (1 to {most})")
        return int(given)

    return check

"""JSON strictly as in RFC 8259: UTF-8, finite numbers, unique member names; with a limited depth."""

import json
import math
from typing import Any, NoReturn

from taskapi.core.errors import MalformedJSON

BOM = b"\xef\xbb\xbf"
MAX_DEPTH = 32  # of nested arrays and objects


class Refused(ValueError):
    """Input that Python's parser would accept; the message completes "The body …"."""


class RepeatedMember(Refused):
    """An object names a member twice."""

    def __init__(self) -> None:
        super().__init__("names a member twice in one object")


def read_json(text: bytes, what: str = "The body") -> Any:
    """The value of ``text``; a leading byte order mark is ignored.

    ``what`` is what the error calls the text: "The body", "The line".

    Raises:
        MalformedJSON: its detail never repeats the input.
    """
    try:
        value = DECODER.decode(text.removeprefix(BOM).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise malformed(error, text, what) from None
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and is_deeper(value, MAX_DEPTH):
        raise MalformedJSON(f"{what} is nested too deeply.")
    return value


def malformed(error: ValueError | RecursionError, text: bytes, what: str) -> MalformedJSON:
    """The error that says what is wrong with ``text``."""
    if isinstance(error, json.JSONDecodeError):
        if not text.removeprefix(BOM).strip():
            return MalformedJSON(f"{what} is empty.")
        reason = error.msg.removesuffix(" at")
        return MalformedJSON(f"{what} is not valid JSON: {reason} at character {error.pos}.")
    if isinstance(error, Refused):
        return MalformedJSON(f"{what} {error}.")
    if isinstance(error, UnicodeDecodeError):
        return MalformedJSON(f"{what} is not valid JSON: it is not UTF-8.")
    if isinstance(error, RecursionError):
        return MalformedJSON(f"{what} is nested too deeply.")
    return MalformedJSON(f"{what} contains a number that is too large.")  # of thousands of digits


def is_deeper(value: Any, levels: int) -> bool:
    """Whether arrays and objects are nested more than ``levels`` deep in ``value``."""
    inside = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        members = (member for outer in inside for member in (outer.values() if isinstance(outer, dict) else outer))
        inside = [member for member in members if isinstance(member, dict | list)]
        if not inside:
            return False
    return True


def no_constant(_: str) -> NoReturn:
    """The ``parse_constant`` of a decoder. Raises Refused."""
    raise Refused("is not valid JSON: NaN and Infinity are not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise Refused("contains a number that is too large")
    return number


def unique_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """The ``object_pairs_hook`` of a decoder. Raises RepeatedMember."""
    made = dict(members)
    if len(made) != len(members):
        raise RepeatedMember
    return made


DECODER = json.JSONDecoder(parse_constant=no_constant, parse_float=_finite, object_pairs_hook=unique_members)

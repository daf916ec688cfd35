"""Reads the records of an import, each of which is a task: JSON Lines as they arrive, or a JSON array."""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Any, NamedTuple

from taskapi.core.errors import FieldError, MalformedJSON
from taskapi.core.json_pieces import read_json
from taskapi.core.strict_json import BOM
from taskapi.tasks.errors import MalformedImport
from taskapi.web.streaming import lines

MAX_BYTES = 256 * 1024  # of one record
BLANK = b" \t\r"


class Record(NamedTuple):
    """A record: its position, its size in bytes, and its JSON value or its faults."""

    number: int
    size: int
    value: Any = None
    faults: Sequence[FieldError] = ()


Records = AsyncIterator[Record | None]  # None: an empty line


def too_long(number: int) -> Record:
    """The record for a line of more than ``MAX_BYTES``."""
    return Record(number, MAX_BYTES, faults=[FieldError("", f"should be at most {MAX_BYTES} bytes long", "line_too_long")])


async def json_lines(chunks: AsyncIterable[bytes]) -> Records:
    """Yields the records of JSON Lines. Raises MalformedImport, before the first record, for a body that is one JSON value."""
    number, begun = 0, False
    async for line in lines(chunks, MAX_BYTES):
        number += 1
        text = (line.removeprefix(BOM) if number == 1 else line).strip(BLANK)
        if text and not begun:
            begun = True
            _check_beginning(text)
        if len(line) > MAX_BYTES:
            yield too_long(number)
        else:
            yield await _record(number, text) if text else None


def _check_beginning(text: bytes) -> None:
    if text.startswith(b'"'):
        raise MalformedImport("The body is one JSON string. Send the lines themselves, not quoted.")
    if text.startswith(b"["):
        raise MalformedImport("The body begins with an array. Send one object on each line, or an array as application/json.")
    if text == b"{":
        raise MalformedImport(
            "The first object in the body spans several lines. Send each object on one line, or an array as application/json."
        )


async def _record(number: int, text: bytes) -> Record:
    try:
        return Record(number, len(text), await read_json(text, "The line"))
    except MalformedJSON as error:
        return Record(number, len(text), faults=[FieldError("", error.detail, error.code)])


async def json_array(value: Any, size: int) -> Records:
    """Yields the records of a JSON body of ``size`` bytes: the elements of an array, or one object. Raises MalformedImport."""
    if not isinstance(value, list | dict):
        raise MalformedImport("The body is neither an array nor an object. Send an array of tasks, or JSON Lines.")
    values = value if isinstance(value, list) else [value]
    for number, each in enumerate(values, 1):
        yield Record(number, size // len(values), each)

"""JSON of any size, read in pieces: a large body blocks the event loop only for one piece at a time."""

import json
import re
from collections.abc import Generator
from typing import Any

from taskapi.core import strict_json
from taskapi.core.cooperative import CooperativeYield
from taskapi.core.strict_json import BOM, DECODER, MAX_DEPTH, Refused, RepeatedMember, malformed

MAX_PIECE = 16 * 1024  # characters that are read at once, but for a longer string; some 0.5 ms
MAX_VALUES = 30_000  # in one text: more than a task can have, and few enough to hold for many callers at once

BLANK = " \t\n\r"
STRING = r'"(?:[^"\\]++|\\.)*+"'
OPENING = re.compile(r"[ \t\n\r]*([\[{])")
MEMBER = re.compile(rf"[ \t\n\r]*({STRING})[ \t\n\r]*:[ \t\n\r]*([\[{{])")
SCALAR = re.compile(rf'(?:[^\[\]{{}}",]++|{STRING})*+(?=[,\]}}])')
SEPARATOR = re.compile(r"[ \t\n\r]*([,\]}])")


def _elements() -> list[str]:
    """By the number of levels that it may have: the pattern of an element. What stands in it is for the parser to say."""
    inside, found = rf'(?:[^\[\]{{}}"]++|{STRING})*+', [rf'(?:[^\[\]{{}}",]++|{STRING})*+']
    for _ in range(MAX_DEPTH):
        found.append(rf'(?:[^\[\]{{}}",]++|{STRING}|[\[{{]{inside}[\]}}])*+')
        inside = rf'(?:[^\[\]{{}}"]++|{STRING}|[\[{{]{inside}[\]}}])*+'
    return found


STRINGS = re.compile(STRING)
RUNS = [re.compile(f"(?:{element},)*+") for element in _elements()]
LASTS = [re.compile(rf"{element}[\]}}]") for element in _elements()]


async def read_json(text: bytes, what: str = "The body", max_values: int | None = MAX_VALUES) -> Any:
    """As ``strict_json.read_json``, giving way in between where ``text`` is long.

    Raises:
        MalformedJSON: its detail never repeats the input; or ``text`` holds more than ``max_values``.
    """
    if len(text) <= MAX_PIECE:
        return strict_json.read_json(text, what)
    turns = CooperativeYield()
    await turns.wait()
    try:
        reading = read(text.removeprefix(BOM).decode("utf-8"), max_values=max_values)
        while True:
            try:
                next(reading)
            except StopIteration as end:
                return end.value
            await turns.checkpoint()
    except (ValueError, RecursionError) as error:
        raise malformed(error, text, what) from None


def read(text: str, piece: int = MAX_PIECE, max_values: int | None = None) -> Generator[None, None, Any]:
    """Reads ``text`` as ``strict_json.DECODER`` does, unless it is too deep; yields after each ``piece`` characters at most.

    Elements that end within a piece are found by a pattern and given to the decoder, as many at once as there are. One that
    does not is entered, and its own elements are read like this. The pieces get smaller then, or the same characters would be
    looked at again on every level, and larger again with what has been read.

    Raises:
        ValueError, RecursionError: as the decoder; ValueError for more than ``max_values`` as well.
    """
    opening = OPENING.match(text)
    if not opening:
        return DECODER.decode(text)
    root: Any = _new(opening[1])
    reader = _Reader(text, opening.end(), root, piece)
    while reader.stack:
        reader.read_piece()
        if max_values is not None and reader.values > max_values:
            raise Refused(f"contains more than {max_values:,} values")
        yield
    rest = text[reader.at :].lstrip(BLANK)
    if rest:
        raise json.JSONDecodeError("Extra data", text, len(text) - len(rest))
    return root


def _new(bracket: str) -> list[Any] | dict[str, Any]:
    return [] if bracket == "[" else {}


class _Reader:
    def __init__(self, text: str, at: int, root: list[Any] | dict[str, Any], piece: int) -> None:
        self.at = at
        self.stack = [root]  # the arrays and objects that have not ended, the innermost last
        self.values = 1  # that were read so far
        self._text = text
        self._after_comma = False
        self._piece = self._longest = piece
        self._read = 0  # characters, since the size of a piece was changed

    def read_piece(self) -> None:
        """Goes on with what stands next."""
        start, levels, limit = self.at, MAX_DEPTH - len(self.stack), self.at + self._piece
        run = RUNS[levels].match(self._text, start, limit)
        if run and run.end() > start:
            self._add(start, run.end() - 1)
            self.at, self._after_comma = run.end(), True
        elif last := LASTS[levels].match(self._text, start, limit):
            self.at = last.end() - 1
            self._add(start, self.at)
            self._end_value()
        elif not self._enter(levels):
            scalar = SCALAR.match(self._text, start)
            if not scalar:
                raise json.JSONDecodeError("Expecting value", self._text, start)
            self._add(start, scalar.end())
            self.at = scalar.end()
            self._end_value()
        self._read += self.at - start
        if self._read >= self._piece:
            self._piece, self._read = min(2 * self._piece, self._longest), 0

    def _add(self, start: int, end: int) -> None:
        """Reads the elements that stand there, with commas between them, into the innermost array or object."""
        inner, part = self.stack[-1], self._text[start:end]
        if not part.strip(BLANK):
            if self._text[end] != "," and not self._after_comma:
                return  # it is empty
            raise json.JSONDecodeError("Expecting value", self._text, start)
        marks = STRINGS.sub("", part)
        filled = marks.count("[") + marks.count("{") - marks.count("[]") - marks.count("{}")
        self.values += 1 + marks.count(",") + filled
        try:
            if isinstance(inner, list):
                inner += DECODER.decode(f"[{part}]")
                return
            members = DECODER.decode(f"{{{part}}}")
        except json.JSONDecodeError as error:
            raise json.JSONDecodeError(error.msg, self._text, start + error.pos - 1) from None
        if not inner.keys().isdisjoint(members.keys()):
            raise RepeatedMember
        inner |= members

    def _enter(self, levels: int) -> bool:
        """Goes into the array or object that stands next; False when there is none."""
        outer = self.stack[-1]
        found = (OPENING if isinstance(outer, list) else MEMBER).match(self._text, self.at)
        if not found:
            return False
        if not levels:
            raise Refused("is nested too deeply")
        inner = _new(found[found.lastindex or 0])
        if isinstance(outer, list):
            outer.append(inner)
        else:
            name = DECODER.decode(found[1])
            if name in outer:
                raise RepeatedMember
            outer[name] = inner
        self.stack.append(inner)
        self.values += 1
        self.at, self._after_comma = found.end(), False
        self._piece, self._read = max(self._piece // 2, self._longest // 32, 1), 0
        return True

    def _end_value(self) -> None:
        """Goes on behind a value: past a comma, and before that past the ends of what ends with it."""
        while self.stack:
            mark = SEPARATOR.match(self._text, self.at)
            if not mark:
                raise json.JSONDecodeError("Expecting ',' delimiter", self._text, self.at)
            if mark[1] == ",":
                self.at, self._after_comma = mark.end(), True
                return
            if (mark[1] == "]") != isinstance(self.stack[-1], list):
                raise json.JSONDecodeError("Expecting ',' delimiter", self._text, mark.start(1))
            self.at, self._after_comma = mark.end(), False
            self.stack.pop()

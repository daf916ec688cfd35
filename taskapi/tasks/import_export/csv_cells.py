"""Converts the values of a task to the cells of CSV and back: an import restores what an export has written."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from taskapi.core.errors import FieldError, MalformedJSON
from taskapi.core.strict_json import read_json
from taskapi.tasks.definitions import Kind
from taskapi.tasks.fields import EMPTY_VALUES, FIELDS
from taskapi.tasks.metadata import JSONObject
from taskapi.tasks.schemas import TaskRead

COLUMNS = tuple(TaskRead.model_fields)
csv.field_size_limit(2**31 - 1)  # of the whole process, so it is set once; what reads CSV limits its records instead
# OWASP, CSV Injection: texts that a spreadsheet may run as formulas. It may split a line at another separator, or at a line
# end inside quotation marks, so each piece of a text between these is checked.
_SEPARATORS = r",;\t\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029"
# What a spreadsheet may ignore before the sign: white space, quotation marks, invisible characters (controls, Cf, ignorables).
_LEFT_OUT = (
    r"[ \"\xa0\u1680\u2000-\u200a\u202f\u205f\u3000\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd"
    r"\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*+"
)
# The signs that start a formula, also in another width or position (equal in Unicode's NFKC).
_SIGN = r"[=+\-@\u207a-\u207c\u208a-\u208c\u2212\u2a75\u2a76\ufb29\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20]"
# A text that already looks guarded is guarded again, so that reading restores it.
GUARDED = re.compile(rf"(?:\A|[{_SEPARATORS}])'*+{_LEFT_OUT}{_SIGN}|\A'*+[\t\r\n]")
_INNER = re.compile(rf"(?<=[{_SEPARATORS}])(?='*+{_LEFT_OUT}{_SIGN})")
_INNER_GUARD = re.compile(rf"(?<=[{_SEPARATORS}])'(?='*+{_LEFT_OUT}{_SIGN})")
_IN_JSON = re.compile(rf"([{_SEPARATORS}]{_LEFT_OUT})({_SIGN})")
_JSON_TEXT = re.compile(
    r',?"(?:[^"\\]|\\.)*+"'
)  # with the comma before it; outside of texts, a sign belongs to a negative number
# The values that empty cells stand for; in any other column an empty cell is ignored.
EMPTY_CELLS: Mapping[str, Any] = {**EMPTY_VALUES, "completed_at": None, "key": None}
IGNORED = {"owner", "progress", "version"}  # set by the server, so it does not matter what a spreadsheet has made of them


def write_cell(value: Any) -> Any:
    """Converts a value of a task for the csv module, so that no spreadsheet runs a text in it as a formula.

    A text that contains a formula begins with an apostrophe, and so does each further piece that is one. In JSON, the sign
    itself is escaped.
    """
    if isinstance(value, bool | list | dict):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return _JSON_TEXT.sub(_escape_signs, text) if _IN_JSON.search(text) else text
    return "'" + _INNER.sub("'", value) if isinstance(value, str) and GUARDED.search(value) else value


def _escape_signs(text: re.Match[str]) -> str:
    return _IN_JSON.sub(lambda found: f"{found[1]}\\u{ord(found[2]):04x}", text[0])


def read_cells(cells: Iterable[tuple[str, str]]) -> tuple[JSONObject, list[FieldError]]:
    """Converts cells, given with their columns, to the JSON values of a task; the faults of those that cannot be read."""
    values: JSONObject = {}
    faults = []
    for name, text in cells:
        if name in IGNORED:
            continue
        if text == "":
            values |= {name: EMPTY_CELLS[name]} if name in EMPTY_CELLS else {}
            continue
        try:
            values[name] = READERS.get(FIELDS[name].kind, str.strip)(text)
        except MalformedJSON as error:
            faults.append(FieldError(name, error.detail, error.code))
    return values, faults


def _text(cell: str) -> str:
    return _INNER_GUARD.sub("", cell[1:]) if cell.startswith("'") and GUARDED.search(cell[1:]) else cell


def _integer(cell: str) -> int | str:
    return int(cell) if re.fullmatch(r"\s*-?\d{1,18}\s*", cell, re.ASCII) else cell


def _boolean(cell: str) -> bool | str:
    return {"true": True, "false": False}.get(cell.strip().lower(), cell)  # spreadsheets write TRUE


def _json(cell: str) -> Any:
    return read_json(cell.encode(), "The cell")


def _list(separator: str) -> Callable[[str], Any]:
    """A reader of JSON arrays, and of texts between separators."""

    def read(cell: str) -> Any:
        if cell.lstrip().startswith("["):
            return _json(cell)
        return [text for part in re.split(separator, cell) if (text := part.strip())]

    return read


READERS: Mapping[Kind, Callable[[str], Any]] = {
    Kind.text: _text,
    Kind.integer: _integer,
    Kind.flag: _boolean,
    Kind.tag: _list("[,;]"),
    Kind.link: _list(r"\s"),
    Kind.members: _json,
    Kind.metadata: _json,
}

"""The cells of a task in CSV, both ways: what the export writes, the import reads back as it was."""

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
# OWASP, CSV Injection: what a spreadsheet may run. It may split at another separator, and at a line end between quotation
# marks that it then does not see; so each piece of a text between these is looked at.
_SEPARATORS = r",;\t\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029"
# What it may leave out before it looks: white space, quotation marks, and what is invisible (controls, Cf, ignorables).
_LEFT_OUT = (
    r"[ \"\xa0\u1680\u2000-\u200a\u202f\u205f\u3000\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd"
    r"\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*+"
)
# The signs, and those that are the same in another width or place (Unicode's NFKC).
_SIGN = r"[=+\-@\u207a-\u207c\u208a-\u208c\u2212\u2a75\u2a76\ufb29\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20]"
# A text that looks guarded already is guarded as well, to stay what it is.
GUARDED = re.compile(rf"(?:\A|[{_SEPARATORS}])'*+{_LEFT_OUT}{_SIGN}|\A'*+[\t\r\n]")
_INNER = re.compile(rf"(?<=[{_SEPARATORS}])(?='*+{_LEFT_OUT}{_SIGN})")
_INNER_GUARD = re.compile(rf"(?<=[{_SEPARATORS}])'(?='*+{_LEFT_OUT}{_SIGN})")
_IN_JSON = re.compile(rf"([{_SEPARATORS}]{_LEFT_OUT})({_SIGN})")
_JSON_TEXT = re.compile(r',?"(?:[^"\\]|\\.)*+"')  # with the comma before it: what is no text may be a negative number
# What an empty cell means; in any other column it says nothing.
EMPTY_CELLS: Mapping[str, Any] = {**EMPTY_VALUES, "completed_at": None, "key": None}
IGNORED = {"owner", "progress", "version"}  # the server's own: whatever a spreadsheet has made of them


def write_cell(value: Any) -> Any:
    """A value of a task as the csv module takes it; no text in it is one that a spreadsheet takes for a formula.

    A text that holds such a piece begins with an apostrophe, and so does each such piece after the first. In JSON the sign
    itself is escaped.
    """
    if isinstance(value, bool | list | dict):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return _JSON_TEXT.sub(_escape_signs, text) if _IN_JSON.search(text) else text
    return "'" + _INNER.sub("'", value) if isinstance(value, str) and GUARDED.search(value) else value


def _escape_signs(text: re.Match[str]) -> str:
    return _IN_JSON.sub(lambda found: f"{found[1]}\\u{ord(found[2]):04x}", text[0])


def read_cells(cells: Iterable[tuple[str, str]]) -> tuple[JSONObject, list[FieldError]]:
    """The values of a task whose cells are given by column, as JSON has them; and what is wrong with cells."""
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
    return int(cell) if re.fullmatch(r"\s*-?\d{1,9}\s*", cell, re.ASCII) else cell


def _boolean(cell: str) -> bool | str:
    return {"true": True, "false": False}.get(cell.strip().lower(), cell)  # spreadsheets write TRUE


def _json(cell: str) -> Any:
    return read_json(cell.encode(), "The cell")


def _list(separator: str) -> Callable[[str], Any]:
    """Reads a JSON array, or texts between separators."""

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

"""The cells of a task in CSV, both ways: what the export writes, the import reads back as it was."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from taskapi.errors import Fault, MalformedJSON
from taskapi.strictjson import read_json
from taskapi.tasks.metadata import JSONObject
from taskapi.tasks.schemas import TaskRead

COLUMNS = tuple(TaskRead.model_fields)
# OWASP, CSV Injection: what a spreadsheet may run. A text that looks guarded already is guarded as well, to stay what it is.
GUARDED = re.compile(r"'*(?:\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])")
EMPTIED: Mapping[str, Any] = {  # what an empty cell means; in any other column it says nothing
    "description": "",
    "due_date": None,
    "completed_at": None,
    "key": None,
    "tags": [],
    "links": [],
    "checklist": [],
    "metadata": {},
}
IGNORED = {"owner", "progress", "version"}  # the server's own: whatever a spreadsheet has made of them


def write_cell(value: Any) -> Any:
    """A value of a task as the csv module takes it; no text is one that a spreadsheet takes for a formula."""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"'{value}" if isinstance(value, str) and GUARDED.match(value) else value


def read_cells(cells: Iterable[tuple[str, str]]) -> tuple[JSONObject, list[Fault]]:
    """The values of a task whose cells are given by column, as JSON has them; and what is wrong with cells."""
    values: JSONObject = {}
    faults = []
    for name, text in cells:
        if name in IGNORED:
            continue
        if text == "":
            values |= {name: EMPTIED[name]} if name in EMPTIED else {}
            continue
        try:
            values[name] = READERS.get(name, str.strip)(text)
        except MalformedJSON as error:
            faults.append(Fault(name, error.detail, error.code))
    return values, faults


def _text(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and GUARDED.match(cell[1:]) else cell


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


READERS: Mapping[str, Callable[[str], Any]] = {
    "title": _text,
    "description": _text,
    "key": _text,
    "priority": _integer,
    "completed": _boolean,
    "tags": _list("[,;]"),
    "links": _list(r"\s"),
    "checklist": _json,
    "metadata": _json,
}

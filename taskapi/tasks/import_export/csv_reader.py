"""The records of CSV (RFC 4180) as they come, in memory of one record."""

import csv
import re
from collections.abc import AsyncIterable, AsyncIterator, Sequence

from taskapi.core.cooperative import CooperativeYield
from taskapi.core.errors import MAX_FAULTS, MAX_FIELD_LENGTH, FieldError, InvalidInput
from taskapi.core.strict_json import BOM
from taskapi.tasks.errors import MalformedImport
from taskapi.tasks.import_export.csv_cells import COLUMNS, read_cells
from taskapi.tasks.import_export.records import BLANK, MAX_BYTES, Record, Records, too_long

SEPARATORS = ",;\t"  # spreadsheets write the second one where the comma is in numbers
MAX_COLUMNS = 100  # each unknown one costs an error
QUOTE, LINE_END = b'"\n'
PAIRED = rb'[^"]*+(?:""[^"]*+)*+'  # from within a quoted cell to the mark that ends it: two of them are one
PAIRS = re.compile(PAIRED)


async def csv_records(chunks: AsyncIterable[bytes]) -> Records:
    """The records of CSV whose first one names the columns.

    Raises:
        MalformedImport: the first record cannot be read.
        InvalidInput: names each column that a task does not have, or that comes twice.
    """
    marks, names, separator = _Marks(), list[str](), ","
    async for number, line in _split(chunks, marks):
        text = line.removeprefix(BOM) if number == 1 else line
        blank = not text.strip(BLANK + separator.encode())
        if names:
            yield None if blank else _record(number, text, names, separator)
        elif not blank:
            separator = next((chr(byte) for byte in text if chr(byte) in SEPARATORS), separator)
            names = _names(text, separator)
            marks.separate(separator)
    if not names:
        raise MalformedImport("CSV begins with a line of column names, such as title,due_date,tags.")


def _names(text: bytes, separator: str) -> list[str]:
    """The columns that the first record names."""
    try:
        names = [name.strip().lower() for name in _cells(text, separator)] if len(text) <= MAX_BYTES else []
    except (UnicodeDecodeError, csv.Error):
        names = []
    if not names or any("\x00" in name for name in names):
        raise MalformedImport("The first line is not CSV in UTF-8.")
    if len(names) > MAX_COLUMNS:
        raise MalformedImport(f"The first line names more than {MAX_COLUMNS} columns.")
    faults = [
        FieldError(name[:MAX_FIELD_LENGTH], "There is no such field", "extra_forbidden") for name in names if name not in COLUMNS
    ]
    repeated = dict.fromkeys(name for name in names if name in COLUMNS and names.count(name) > 1)
    faults += [FieldError(name, "Is the name of more than one column", "repeated_column") for name in repeated]
    if "title" not in names:
        faults.append(FieldError("title", "Field required", "missing"))
    if faults:
        raise InvalidInput(faults[:MAX_FAULTS])
    return names


def _record(number: int, text: bytes, names: Sequence[str], separator: str) -> Record:
    if len(text) > MAX_BYTES:
        return too_long(number)
    fault = None
    try:
        cells = _cells(text, separator)
        if len(cells) != len(names):
            fault = FieldError("", f"The line has {len(cells)} cells, but the first line has {len(names)}", "cell_count")
    except UnicodeDecodeError:
        fault = FieldError("", "The line is not UTF-8", "malformed_csv")
    except csv.Error:
        fault = FieldError("", "The line has unmatched quotation marks, or a cell that is too long", "malformed_csv")
    if fault:
        return Record(number, len(text), faults=[fault])
    values, faults = read_cells(zip(names, cells, strict=True))
    return Record(number, len(text), values, faults)


def _cells(text: bytes, separator: str) -> list[str]:
    return next(csv.reader([text.decode()], delimiter=separator, strict=True), [])


async def _split(chunks: AsyncIterable[bytes], marks: "_Marks") -> AsyncIterator[tuple[int, bytes]]:
    """The records, with the lines on which they begin. One of more than ``MAX_BYTES`` is cut after one byte more."""
    record, line, begins, turns = bytearray(), 1, 1, CooperativeYield()
    async for chunk in chunks:
        at = 0
        while at < len(chunk):
            await turns.checkpoint()
            end = marks.end(chunk, at)
            line += chunk.count(b"\n", at, end)
            record += chunk[at : min(end, at + MAX_BYTES + 1 - len(record))]
            if end < len(chunk):
                yield begins, bytes(record)
                record.clear()
                line += 1
                begins = line
            at = end + 1
    if record:
        yield begins, bytes(record)


class _Marks:
    """Follows the quotation marks: a line that ends inside of a quoted cell ends no record.

    A mark inside of a cell that does not begin with one is a character like any other, as in Python's csv module.
    """

    def __init__(self) -> None:
        self.separate(SEPARATORS)
        self._at_start = True  # of a cell
        self._inside = False  # of a quoted cell
        self._after_mark = False  # inside; whether it ends the cell is for the next byte to say

    def separate(self, separators: str) -> None:
        """From now on each of ``separators``, and nothing else, ends a cell."""
        any_of = re.escape(separators.encode())
        self._rest = re.compile(b"[^\n%b]*+" % any_of)
        self._cells = re.compile(b'(?:(?:"%b"|(?!"))[^\n%b]*+[%b])*+' % (PAIRED, any_of, any_of))

    def end(self, chunk: bytes, at: int) -> int:
        """Where in ``chunk``, of which it has seen all before ``at``, the record ends: at a line end, or not in it."""
        if self._after_mark:
            self._after_mark = False
            self._inside = chunk[at] == QUOTE
            at += self._inside
        if self._inside:
            at = self._leave(chunk, at)
            if self._inside:
                return len(chunk)
        if not self._at_start:
            at = _end(self._rest, chunk, at)
            if at == len(chunk):
                return at
            self._at_start = True
            if chunk[at] == LINE_END:
                return at
            at += 1
        at = _end(self._cells, chunk, at)
        if at < len(chunk) and chunk[at] == QUOTE:
            self._at_start, self._inside = False, True
            at = self._leave(chunk, at + 1)
            if self._inside:
                return len(chunk)
        elif at == len(chunk):
            return at
        at = _end(self._rest, chunk, at)
        self._at_start = at < len(chunk)  # of the next record
        return at

    def _leave(self, chunk: bytes, at: int) -> int:
        """Inside of a quoted cell: the place after its end, if that is in ``chunk`` and known."""
        end = _end(PAIRS, chunk, at)
        if end + 1 == len(chunk):
            self._after_mark = True
        elif end < len(chunk):
            self._inside = False
        return end + 1


def _end(pattern: re.Pattern[bytes], chunk: bytes, at: int) -> int:
    found = pattern.match(chunk, at)
    return found.end() if found else at

"""Reads the records of CSV (RFC 4180) from a stream, with one record in memory at a time."""

import csv
import re
from collections.abc import AsyncIterable, AsyncIterator, Sequence

from taskapi.core.cooperative import CooperativeYield
from taskapi.core.errors import MAX_FAULTS, MAX_FIELD_LENGTH, FieldError, InvalidInput
from taskapi.core.strict_json import BOM
from taskapi.tasks.errors import MalformedImport
from taskapi.tasks.import_export.csv_cells import COLUMNS, read_cells
from taskapi.tasks.import_export.records import BLANK, MAX_BYTES, Record, Records, too_long

SEPARATORS = ",;\t"  # spreadsheets write semicolons where the comma is the decimal separator
MAX_COLUMNS = 100  # each unknown one is an error
QUOTE, LINE_END = b'"\n'
PAIRED = rb'[^"]*+(?:""[^"]*+)*+'  # the rest of a quoted cell up to the mark that ends it; two marks stand for one
PAIRS = re.compile(PAIRED)
UNMATCHED = "unmatched quotation marks, or a carriage return outside of them"


async def csv_records(chunks: AsyncIterable[bytes]) -> Records:
    """Yields the records of CSV whose first record names the columns.

    Raises:
        MalformedImport: the first record cannot be read.
        InvalidInput: names each column that is unknown or repeated, and ``title`` if it is missing.
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
    """The columns named in the first record."""
    try:
        names = [name.strip().lower() for name in _cells(text, separator)] if len(text) <= MAX_BYTES else []
    except UnicodeDecodeError:
        names = []
    except csv.Error:
        raise MalformedImport(f"The first line has {UNMATCHED}.") from None
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
        fault = FieldError("", f"The line has {UNMATCHED}", "malformed_csv")
    if fault:
        return Record(number, len(text), faults=[fault])
    values, faults = read_cells(zip(names, cells, strict=True))
    return Record(number, len(text), values, faults)


def _cells(text: bytes, separator: str) -> list[str]:
    return next(csv.reader([text.decode()], delimiter=separator, strict=True), [])


async def _split(chunks: AsyncIterable[bytes], marks: "_Marks") -> AsyncIterator[tuple[int, bytes]]:
    """Yields each record with the line on which it begins. A record of more than ``MAX_BYTES`` is cut one byte after them."""
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
    """Tracks the quotation marks, because a line end inside a quoted cell does not end the record.

    A mark inside a cell that does not begin with one is an ordinary character, as in Python's csv module.
    """

    def __init__(self) -> None:
        self.separate(SEPARATORS)
        self._at_start = True  # of a cell
        self._inside = False  # of a quoted cell
        self._after_mark = False  # inside; the next byte tells whether the mark ended the cell

    def separate(self, separators: str) -> None:
        """Sets the separators: from now on, each of these characters ends a cell, and no other does."""
        any_of = re.escape(separators.encode())
        self._rest = re.compile(b"[^\n%b]*+" % any_of)
        self._cells = re.compile(b'(?:(?:"%b"|(?!"))[^\n%b]*+[%b])*+' % (PAIRED, any_of, any_of))

    def end(self, chunk: bytes, at: int) -> int:
        """The index of the line end that ends the record, searched from ``at``; ``len(chunk)`` if the record goes on."""
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
        """Inside a quoted cell: the index after the mark that ends it, if it is known to end in ``chunk``."""
        end = _end(PAIRS, chunk, at)
        if end + 1 == len(chunk):
            self._after_mark = True
        elif end < len(chunk):
            self._inside = False
        return end + 1


def _end(pattern: re.Pattern[bytes], chunk: bytes, at: int) -> int:
    found = pattern.match(chunk, at)
    return found.end() if found else at

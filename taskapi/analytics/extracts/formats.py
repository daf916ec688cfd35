"""Writes the rows of a table to a file, and reads columns back, in each format."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from taskapi.analytics.extracts.rows import Row
from taskapi.analytics.extracts.tables import Kind, Table
from taskapi.core.clock import parse_rfc3339, rfc3339
from taskapi.core.errors import StartupError
from taskapi.tasks.import_export.csv_cells import write_cell
from taskapi.tasks.import_export.csv_writer import csv_record

GROUP_ROWS, GROUP_BYTES = 32_768, 32 * 2**20  # in one row group of Parquet, which is in memory: whichever is reached first
MISSING = 'parquet needs pyarrow: .venv/bin/pip install --no-build-isolation -e ".[extract]"; jsonl and csv need nothing else'


class Encoder(Protocol):
    """Turns rows into the bytes of one file."""

    def add(self, rows: Sequence[Row]) -> None:
        """Writes some rows."""

    def finish(self) -> None:
        """Writes what is left."""

    def abandon(self) -> None:
        """Writes nothing more."""


class Format(Protocol):
    """A format of files."""

    def encoder(self, file: BinaryIO, table: Table) -> Encoder:
        """What writes rows of ``table`` to a new file."""

    def read(self, path: Path, table: Table, names: Sequence[str]) -> Iterator[list[Any]]:
        """The values of some columns, row by row."""


class Part:
    """A file of a table that is being written."""

    def __init__(self, path: Path, table: Table, format_: Format) -> None:
        self.path, self.rows = path, 0
        self._file = path.open("wb")
        self._encoder = format_.encoder(self._file, table)

    def add(self, rows: Sequence[Row]) -> None:
        self._encoder.add(rows)
        self.rows += len(rows)

    def close(self) -> int:
        """Makes the file last through a crash. Returns its size in bytes."""
        self._encoder.finish()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self.path.stat().st_size

    def discard(self) -> None:
        """Gives the file up."""
        self._encoder.abandon()
        with suppress(OSError):  # what is buffered cannot be written to a full disk
            self._file.close()
        self.path.unlink(missing_ok=True)


def json_text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Parquet:
    """Columns with types, compressed."""

    def __init__(self) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise StartupError(MISSING) from None
        self._arrow, self._parquet = pyarrow, pyarrow.parquet
        self._types = {
            Kind.text: pyarrow.string(),
            Kind.integer: pyarrow.int64(),
            Kind.number: pyarrow.float64(),
            Kind.flag: pyarrow.bool_(),
            Kind.moment: pyarrow.timestamp("ms", "UTC"),
            Kind.day: pyarrow.date32(),
            Kind.texts: pyarrow.list_(pyarrow.string()),
            Kind.json: pyarrow.string(),
        }

    def encoder(self, file: BinaryIO, table: Table) -> Encoder:
        """See ``Format``."""
        schema = self._arrow.schema([(column.name, self._types[column.kind]) for column in table.columns])
        return _ParquetEncoder(self._arrow, self._parquet.ParquetWriter(file, schema, compression="zstd"), schema, table)

    def read(self, path: Path, table: Table, names: Sequence[str]) -> Iterator[list[Any]]:
        """See ``Format``."""
        with self._parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=list(names)):
                yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)


class _ParquetEncoder:
    def __init__(self, arrow: Any, writer: Any, schema: Any, table: Table) -> None:
        self._arrow, self._writer, self._schema = arrow, writer, schema
        self._json = [place for place, column in enumerate(table.columns) if column.kind is Kind.json]
        self._batches: list[Any] = []

    def add(self, rows: Sequence[Row]) -> None:
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for place in self._json:
            columns[place] = [json_text(value) for value in columns[place]]
        arrays = [self._arrow.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._batches.append(self._arrow.RecordBatch.from_arrays(arrays, schema=self._schema))
        count, size = (sum(getattr(batch, kind) for batch in self._batches) for kind in ("num_rows", "nbytes"))
        if count >= GROUP_ROWS or size >= GROUP_BYTES:
            self._write()

    def finish(self) -> None:
        self._write()
        self._writer.close()

    def abandon(self) -> None:
        self._writer.is_open = False  # otherwise it writes the end of the file when it is collected

    def _write(self) -> None:
        if self._batches:
            self._writer.write_table(self._arrow.Table.from_batches(self._batches))
            self._batches = []


class JSONLines:
    """One JSON object a line, with all columns. JSON is in it as text, like in the other formats."""

    def encoder(self, file: BinaryIO, table: Table) -> Encoder:
        """See ``Format``."""
        kinds = [(column.name, _JSON.get(column.kind)) for column in table.columns]

        def line(row: Row) -> str:
            pairs = zip(kinds, row, strict=True)
            return json.dumps(
                {name: value if convert is None or value is None else convert(value) for (name, convert), value in pairs},
                ensure_ascii=False,
                separators=(",", ":"),
            )

        return _TextEncoder(file, lambda row: f"{line(row)}\n")

    def read(self, path: Path, table: Table, names: Sequence[str]) -> Iterator[list[Any]]:
        """See ``Format``."""
        kinds = [(name, table.column(name).kind) for name in names]
        with path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                found = json.loads(line)
                yield [_read(kind, found[name]) for name, kind in kinds]


class CSV:
    """RFC 4180, with the names of the columns first; an empty cell is null. No spreadsheet runs a text as a formula."""

    def encoder(self, file: BinaryIO, table: Table) -> Encoder:
        """See ``Format``."""
        kinds = [_CELLS.get(column.kind, write_cell) for column in table.columns]
        file.write(csv_record(table.names).encode())
        return _TextEncoder(file, lambda row: csv_record([cell(value) for cell, value in zip(kinds, row, strict=True)]))

    def read(self, path: Path, table: Table, names: Sequence[str]) -> Iterator[list[Any]]:
        """See ``Format``."""
        kinds = [(name, table.column(name).kind) for name in names]
        with path.open(encoding="utf-8", newline="") as file:
            for found in csv.DictReader(file):
                yield [_read(kind, found[name] or None) for name, kind in kinds]


class _TextEncoder:
    def __init__(self, file: BinaryIO, record: Callable[[Row], str]) -> None:
        self._file, self._record = file, record

    def add(self, rows: Iterable[Row]) -> None:
        self._file.write("".join(map(self._record, rows)).encode())

    def finish(self) -> None:
        pass

    def abandon(self) -> None:
        pass


def _json_cell(value: Any) -> Any:
    return write_cell(json_text(value) if isinstance(value, str) else value)


_JSON: Final[Mapping[Kind, Callable[[Any], Any]]] = {Kind.moment: rfc3339, Kind.day: date.isoformat, Kind.json: json_text}
_CELLS: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    Kind.moment: lambda value: None if value is None else rfc3339(value),
    Kind.day: lambda value: None if value is None else value.isoformat(),
    Kind.json: _json_cell,
}


def _read(kind: Kind, value: Any) -> Any:
    if kind is Kind.moment and value is not None:
        return parse_rfc3339(value)
    return value == "true" if kind is Kind.flag and isinstance(value, str) else value


FORMATS: Final[Mapping[str, Callable[[], Format]]] = {"parquet": Parquet, "jsonl": JSONLines, "csv": CSV}

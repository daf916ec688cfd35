"""The report as text, as wide as the terminal."""

import unicodedata
from collections.abc import Iterator
from typing import Final

from taskapi.analytics.report import tables, words
from taskapi.analytics.report.figures import Report
from taskapi.analytics.report.tables import Table

MIN_WIDTH, GAP = 40, 2
ELLIPSIS: Final = "…"


def make_text(report: Report, width: int) -> str:
    """The report in lines of at most ``width`` columns; a title or a name that is longer is cut."""
    width = max(width, MIN_WIDTH)
    lines = [words.scope(report), words.about(report), "", *(f"{value:>10}  {name}" for name, value in tables.tiles(report))]
    for title, table in _sections(report):
        lines += ["", *_wrap(title, width)]
        lines += _columns(table, width) if table.rows else []
    return "\n".join(line for each in lines for line in (_wrap(each, width) if columns(each) > width else [each]))


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: East Asian letters and emoji take two, and combining marks none."""
    return sum(_columns_of(letter) for letter in text)


def cut(text: str, width: int) -> str:
    """``text``, cut with an ellipsis if it takes more than ``width`` columns."""
    if columns(text) <= width:
        return text
    kept, free = "", width - 1
    for letter in text:
        free -= _columns_of(letter)
        if free < 0:
            break
        kept += letter
    return kept + ELLIPSIS


def _sections(report: Report) -> Iterator[tuple[str, Table]]:
    empty = Table((), ())
    yield words.flow_title(report), tables.flow(report) if report.tasks else empty
    yield words.throughput_title(report), tables.throughput(report) if report.tasks else empty
    yield words.lead_time_title(report), _without_zeros(tables.lead_times(report))
    yield words.overdue_title(report), tables.overdue_tags(report)
    yield words.fields_title(report), tables.changed_fields(report)
    yield words.priority_title(report), tables.priorities(report) if report.open else empty


def _without_zeros(table: Table) -> Table:
    return Table(table.columns, [row for row in table.rows if row[1] != "0"])


def _columns(table: Table, width: int) -> list[str]:
    rows = [table.columns, *table.rows]
    others = [max(columns(row[place]) for row in rows) for place in range(1, len(table.columns))]
    first = min(max(columns(row[0]) for row in rows), width - sum(others) - GAP * (len(others) + 1))
    return [
        " " * GAP
        + _left(cut(row[0], first), first)
        + "".join(" " * GAP + _right(cell, size) for cell, size in zip(row[1:], others, strict=True))
        for row in rows
    ]


def _left(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


def _right(text: str, width: int) -> str:
    return " " * (width - columns(text)) + text


def _wrap(text: str, width: int) -> list[str]:
    """The words of a text in lines; a word that is longer than a line is cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if columns(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(cut(word, width))
    return [line for line in lines if line] or [""]


def _columns_of(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1

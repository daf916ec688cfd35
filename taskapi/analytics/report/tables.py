"""The tables of a report: the page has one beside each chart, and the terminal shows nothing else."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from taskapi.analytics.report import words
from taskapi.analytics.report.figures import Count, Report
from taskapi.tasks.schemas import Status


class Table(NamedTuple):
    """A table: the names of its columns, and its rows. The first cell of a row is its name, the others are numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def tiles(report: Report) -> Iterator[tuple[str, str]]:
    """The few numbers at the top."""
    yield "open", f"{report.open:,}"
    yield "of these in progress", f"{report.now[Status.in_progress]:,}"
    yield "overdue", f"{report.overdue:,}"
    full = report.full_weeks[-1] if report.full_weeks else None
    yield ("completed last week", f"{full.completed:,}") if full else ("completed this week", f"{report.weeks[-1].completed:,}")
    yield "median lead time", words.median_lead_time(report)


def flow(report: Report) -> Table:
    """The tasks by status at the end of each week."""
    rows = [("before", report.start), *((words.week_name(week), week.flow) for week in report.weeks)]
    cells = [(name, f"{at.todo:,}", f"{at.in_progress:,}", f"{at.done:,}") for name, at in rows]
    return Table(("end of week", "to do", "in progress", "done"), cells)


def throughput(report: Report) -> Table:
    """What was created and completed in each week."""
    rows = [(words.week_name(week), f"{week.created:,}", f"{week.completed:,}") for week in report.weeks]
    return Table(("week", "created", "completed"), rows)


def lead_times(report: Report) -> Table:
    """How long tasks took."""
    times = report.lead_times
    rows = [
        (words.duration_class(each), f"{each.tasks:,}", f"{each.tasks / times.tasks:.1%}")
        for each in times.classes
        if times.tasks
    ]
    return Table(("lead time", "tasks", "share"), rows)


def overdue_tags(report: Report) -> Table:
    """Overdue tasks by tag."""
    return _counts("tag", "overdue tasks", report.overdue_tags, words.tag)


def changed_fields(report: Report) -> Table:
    """Changes by field."""
    return _counts("field", "changes", report.changed_fields, words.field)


def priorities(report: Report) -> Table:
    """Open tasks by priority."""
    return _counts("priority", "open tasks", report.open_priorities, words.priority)


def _counts(name: str, counted: str, counts: Sequence[Count], text: Callable[[Count], str]) -> Table:
    return Table((name, counted), [(text(each), f"{each.count:,}") for each in counts])

"""The charts of the page, drawn as HTML and SVG that stretches with it, so that their texts stay as large on a telephone.

A chart is hidden from screen readers: the table beside it has its numbers.
"""

from collections.abc import Iterable, Sequence
from html import escape
from math import ceil, log10
from typing import Final

from taskapi.analytics.report import words
from taskapi.analytics.report.figures import DurationClass, Flow, LeadTimes, Report, Week
from taskapi.core.clock import day_of
from taskapi.tasks.schemas import Status

LAYERS: Final = (Status.done, Status.in_progress, Status.todo)  # from the bottom
MAX_LABELS, MAX_NUMBERED = 13, 16
WEEKS_OF_YEAR: Final = 52
CREATED, COMPLETED = "created", "completed"


def ticks(highest: float) -> list[int]:
    """Round numbers for an axis from 0 to at least ``highest``: two to seven of them."""
    top = max(highest, 1)
    size = 10 ** int(log10(top))
    step = next(max(ceil(size * factor / 10), 1) for factor in (1, 2, 5, 10, 20) if top / (size * factor / 10) <= 6)
    return [step * number for number in range(ceil(top / step) + 1)]


def bars(rows: Iterable[tuple[str, int]], colour: str) -> str:
    """Horizontal bars, each with its name and number."""
    found = list(rows)
    most = max((count for _, count in found), default=0) or 1
    lines = (
        f'<div class="label" title="{escape(name)}"><bdi>{escape(name)}</bdi></div>'
        f'<div class="track"><div class="bar {colour}" style="width:{100 * count / most:.2f}%"></div>'
        f'<span class="value">{count:,}</span></div>'
        for name, count in found
    )
    return f'<div class="bars" aria-hidden="true">{"".join(lines)}</div>'


def throughput(report: Report) -> str:
    """Two columns for each week. Those of a week that has not ended are hatched."""
    weeks = report.weeks
    axis = ticks(max(max(week.created, week.completed) for week in weeks))
    columns = []
    for number, week in enumerate(weeks):
        hatched = " unfinished" if week.is_unfinished else ""
        pair = "".join(
            f'<div class="column {name}{hatched if count else ""}" style="height:{100 * count / axis[-1]:.2f}%">'
            f"{f'<span>{count:,}</span>' if len(weeks) <= MAX_NUMBERED and count else ''}</div>"
            for name, count in ((CREATED, week.created), (COMPLETED, week.completed))
        )
        so_far = " so far" if week.is_unfinished else ""
        said = f"{words.week(week)}{so_far}: {week.created:,} created, {week.completed:,} completed"
        label = _date(week, len(weeks) - 1 - number, len(weeks))
        shown = f"{label}<em>so far</em>" if week.is_unfinished else label
        group = f'<div class="pair">{pair}</div><div class="tick">{shown}</div>'
        columns.append(f'<div class="group" title="{escape(said)}">{group}</div>')
    return _plot(axis, f'<div class="columns">{"".join(columns)}</div>')


def flow(report: Report) -> str:
    """The number of tasks by status over time, one on the other. Tasks that were done before are left out."""
    points = [report.start, *(week.flow for week in report.weeks)]
    base = hidden(report)
    axis = ticks(max(point.open + point.done - base for point in points))
    places = [*range(len(report.weeks)), len(report.weeks) - 1 + _elapsed(report)]
    shapes, below = [], [0] * len(points)
    labels = []
    for status in LAYERS:
        above = [low + _count(point, status, base) for low, point in zip(below, points, strict=True)]
        way = [*zip(places, above, strict=True), *reversed(list(zip(places, below, strict=True)))]
        path = " ".join(f"{place:.3f},{axis[-1] - height}" for place, height in way)
        shapes.append(f'<polygon class="{status}" points="{path}"/>')
        middle = 100 * (above[-1] + below[-1]) / 2 / axis[-1]
        labels.append((middle, status, _count(points[-1], status, base)))
        below = above
    box = f'viewBox="0 0 {len(report.weeks)} {axis[-1]}" preserveAspectRatio="none"'
    drawn = f'<svg {box} focusable="false">{"".join(shapes)}</svg>'
    drawn += f'<div class="now" style="left:{100 * places[-1] / len(report.weeks):.2f}%"></div>'
    names = "".join(
        f'<div class="group"><div class="tick">{_date(week, number, len(report.weeks))}</div></div>'
        for number, week in enumerate(report.weeks)
    )
    ends = "".join(
        f'<div class="end {status}" style="bottom:{place:.2f}%"><b>{count:,}</b> {words.STATUSES[status]}</div>'
        for place, status, count in _apart(labels)
    )
    return _plot(axis, f'<div class="area">{drawn}</div><div class="dates">{names}</div><div class="ends">{ends}</div>', "flow")


def hidden(report: Report) -> int:
    """How many done tasks the chart of the flow leaves out: those that were done all the time."""
    return min(point.done for point in (report.start, *(week.flow for week in report.weeks)))


def lead_times(times: LeadTimes) -> str:
    """A column for each class of duration, with a line at the median and one at the 85th percentile."""
    used = [number for number, each in enumerate(times.classes) if each.tasks]
    classes = times.classes[used[0] : used[-1] + 1]
    axis = ticks(max(each.tasks for each in classes))
    columns = "".join(
        f'<div class="group" title="{words.duration_class(each)}: {words.amount(each.tasks, "task")}"><div class="pair">'
        f'<div class="column took" style="height:{100 * each.tasks / axis[-1]:.2f}%"><span>{each.tasks:,}</span></div>'
        f'</div><div class="tick slanted"><i>{words.duration_class(each)}</i></div></div>'
        for each in classes
    )
    marks = _mark(classes, times.median, "median") + _mark(classes, times.p85, "85 %", is_second=True)
    return _plot(axis, f'<div class="columns">{columns}{marks}</div>', "durations")


def _mark(classes: Sequence[DurationClass], seconds: float | None, name: str, *, is_second: bool = False) -> str:
    """A line at a duration. The first one has its name to the left, the second to the right, if there is room."""
    if seconds is None:
        return ""
    number = next(number for number, each in enumerate(classes) if each.high is None or seconds < each.high)
    low, high = classes[number].low, classes[number].high or 2 * classes[number].low
    place = 100 * (number + min((seconds - low) / (high - low), 1)) / len(classes)
    side = "right" if place < (88 if is_second else 15) else "left"
    return f'<div class="mark {side}{" second" if is_second else ""}" style="left:{place:.2f}%"><span>{name}</span></div>'


def _date(week: Week, number: int, weeks: int) -> str:
    """The label of the week with that number, from the last one backwards; none if there would be too many."""
    every = ceil(weeks / MAX_LABELS)
    if number % every:
        return ""
    minor = ' class="minor"' if number % (3 * every) else ""
    name = words.day(week.first_day) if weeks <= WEEKS_OF_YEAR else words.month(week.first_day)
    return f"<span{minor}>{name}</span>"


def _plot(axis: Sequence[int], content: str, kind: str = "") -> str:
    """A plot with horizontal lines at the numbers of its axis."""
    lines = "".join(f'<div class="line" style="bottom:{100 * tick / axis[-1]:.2f}%"><span>{tick:,}</span></div>' for tick in axis)
    return f'<div class="plot {kind}" aria-hidden="true"><div class="axis">{lines}</div>{content}</div>'


def _count(point: Flow, status: Status, base: int) -> int:
    return {Status.done: point.done - base, Status.in_progress: point.in_progress, Status.todo: point.todo}[status]


def _elapsed(report: Report) -> float:
    """The share of the last week that has passed."""
    week = report.weeks[-1]
    if not week.is_unfinished:
        return 1.0
    return min(max(((day_of(report.at, report.zone) - week.first_day).days + 1) / 7, 1 / 7), 1.0)


def _apart(labels: Sequence[tuple[float, Status, int]], least: float = 9.0) -> list[tuple[float, Status, int]]:
    """The labels of layers, moved upwards where one would cover another; those of empty layers are left out."""
    moved, free = list[tuple[float, Status, int]](), 0.0
    for place, status, count in labels:
        if count:
            moved.append((min(max(place, free), 100 - least), status, count))
            free = moved[-1][0] + least
    return moved

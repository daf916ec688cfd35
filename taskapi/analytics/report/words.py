"""What a report says: numbers with their units, and for each chart a sentence that says what is to be seen."""

from datetime import date
from math import ceil
from typing import Final
from zoneinfo import ZoneInfo

from taskapi.analytics.report.figures import Count, DurationClass, Report, Week
from taskapi.tasks.schemas import Status

MINUTE, HOUR, DAY = 60, 3600, 86_400
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # whatever the locale
STATUSES: Final = {Status.todo: "to do", Status.in_progress: "in progress", Status.done: "done"}
DASH: Final = "\N{EN DASH}"
JOINER: Final = "\N{ZERO WIDTH JOINER}"  # within an emoji
NO_TAG: Final = "(no tag)"
NO_PRIORITY: Final = "(none)"


def amount(count: int, noun: str, plural: str = "") -> str:
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def day(value: date) -> str:
    return f"{value.day} {MONTHS[value.month - 1]}"


def month(value: date) -> str:
    return f"{MONTHS[value.month - 1]} {value.year}"


def week(value: Week) -> str:
    return f"{day(value.first_day)} {DASH} {day(value.last_day)} {value.last_day.year}"


def week_name(value: Week) -> str:
    return f"{week(value)} (unfinished)" if value.is_unfinished else week(value)


def duration(seconds: float | None) -> str:
    """In the unit in which it is read most easily."""
    if seconds is None:
        return DASH
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min"
    if seconds < 2 * DAY:
        return f"{seconds / HOUR:.1f} h"
    return f"{seconds / DAY:.1f} days" if seconds < 100 * DAY else f"{seconds / DAY:,.0f} days"


def duration_class(value: DurationClass) -> str:
    """Its limits with their unit, such as 4 to 8 h."""
    if value.high is None:
        return f"over {value.low // DAY} d"
    unit, name = (HOUR, "h") if value.high < DAY else (DAY, "d")
    if not value.low:
        return f"under {value.high // unit} {name}"
    if value.low < DAY <= value.high:
        return f"{value.low // HOUR}{DASH}{value.high // HOUR} h"
    return f"{value.low // unit}{DASH}{value.high // unit} {name}"


def printable(text: str) -> str:
    """``text`` without characters that control a terminal or the direction of what follows."""
    return "".join(letter if letter.isprintable() or letter == JOINER else "\N{REPLACEMENT CHARACTER}" for letter in text)


def scope(report: Report) -> str:
    return f"Tasks of {printable(report.owner)}" if report.owner is not None else "Tasks of all users"


def moment(report: Report) -> str:
    """When it was made, in its time zone."""
    local = report.at.astimezone(ZoneInfo(report.zone))
    return f"{day(local.date())} {local.year}, {local:%H:%M}"


def about(report: Report) -> str:
    """What the report covers."""
    first = report.weeks[0].first_day
    return (
        f"{amount(report.tasks, 'task')} in {printable(report.database)} on {moment(report)} ({report.zone}); "
        f"{amount(len(report.weeks), 'week')} from {day(first)} {first.year} on"
    )


def footer(report: Report) -> str:
    """How to read it."""
    trash = "do not count, except in the changed fields" if report.is_daily else "do not count"
    return (
        f"Weeks begin on Monday, days end at midnight in the zone {report.zone}. Tasks in the trash {trash}. "
        "A lead time is that of a task that was completed in these weeks; a percentile is the time of a task (nearest rank)."
    )


def tag(count: Count) -> str:
    return NO_TAG if count.name is None else printable(count.name)


def field(count: Count) -> str:
    return printable(count.name or "").replace("_", " ")


def priority(count: Count) -> str:
    return {"5": "5 (highest)", "1": "1 (lowest)", None: NO_PRIORITY}.get(count.name, str(count.name))


def flow_title(report: Report) -> str:
    before, after = report.start.open, report.weeks[-1].flow.open
    if not before and not after:
        return "No task is open"
    if before == after:
        return f"{amount(after, 'task is', 'tasks are')} open, as many as {_ago(report)}"
    went = "grew" if after > before else "shrank"
    return f"Open work {went} from {amount(before, 'task')} to {after:,} in {amount(len(report.weeks), 'week')}"


def throughput_title(report: Report) -> str:
    full = report.full_weeks
    created, completed = sum(each.created for each in full), sum(each.completed for each in full)
    this = report.weeks[-1]
    if this.is_unfinished and not created and not completed and (this.created or this.completed or not full):
        return f"This week so far: {this.created:,} created, {this.completed:,} completed"
    if not created and not completed:
        return f"Nothing was created or completed in {_full(report)}"
    if created == completed:
        return f"As many tasks were completed as created in {_full(report)}: {created:,}"
    more, than = ("created", "completed") if created > completed else ("completed", "created")
    return f"More tasks were {more} than {than} in {_full(report)}: {max(created, completed):,} to {min(created, completed):,}"


def median_lead_time(report: Report) -> str:
    median = report.lead_times.median
    return f"< {_limit(report, median)}" if report.is_daily and median is not None else duration(median)


def lead_time_title(report: Report) -> str:
    times = report.lead_times
    if not times.tasks:
        return "No task was completed"
    most = "less than" if report.is_daily else "at most"
    if times.tasks == 1:
        return f"The one completed task took {'less than ' if report.is_daily else ''}{_limit(report, times.median)}"
    return f"Half of the completed tasks took {most} {_limit(report, times.median)}, 85 % {most} {_limit(report, times.p85)}"


def overdue_title(report: Report) -> str:
    if report.is_daily:
        count = amount(report.overdue, "task was", "tasks were") if report.overdue else "No task was"
        return f"{count} overdue at the last refresh{'; the tags are as of now' if report.overdue_tags else ''}"
    if not report.overdue:
        return "No task is overdue"
    most = next((each for each in report.overdue_tags if each.name), None)
    said = amount(report.overdue, "task is", "tasks are") + " overdue"
    if not most:
        return said
    of_them = f"{most.count:,} of them " if most.count < report.overdue else "all of them " if report.overdue > 1 else ""
    return f"{said}, {of_them}tagged “{tag(most)}”"


def priority_title(report: Report) -> str:
    urgent = sum(each.count for each in report.open_priorities if each.name in ("4", "5"))
    if not report.open:
        return "No task is open"
    if not urgent:
        return "No open task has priority 4 or 5"
    return f"{urgent:,} of {amount(report.open, 'open task')} {'has' if urgent == 1 else 'have'} priority 4 or 5"


def fields_title(report: Report) -> str:
    names = [field(each) for each in report.changed_fields[:2]]
    if not names:
        return "No field was changed"
    second = f", then {names[1]}" if len(names) > 1 else ""
    return f"What changes most: {names[0]}{second}"


def _limit(report: Report, percentile: float | None) -> str:
    """What a percentile does not exceed.

    The daily figures have whole hours, rounded down: the hour after it, rounded up to what is shown.
    """
    if not report.is_daily or percentile is None:
        return duration(percentile)
    limit = percentile + HOUR
    step = DAY if limit >= 100 * DAY else DAY / 10 if limit >= 2 * DAY else HOUR
    return duration(ceil(limit / step) * step)


def _full(report: Report) -> str:
    return f"{len(report.full_weeks)} full weeks" if len(report.full_weeks) > 1 else "the last full week"


def _ago(report: Report) -> str:
    return f"{amount(len(report.weeks), 'week')} ago"

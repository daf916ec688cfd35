"""The report as one HTML page: it needs no script, no other file and no other host, and each chart has its table."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Final

from taskapi.analytics.report import charts, words
from taskapi.analytics.report.figures import Count, Report
from taskapi.analytics.report.tables import Table, changed_fields, flow, lead_times, overdue_tags, priorities, throughput, tiles

STYLE: Final = (Path(__file__).with_name("report.css")).read_text(encoding="utf-8")
# Nothing can be loaded, whatever a name or a tag contains.
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def make_page(report: Report) -> str:
    """The report as an HTML document."""
    title = f"{words.scope(report)}, {words.moment(report)}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(words.scope(report))}</h1>
<p class="about">{escape(words.about(report))}</p>
<dl class="tiles">{"".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles(report))}</dl>
<div class="charts">
{"".join(_figures(report))}</div>
<footer>{escape(words.footer(report))}</footer>
</main>
</body>
</html>
"""


def _figures(report: Report) -> Iterable[str]:
    has_flow = report.start.open or any(week.flow.open or week.flow.done for week in report.weeks)
    hidden = charts.hidden(report)
    note = f" Without {words.amount(hidden, 'task')} that had been done before." if hidden else ""
    yield _figure(
        words.flow_title(report),
        f"Cumulative flow: tasks by status, at the end of each week.{note} The dashed line is now.",
        charts.flow(report) if has_flow else None,
        flow(report),
        "wide",
    )
    has_weeks = any(week.created or week.completed for week in report.weeks)
    unfinished = " Hatched: the week that has not ended." if report.weeks[-1].is_unfinished else ""
    yield _figure(
        words.throughput_title(report),
        f"Tasks per week, from Monday on: {_key('created')}, {_key('completed')}.{unfinished}",
        charts.throughput(report) if has_weeks else None,
        throughput(report),
        "wide",
    )
    yield _figure(
        words.lead_time_title(report),
        f"Lead time, from creation to completion: {words.amount(report.lead_times.tasks, 'task')} by how long they took.",
        charts.lead_times(report.lead_times) if report.lead_times.tasks else None,
        lead_times(report),
    )
    yield _figure(
        words.overdue_title(report),
        "Overdue tasks by tag. A task counts for each of its tags.",
        _bars(report.overdue_tags, words.tag, "overdue"),
        overdue_tags(report),
    )
    yield _figure(
        words.fields_title(report),
        f"Changes of fields in {words.amount(len(report.weeks), 'week')}, as far as the histories of tasks go back.",
        charts.bars(((words.field(each), each.count) for each in report.changed_fields), "todo")
        if report.changed_fields
        else None,
        changed_fields(report),
    )
    yield _figure(
        words.priority_title(report),
        "Open tasks by priority.",
        charts.bars(((words.priority(each), each.count) for each in report.open_priorities), "in_progress")
        if report.open
        else None,
        priorities(report),
    )


def _bars(counts: Sequence[Count], name: Callable[[Count], str], colour: str) -> str | None:
    rows = [(name(each), each.count) for each in counts]
    return charts.bars(rows, colour) if any(count for _, count in rows) else None


def _figure(title: str, about: str, chart: str | None, table: Table, kind: str = "") -> str:
    """A chart with its title, a line about it in HTML, and its table; without a chart, there is nothing to show."""
    caption = f"<figcaption><h2>{escape(title)}</h2><p>{about}</p></figcaption>"
    if chart is None:
        return f'<figure class="{kind}">{caption}<p class="empty">Nothing to show yet.</p></figure>\n'
    return f'<figure class="{kind}">{caption}{chart}<details><summary>Table</summary>{_table(title, table)}</details></figure>\n'


def _table(title: str, table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    body = "".join(f"<tr>{_row(row)}</tr>" for row in table.rows)
    rows = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll"><table aria-label="{escape(title)}">{rows}</table></div>'


def _row(row: Sequence[str]) -> str:
    name, *values = row
    return f'<th scope="row"><bdi>{escape(name)}</bdi></th>' + "".join(f"<td>{escape(value)}</td>" for value in values)


def _key(name: str) -> str:
    return f'<span class="key {name}">{name}</span>'

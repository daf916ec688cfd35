#!/usr/bin/env python3
"""Counts the tasks of a taskapi database: a table in the terminal, and the same as charts in a PNG or HTML file.

It speaks to MongoDB alone, imports nothing of taskapi, and only reads. All counting is done by the server; what comes
back is small however many tasks there are.
"""

import argparse
import base64
import html
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    from pymongo import MongoClient
    from pymongo.collection import Collection
    from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError
except ModuleNotFoundError:
    sys.exit("report: needs PyMongo: pip install pymongo")

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BSON = dict[str, Any]
STATUSES = ("todo", "in_progress", "done")
TOP_TAGS = 15
WEEKS = 12
REFUSALS = {18: "refused the user name or password", 13: "does not let this user read the database"}
BLUE, ORANGE, GREEN, RED, GREY = "#3b6fb6", "#e39b33", "#4a9d6e", "#c8504a", "#8a94a6"
STATUS_COLOURS = {"todo": GREY, "in_progress": ORANGE, "done": GREEN}
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{heading}</title>
<style>body {{ font: 15px/1.5 system-ui; max-width: 72rem; margin: 1rem auto }} img {{ width: 100% }}</style>
<img alt="{heading}: charts of the numbers below" src="data:image/png;base64,{picture}">
<pre>{table}</pre>
"""


class Stop(Exception):
    """The report failed; the message says why, in one line."""


@dataclass(frozen=True)
class Report:
    """The counted numbers."""

    heading: str
    total: int
    statuses: dict[str, int]
    priorities: dict[str, int]
    tags: dict[str, int]
    overdue: int
    median_days: float | None  # from creation to completion; None when nothing is done
    weeks: dict[str, tuple[int, int]]  # ISO week (UTC): tasks created, tasks completed

    @property
    def median(self) -> str:
        return "none done" if self.median_days is None else f"{self.median_days:.2f}"


def gather(tasks: Collection[BSON], now: datetime) -> Report:
    """Asks the server for all numbers; those in the trash do not count. Raises Stop when there is no task."""
    from tqdm import tqdm

    today = datetime.combine(now.date(), time.min, UTC)
    monday = today - timedelta(days=today.weekday())
    first, end = monday - timedelta(weeks=WEEKS - 1), monday + timedelta(weeks=1)

    with tqdm(total=5, desc="counting", unit="query", leave=False, disable=None) as bar:

        def ask(*stages: BSON) -> list[BSON]:
            found = list(tasks.aggregate([{"$match": {"state": "active"}}, *stages], allowDiskUse=True))
            bar.update()
            return found

        def per_week(field: str) -> dict[str, int]:
            week = {"$dateToString": {"date": f"${field}", "format": "%G-W%V"}}
            within = {"$match": {field: {"$gte": first, "$lt": end}}}
            return {str(group["_id"]): group["n"] for group in ask(within, {"$group": {"_id": week, "n": {"$sum": 1}}})}

        late = [{"$eq": [{"$type": "$due_date"}, "date"]}, {"$lt": ["$due_date", today]}, {"$ne": ["$status", "done"]}]
        timed = {"created_at": {"$type": "date"}, "completed_at": {"$type": "date"}}
        is_timed = [{"$eq": [{"$type": f"${field}"}, "date"]} for field in timed]
        key = {"status": "$status", "priority": "$priority", "late": {"$and": late}, "timed": {"$and": is_timed}}
        groups = ask({"$group": {"_id": key, "n": {"$sum": 1}}})
        if not groups:
            raise Stop(f"the database {tasks.database.name!r} holds no tasks")
        top = ask(
            {"$unwind": "$tags"},
            {"$group": {"_id": "$tags", "n": {"$sum": 1}}},
            {"$sort": {"n": -1, "_id": 1}},
            {"$limit": TOP_TAGS},
        )
        created, completed = per_week("created_at"), per_week("completed_at")
        # MongoDB 6.0 has no $median: sort, and take the one or two durations in the middle.
        n = sum(group["n"] for group in groups if group["_id"]["timed"])
        middle = ask(
            {"$match": timed},
            {"$project": {"_id": 0, "ms": {"$subtract": ["$completed_at", "$created_at"]}}},
            {"$sort": {"ms": 1}},
            {"$skip": max(n - 1, 0) // 2},
            {"$limit": 1 if n % 2 else 2},
        )

    def total(field: str, known: Sequence[object]) -> dict[str, int]:
        counted = {to_printable(value): 0 for value in known}
        for group in groups:
            name = to_printable(group["_id"].get(field, "none"))
            counted[name] = counted.get(name, 0) + group["n"]
        return counted

    weeks = [(first + timedelta(weeks=number)).strftime("%G-W%V") for number in range(WEEKS)]
    return Report(
        heading=f"Tasks in {tasks.database.name}, {now:%Y-%m-%d %H:%M} UTC",
        total=sum(group["n"] for group in groups),
        statuses=total("status", STATUSES),
        priorities=total("priority", range(1, 6)),
        tags={to_printable(group["_id"]): group["n"] for group in top},
        overdue=sum(group["n"] for group in groups if group["_id"]["late"]),
        median_days=sum(one["ms"] for one in middle) / len(middle) / 86_400_000 if middle else None,
        weeks={week: (created.get(week, 0), completed.get(week, 0)) for week in weeks},
    )


def to_printable(value: object) -> str:
    """``value`` as text without terminal control characters."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(value))


def as_text(report: Report) -> str:
    """The tables with their columns aligned."""
    rows: list[tuple[str, ...]] = [("Tasks", f"{report.total}"), ("Overdue", f"{report.overdue}")]
    rows.append(("Median days to completion", report.median))
    counts = {"Status": report.statuses, "Priority": report.priorities, f"Tag (top {TOP_TAGS})": report.tags}
    for title, counted in counts.items():
        rows += [(), (title, "Tasks", "Share")]
        rows += [(name, f"{count}", f"{count / report.total:.1%}") for name, count in counted.items()]
    rows += [(), ("Week (ISO, UTC)", "Created", "Completed")]
    rows += [(week, f"{created}", f"{completed}") for week, (created, completed) in report.weeks.items()]
    first = max(len(row[0]) for row in rows if row)
    lines = ["".join([row[0].ljust(first), *(cell.rjust(11) for cell in row[1:])]) if row else "" for row in rows]
    return "\n".join([report.heading, "", *lines])


def as_html(report: Report, png: bytes) -> str:
    """One self-contained page with the charts and the tables."""
    return PAGE.format(
        heading=html.escape(report.heading), picture=base64.b64encode(png).decode(), table=html.escape(as_text(report))
    )


def as_png(report: Report) -> bytes:
    """The charts."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    mpl.use("Agg")
    look: Any = {"text.parse_math": False, "font.size": 11, "axes.titlesize": 13, "axes.titleweight": "bold"}  # a tag may be $
    look |= {"axes.titlelocation": "left", "axes.titlepad": 12, "axes.spines.top": False, "axes.spines.right": False}
    look |= {"axes.edgecolor": "#b8c0cc", "xtick.major.size": 0, "ytick.major.size": 0, "axes.axisbelow": True}
    with mpl.rc_context(look):
        layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15, wspace=0.06, hspace=0.05)
        figure = Figure(figsize=(13, 11), layout=layout, facecolor="white")
        figure.suptitle(to_printable(report.heading), fontsize=18, fontweight="bold", x=0.02, ha="left")
        grid = figure.add_gridspec(4, 2, height_ratios=[0.4, 1, 1.15, 1.35], width_ratios=[1, 1])
        _tiles(figure.add_subplot(grid[0, :]), report)
        colours = [STATUS_COLOURS.get(status, BLUE) for status in report.statuses]
        _bars(figure.add_subplot(grid[1, 0]), "Tasks by status", report.statuses, colours)
        _bars(figure.add_subplot(grid[2, 0]), "Tasks by priority", report.priorities, [BLUE])
        _bars(figure.add_subplot(grid[1:3, 1]), f"Tasks by tag (top {TOP_TAGS})", report.tags, [BLUE])
        _weeks(figure.add_subplot(grid[3, :]), report)
        picture = BytesIO()
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a tag in letters the font lacks: the table has it
        figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()


def _tiles(axes: "Axes", report: Report) -> None:
    axes.set_axis_off()
    done = report.statuses["done"] / report.total
    tiles = [("tasks", f"{report.total:,}", BLUE), ("done", f"{done:.1%}", GREEN), ("overdue", f"{report.overdue:,}", RED)]
    for place, (name, value, colour) in enumerate([*tiles, ("median days to completion", report.median, "#222b3a")]):
        axes.text(place / 4, 0.35, value, fontsize=28, fontweight="bold", color=colour, transform=axes.transAxes)
        axes.text(place / 4, 0.0, name, fontsize=12, color="#5c677a", transform=axes.transAxes)


def _bars(axes: "Axes", title: str, counted: dict[str, int], colours: list[str]) -> None:
    names = [name if len(name) <= 24 else name[:23] + "…" for name in counted]
    bars = axes.barh(range(len(names)), list(counted.values()), color=colours, height=0.7)
    axes.bar_label(bars, [f"{count:,}" for count in counted.values()], padding=4)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.margins(x=0.14)
    axes.set_title(title)


def _weeks(axes: "Axes", report: Report) -> None:
    places = range(len(report.weeks))
    for offset, name, colour, which in ((-0.2, "created", BLUE, 0), (0.2, "completed", GREEN, 1)):
        heights = [counts[which] for counts in report.weeks.values()]
        axes.bar([place + offset for place in places], heights, width=0.38, color=colour, label=name)
    axes.set_xticks(places, list(report.weeks))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.locator_params(axis="y", integer=True)
    axes.grid(axis="y", color="#e4e8ee")
    axes.set_ylim(0, 1.05 * max(1, *(max(counts) for counts in report.weeks.values())))
    axes.set_title("Created and completed per ISO week")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)


def require_writable(path: Path) -> None:
    """Raises Stop when the charts could not be saved there."""
    if path.suffix.lower() not in (".png", ".html"):
        raise Stop(f"--output must end in .png or .html, which {path} does not")
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise Stop(f"--output {path} cannot be written")


def require_libraries() -> None:
    """Raises Stop when the libraries that draw are missing."""
    try:
        import matplotlib  # noqa: F401
        import tqdm  # noqa: F401
    except ModuleNotFoundError as error:
        raise Stop(f"needs {error.name}: pip install matplotlib tqdm") from None


def connect(uri: str) -> MongoClient[BSON]:
    """A client that prefers secondaries, unless the address says otherwise. Raises Stop when it is malformed."""
    options: BSON = {"appname": "taskapi-report", "serverSelectionTimeoutMS": 5000, "readPreference": "secondaryPreferred"}
    try:
        return MongoClient(uri, **{name: value for name, value in options.items() if f"{name.lower()}=" not in uri.lower()})
    except (PyMongoError, ValueError):  # their own words could repeat a part of the password
        form = "mongodb://user:password@host:port/, with special characters in user and password percent-encoded"
        hint = " or its host has no SRV record" if uri.startswith("mongodb+srv://") else f"; it reads {form}"
        raise Stop(f"the URI is malformed{hint}") from None


def why(error: PyMongoError, client: MongoClient[BSON]) -> str:
    """Explains in one line what is wrong with the server or the connection."""
    servers = client.topology_description.server_descriptions()
    hosts = ", ".join(f"{host}:{port}" if port else host for host, port in servers)  # a socket has no port
    if isinstance(error, ConnectionFailure):
        return f"MongoDB at {hosts} cannot be reached"
    if isinstance(error, OperationFailure) and error.code in REFUSALS:
        return f"MongoDB at {hosts} {REFUSALS[error.code]}"
    return f"MongoDB: {str(error).split(', full error')[0]}"


def known_address() -> str | None:
    """TASKAPI_MONGODB_URI, else the embedded server of the data folder, else None."""
    embedded = Path(os.environ.get("TASKAPI_DATA_DIR") or ".taskapi") / "mongodb_uri"
    return os.environ.get("TASKAPI_MONGODB_URI") or (embedded.read_text().strip() if embedded.is_file() else None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="report", description=(__doc__ or "").strip(), epilog="It only reads.")
    parser.add_argument("--uri", help="MongoDB to read (default TASKAPI_MONGODB_URI, else the embedded one of .taskapi)")
    parser.add_argument("--database", default="taskapi", help="name of the database (default %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("report.png"), help="a .png or .html file (default %(default)s)")
    options = parser.parse_args()
    uri = options.uri or known_address()
    if uri is None:
        parser.error("--uri is missing, and so are TASKAPI_MONGODB_URI and an embedded server in .taskapi")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        require_writable(options.output)
        require_libraries()
        with connect(uri) as client:
            try:
                report = gather(client[options.database]["tasks"], datetime.now(UTC))
            except PyMongoError as error:
                raise Stop(why(error, client)) from None
        picture = as_png(report)
        is_page = options.output.suffix.lower() == ".html"
        options.output.write_bytes(as_html(report, picture).encode() if is_page else picture)
    except (Stop, OSError) as error:
        sys.exit(f"report: {error}")
    except KeyboardInterrupt:
        print("report: stopped", file=sys.stderr)
        sys.exit(130)
    print(as_text(report))
    print(f"\nSaved {options.output}")


if __name__ == "__main__":
    main()

"""Reports to look at, without a database."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from taskapi.analytics.report.figures import Count, DurationClass, Flow, LeadTimes, Report, Week
from taskapi.stats.schemas import DURATION_LIMITS
from taskapi.tasks.schemas import Status

HOSTILE = "</svg></style><script>document.title='pwned'</script><img src=x onerror=alert(1)>\"'&"
AT = datetime(2026, 11, 26, 18, 30, tzinfo=UTC)  # a Thursday
NO_FLOW = Flow(0, 0, 0)


def report(
    *,
    weeks: Sequence[tuple[int, int, Flow]] = ((0, 0, NO_FLOW),) * 12,
    start: Flow = NO_FLOW,
    now: tuple[int, int, int] = (0, 0, 0),
    overdue: int = 0,
    took: dict[int, int] | None = None,  # by the number of a class
    percentiles: tuple[float | None, float | None] = (None, None),
    tags: Sequence[tuple[str | None, int]] = (),
    fields: Sequence[tuple[str, int]] = (),
    owner: str | None = None,
) -> Report:
    """A report; without arguments, that of an empty database."""
    monday = date(2026, 11, 23) - timedelta(weeks=len(weeks) - 1)
    limits = zip((0, *DURATION_LIMITS), (*DURATION_LIMITS, None), strict=True)
    priorities = [*(Count(str(number), 0) for number in range(5, 1, -1)), Count("1", now[0] + now[1])]
    return Report(
        database="taskapi",
        owner=owner,
        zone="Europe/Berlin",
        at=AT,
        now=dict(zip(Status, now, strict=True)),
        overdue=overdue,
        start=start,
        weeks=[
            Week(first := monday + timedelta(weeks=number), first + timedelta(days=6), *counts, number == len(weeks) - 1)
            for number, counts in enumerate(weeks)
        ],
        lead_times=LeadTimes(
            [DurationClass(low, high, (took or {}).get(number, 0)) for number, (low, high) in enumerate(limits)], *percentiles
        ),
        overdue_tags=[Count(*each) for each in tags],
        open_priorities=priorities,
        changed_fields=[Count(*each) for each in fields],
    )


EMPTY = report()
SINGLE = report(
    weeks=[*((0, 0, NO_FLOW),) * 11, (1, 0, Flow(0, 1, 0))], now=(0, 1, 0), overdue=1, tags=[(None, 1)], fields=[("status", 1)]
)
DONE = report(weeks=[(1, 1, Flow(0, 0, 1))], now=(0, 0, 1), took={0: 1}, percentiles=(0.0, 0.0))
FULL = report(
    start=Flow(900, 600, 8800),
    weeks=[
        (500 + 30 * number, 400 + 30 * number, Flow(900 + 90 * number, 600 + 9 * number, 9300 + 450 * number))
        for number in range(12)
    ],
    now=(1890, 699, 14250),
    overdue=1500,
    took={0: 77, 4: 539, 6: 2575, 7: 1899, 9: 147, 13: 1},
    percentiles=(501_120.0, 1_175_040.0),
    tags=[(None, 484), *((f"tag {number}", 480 - 30 * number) for number in range(14))],
    fields=[("status", 15_099), ("estimate_minutes", 700)],
)
LONG = report(weeks=[(number, number // 2, Flow(number, 1, 2 * number)) for number in range(104)], now=(103, 1, 206))
STRANGE = report(
    owner=HOSTILE,
    weeks=[(6, 0, Flow(0, 6, 0))],
    now=(0, 6, 0),
    overdue=6,
    tags=[(HOSTILE, 6), ("漢字" * 20, 5), ("w" * 40, 4), ("\x1b[31mred", 3), ("a\u202eb", 2), ("عربي", 1)],
    fields=[(HOSTILE, 3)],
)
ALL = {"empty": EMPTY, "single": SINGLE, "done": DONE, "full": FULL, "long": LONG, "strange": STRANGE}

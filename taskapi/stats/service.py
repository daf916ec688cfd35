"""Computes the statistics of an owner's tasks."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import today, utc_now
from taskapi.db.connection import BSON
from taskapi.stats import durations, status_changes
from taskapi.stats.expressions import ESTIMATE, HAS_ESTIMATE, IS_DONE, NO_DATE, ONE, STATUS, is_date, number_of
from taskapi.stats.periods import DAY, Period, limits_of
from taskapi.stats.query import BurndownMeasure, BurndownQuery, PeriodQuery, RangeQuery, StatsQuery, TagsQuery
from taskapi.stats.schemas import BurndownRow, FlowRow, LeadTimes, StatsSummary, TagRow, ThroughputRow
from taskapi.tasks.schemas import Status
from taskapi.tasks.services.aggregation import TaskAggregation

CREATED_AT, COMPLETED_AT = "created_at", "completed_at"
# An import can set a time of completion before that of creation; until then, the task does not exist.
CLOSED_AT: Final[BSON] = {
    "$cond": [is_date(f"${COMPLETED_AT}"), {"$max": [f"${COMPLETED_AT}", f"${CREATED_AT}"]}, None],
}
DURATIONS: Final[Mapping[str, BSON]] = {
    "lead_time": durations.between(f"${CREATED_AT}", f"${COMPLETED_AT}"),
    "cycle_time": durations.between(status_changes.BEGUN_AT, f"${COMPLETED_AT}"),
}
VALUES: Final[Mapping[BurndownMeasure, BSON]] = {BurndownMeasure.tasks: ONE, BurndownMeasure.estimate_minutes: ESTIMATE}
OVERDUE, TODAY, LATER, NO_DUE_DATE = range(4)


@dataclass(frozen=True, slots=True)
class StatsService:
    """Computes statistics. Each raises InvalidInput for an invalid ``where``, or for a range that is not valid."""

    tasks: TaskAggregation

    async def summary(self, owner: UserRead, query: StatsQuery) -> StatsSummary:
        """How many tasks there are in each state."""
        group = {
            "_id": {"status": STATUS, "due": _due(today(query.tz))},
            "tasks": {"$sum": 1},
            "minutes": {"$sum": ESTIMATE},
            "estimated": {"$sum": {"$cond": [HAS_ESTIMATE, 1, 0]}},
        }
        tasks, due, sums = Counter[str](), Counter[int](), Counter[str]()
        for found in await self.tasks.run(owner, query, [{"$group": group}]):
            status = found["_id"]["status"]
            tasks[status] += found["tasks"]
            if status != Status.done:
                due[found["_id"]["due"]] += found["tasks"]
                sums += Counter(minutes=found["minutes"], estimated=found["estimated"])
        opened = tasks[Status.todo] + tasks[Status.in_progress]
        return StatsSummary(
            tasks=tasks.total(),
            open=opened,
            todo=tasks[Status.todo],
            in_progress=tasks[Status.in_progress],
            done=tasks[Status.done],
            overdue=due[OVERDUE],
            due_today=due[TODAY],
            due_later=due[LATER],
            without_due_date=due[NO_DUE_DATE],
            open_estimate_minutes=sums["minutes"],
            open_without_estimate=opened - sums["estimated"],
        )

    async def throughput(self, owner: UserRead, query: PeriodQuery) -> list[ThroughputRow]:
        """How many tasks were created and completed in each period."""
        now = utc_now()
        if not (periods := query.periods(now)):
            return []
        within = {"$gte": periods[0].start, "$lt": periods[-1].end}
        created, completed = await asyncio.gather(
            self._sums(owner, query, periods, f"${CREATED_AT}", {CREATED_AT: within}),
            self._sums(owner, query, periods, f"${COMPLETED_AT}", {COMPLETED_AT: within}),
        )
        return [
            ThroughputRow(**_period(period, now), created=created[number], completed=completed[number])
            for number, period in enumerate(periods, 1)
        ]

    async def burndown(self, owner: UserRead, query: BurndownQuery) -> list[BurndownRow]:
        """What was open at the end of each period. A task whose creation is unknown counts as if it had always been there."""
        now = utc_now()
        if not (periods := query.periods(now)):
            return []
        value, before = VALUES[query.measure], {"$lt": periods[-1].end}
        created, completed = await asyncio.gather(
            self._sums(owner, query, periods, f"${CREATED_AT}", value=value),
            self._sums(owner, query, periods, CLOSED_AT, {COMPLETED_AT: before}, value),
        )
        rows, opened = [], created[NO_DATE] + created[0] - completed[0]
        for number, period in enumerate(periods, 1):
            opened += created[number] - completed[number]
            rows.append(BurndownRow(**_period(period, now), open=opened if period.start <= now else None))
        return rows

    async def flow(self, owner: UserRead, query: PeriodQuery) -> list[FlowRow]:
        """How many tasks had each status at the end of each period."""
        now = utc_now()
        if not (periods := query.periods(now)):
            return []
        found = await self.tasks.run(owner, query, status_changes.stages(limits_of(periods)))
        return [
            FlowRow(
                **_period(period, now), **{status: count if period.start <= now else None for status, count in counts.items()}
            )
            for period, counts in zip(periods, status_changes.read(found, len(periods)), strict=True)
        ]

    async def lead_times(self, owner: UserRead, query: RangeQuery) -> LeadTimes:
        """How long the tasks took that were completed within the range."""
        start, end = query.interval(utc_now())
        within = {COMPLETED_AT: {"$gte": start, "$lt": end}}
        (found,) = await self.tasks.run(owner, query, durations.stages(DURATIONS), within)
        return LeadTimes(**{name: durations.read(found, name) for name in DURATIONS})

    async def tags(self, owner: UserRead, query: TagsQuery) -> list[TagRow]:
        """How many tasks have each tag: the most frequent first, then by code points."""
        is_overdue = {"$and": [{"$not": [IS_DONE]}, {"$eq": [_due(today(query.tz)), OVERDUE]}]}
        stages: list[BSON] = [
            {"$project": {"_id": 0, "tags": 1, "done": {"$cond": [IS_DONE, 1, 0]}, "overdue": {"$cond": [is_overdue, 1, 0]}}},
            {"$unwind": "$tags"},
            {
                "$group": {
                    "_id": "$tags",
                    "tasks": {"$sum": 1},
                    "done": {"$sum": "$done"},
                    "overdue": {"$sum": "$overdue"},
                }
            },
            {"$match": {"$expr": {"$eq": [{"$type": "$_id"}, "string"]}}},  # a query would also find a list of texts
            {"$sort": {"tasks": -1, "_id": 1}},
            {"$limit": query.limit},
        ]
        return [
            TagRow(
                tag=each["_id"],
                tasks=each["tasks"],
                open=each["tasks"] - each["done"],
                overdue=each["overdue"],
                done=each["done"],
            )
            for each in await self.tasks.run(owner, query, stages)
        ]

    async def _sums(
        self,
        owner: UserRead,
        query: StatsQuery,
        periods: Sequence[Period],
        time: Any,
        condition: BSON | None = None,
        value: BSON = ONE,
    ) -> Counter[int]:
        """The sum of ``value`` over the tasks whose ``time`` is in each period: by its number from 1, see ``number_of``."""
        limits = limits_of(periods)
        stages: list[BSON] = [
            {"$project": {"_id": 0, "number": number_of(time, limits), "value": value}},
            {"$group": {"_id": "$number", "sum": {"$sum": "$value"}}},
        ]
        return Counter({each["_id"]: each["sum"] for each in await self.tasks.run(owner, query, stages, condition)})


def _due(today: datetime) -> BSON:
    """Whether a task is due before ``today``, on it, later, or has no due date."""
    when = {"$cond": [{"$lt": ["$due_date", today]}, OVERDUE, {"$cond": [{"$lt": ["$due_date", today + DAY]}, TODAY, LATER]}]}
    return {"$cond": [is_date("$due_date"), when, NO_DUE_DATE]}


def _period(period: Period, now: datetime) -> dict[str, Any]:
    return {"first_day": period.first_day, "last_day": period.last_day, "unfinished": period.end > now}

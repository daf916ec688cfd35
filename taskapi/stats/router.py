"""Routes of the statistics."""

from typing import Annotated

from fastapi import Depends, Query, Request, Response

from taskapi.accounts.dependencies import TaskReader
from taskapi.stats import durations
from taskapi.stats.query import BurndownQuery, PeriodQuery, RangeQuery, StatsQuery, TagsQuery
from taskapi.stats.responses import documented, respond
from taskapi.stats.schemas import BurndownRow, DurationRow, FlowRow, LeadTimes, StatsSummary, TagRow, ThroughputRow
from taskapi.stats.service import StatsService
from taskapi.web import admission
from taskapi.web.routing import strict_router
from taskapi.web.services import provided

router = strict_router(prefix="/stats", tags=["statistics"])

Stats = Annotated[StatsService, Depends(provided(StatsService))]


@router.get(
    "/summary",
    summary="Count your tasks",
    response_model=StatsSummary,
    response_description="The numbers.",
    **documented(StatsSummary),
)
@admission.limited(admission.STATISTICS)
async def read_summary(query: Annotated[StatsQuery, Query()], user: TaskReader, stats: Stats, request: Request) -> Response:
    """How many tasks there are in each status, and when the open ones are due. All filters of lists apply."""
    found = await stats.summary(user, query)
    return respond(request, query.format, found, [found], StatsSummary)


@router.get(
    "/throughput",
    summary="Count created and completed tasks",
    response_model=list[ThroughputRow],
    response_description="A row for each period, also for those in which nothing happened.",
    **documented(ThroughputRow),
)
@admission.limited(admission.STATISTICS)
async def read_throughput(query: Annotated[PeriodQuery, Query()], user: TaskReader, stats: Stats, request: Request) -> Response:
    """How many tasks were created and completed in each day, week or month. A filter selects tasks by what they are now."""
    rows = await stats.throughput(user, query)
    return respond(request, query.format, rows, rows, ThroughputRow)


@router.get(
    "/burndown",
    summary="Count open tasks over time",
    response_model=list[BurndownRow],
    response_description="A row for each period.",
    **documented(BurndownRow),
)
@admission.limited(admission.STATISTICS)
async def read_burndown(query: Annotated[BurndownQuery, Query()], user: TaskReader, stats: Stats, request: Request) -> Response:
    """How many tasks were open at the end of each period, or their estimated minutes.

    A task counts as open from `created_at` to `completed_at`; one that was reopened, until it was last completed. A filter
    selects tasks by what they are now.
    """
    rows = await stats.burndown(user, query)
    return respond(request, query.format, rows, rows, BurndownRow)


@router.get(
    "/flow",
    summary="Count tasks by status over time",
    response_model=list[FlowRow],
    response_description="A row for each period, for a cumulative flow diagram.",
    **documented(FlowRow),
)
@admission.limited(admission.STATISTICS)
async def read_flow(query: Annotated[PeriodQuery, Query()], user: TaskReader, stats: Stats, request: Request) -> Response:
    """How many tasks had each status at the end of each period. A filter selects tasks by what they are now."""
    rows = await stats.flow(user, query)
    return respond(request, query.format, rows, rows, FlowRow)


@router.get(
    "/lead-time",
    summary="Measure how long tasks took",
    response_model=LeadTimes,
    response_description="Percentiles and a histogram.",
    **documented(DurationRow),
)
@admission.limited(admission.STATISTICS)
async def read_lead_time(query: Annotated[RangeQuery, Query()], user: TaskReader, stats: Stats, request: Request) -> Response:
    """How long the tasks took that were completed within a range of days: since their creation, and since work on them began.

    In CSV, a row of the statistic `from` is a class of the histogram: the tasks that took at least so many seconds, and less than
    in the next row.
    """
    found = await stats.lead_times(user, query)
    return respond(request, query.format, found, durations.rows(found), DurationRow)


@router.get(
    "/tags",
    summary="Count tasks by tag",
    response_model=list[TagRow],
    response_description="A row for each tag, the most frequent first.",
    **documented(TagRow),
)
@admission.limited(admission.STATISTICS)
async def read_tags(query: Annotated[TagsQuery, Query()], user: TaskReader, stats: Stats, request: Request) -> Response:
    """How many tasks have each tag. All filters of lists apply; with `tag`, these are the tags that occur together with it."""
    rows = await stats.tags(user, query)
    return respond(request, query.format, rows, rows, TagRow)

"""How MongoDB runs a query, in its own words."""

from typing import Any

from beanie import Document
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo.collation import Collation

from taskapi.db.connection import BSON
from taskapi.tasks.query.search import Plan
from tests.stored import collection

UNBOUNDED: CodecOptions[BSON] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)  # ends of ranges
OTHERS = "rejectedPlans"


def stages(plan: Any) -> set[str]:
    """The names of all stages anywhere in an explained plan that won."""
    if isinstance(plan, list):
        return set().union(*map(stages, plan)) if plan else set()
    if not isinstance(plan, dict):
        return set()
    own = {plan["stage"]} if "stage" in plan else set()
    return own.union(*(stages(value) for name, value in plan.items() if name != OTHERS))


def found_in(plan: Any, name: str) -> list[Any]:
    """The values of that key anywhere in an explained plan that won."""
    if isinstance(plan, list):
        return [found for part in plan for found in found_in(part, name)]
    if not isinstance(plan, dict):
        return []
    if name in plan:
        return [plan[name]]
    return [found for key, part in plan.items() if key != OTHERS for found in found_in(part, name)]


async def explain(
    document: type[Document], pipeline: list[BSON], collation: Collation | None = None, hint: str | None = None
) -> BSON:
    """What MongoDB says of a pipeline after it has run it."""
    command: BSON = {"aggregate": collection(document).name, "pipeline": pipeline, "cursor": {}}
    if collation is not None:
        command["collation"] = collation.document
    if hint is not None:
        command["hint"] = hint
    explained: BSON = await collection(document).database.command(
        {"explain": command, "verbosity": "executionStats"}, codec_options=UNBOUNDED
    )
    return explained


def total_of(plan: Plan) -> list[BSON]:
    """The pipeline that counts, which may be the last stage of the page's."""
    pipeline: list[BSON] = plan.total or plan.page[-1]["$unionWith"]["pipeline"]
    return pipeline

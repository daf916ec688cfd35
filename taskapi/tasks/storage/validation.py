"""What MongoDB checks of a stored task beyond the type of each field: see ``db.validators``."""

import sys

from taskapi.db.connection import BSON
from taskapi.db.expressions import DAY_MS, list_or_empty
from taskapi.tasks.fields import DAYS, NOT_AFTER
from taskapi.tasks.metadata import MAX_BYTES, MAX_DEPTH, MAX_KEYS
from taskapi.tasks.schemas import Status
from taskapi.tasks.storage.scope import ACTIVE, IN_TRASH, PURGED

PRESENT, ABSENT = {"$exists": True}, {"$exists": False}
# A value takes at most five times as many bytes in BSON as in JSON: a digit and a comma become a type, a key of up to four
# digits with its end, and four bytes.
BSON_PER_JSON = 5
SCALARS = ["string", "int", "long", "double", "bool", "null"]
FINITE = {"minimum": -sys.float_info.max, "maximum": sys.float_info.max}


def _members(depth: int) -> BSON:
    """The schema of an object at this depth of metadata, 1 for metadata itself, as far as it concerns its members."""
    return {
        "maxProperties": MAX_KEYS,
        "patternProperties": {r"^\$": {"not": {}}},
        "additionalProperties": _value(depth + 1),
    }


def _value(depth: int) -> BSON:
    """The schema of a value at this depth of metadata."""
    if depth > MAX_DEPTH:
        return {"bsonType": SCALARS, **FINITE}
    return {"bsonType": [*SCALARS, "object", "array"], **FINITE, **_members(depth), "items": _value(depth + 1)}


METADATA: BSON = {"bsonType": "object", **_members(1)}


def _count_keys(value: str = "$metadata", depth: int = 1) -> BSON:
    """The number of keys of an object at this depth of metadata, with those of its members."""
    pairs = {"$objectToArray": value}
    is_object = {"$eq": [{"$type": value}, "object"]}
    members = {"$cond": [is_object, {"$map": {"input": pairs, "in": "$$this.v"}}, list_or_empty(value)]}
    own = {"$cond": [is_object, {"$size": pairs}, 0]}
    if depth == MAX_DEPTH:
        return own
    name = f"member{depth}"
    inner = {"$map": {"input": members, "as": name, "in": _count_keys(f"$${name}", depth + 1)}}
    return {"$add": [own, {"$sum": inner}]}


def _is_midnight(name: str) -> BSON:
    milliseconds = {"$convert": {"input": f"${name}", "to": "long", "onError": 1, "onNull": 0}}
    return {"$comment": f"`{name}` is midnight UTC, or null.", "$expr": {"$eq": [{"$mod": [milliseconds, DAY_MS]}, 0]}}


def _is_not_after(name: str, other: str) -> BSON:
    return {
        "$comment": f"`{name}` is not after `{other}` if both have a value.",
        "$or": [{name: None}, {other: None}, {"$expr": {"$lte": [f"${name}", f"${other}"]}}],
    }


RULES: list[BSON] = [
    {
        "$comment": "`completed` is true, and `completed_at` a date, if and only if `status` is `done`.",
        "$or": [
            {"status": Status.done.value, "completed": True, "completed_at": {"$type": "date"}},
            {"status": {"$ne": Status.done.value}, "completed": False, "completed_at": None},
        ],
    },
    {
        "$comment": "Either `owner` or `trash` is present.",
        "$or": [{"owner": PRESENT, "trash": ABSENT}, {"owner": ABSENT, "trash": PRESENT}],
    },
    {"$comment": "`state` is not `purged`.", "state": {"$ne": PURGED}},
    *(_is_midnight(name) for name in sorted(DAYS)),
    *(_is_not_after(name, other) for name, other in NOT_AFTER.items()),
    {"$comment": f"`metadata` has at most {MAX_KEYS} keys in all.", "$expr": {"$lte": [_count_keys(), MAX_KEYS]}},
    {  # its bytes as JSON cannot be counted, but those of BSON limit them
        "$comment": f"`metadata` has at most {BSON_PER_JSON * MAX_BYTES:,} bytes in BSON.",
        "$expr": {"$lte": [{"$bsonSize": {"metadata": "$metadata"}}, BSON_PER_JSON * MAX_BYTES]},
    },
]
# Workers of version 1.4 and before move tasks to the trash and back without a change of ``state``.
LATER_RULES: list[BSON] = [
    {
        "$comment": "`state` says whether `owner` or `trash` is present.",
        "$or": [{"state": ACTIVE, "owner": PRESENT}, {"state": IN_TRASH, "trash": PRESENT}],
    },
]

"""The indexes of tasks."""

from pymongo import ASCENDING, DESCENDING, TEXT
from pymongo.collation import Collation, CollationStrength

from taskapi.db.indexes import Index

OWNER = ("owner.id", ASCENDING)
NEWEST = [("created_at", DESCENDING), ("_id", DESCENDING)]
BY_ID = ("_id", ASCENDING)
ALL_OF_OWNER = "owner_newest"  # the index of all tasks of an owner
# Sorts as people do: by letters, then by accents and case, and numbers by value. The last level distinguishes all other texts,
# so that only the Unicode forms of one text are equal.
COLLATION = Collation(locale="en", strength=CollationStrength.IDENTICAL, numericOrdering=True)
SEARCHED = {"title": 10, "tags": 5, "checklist.text": 3, "description": 1}  # and the weight of a word in each

INDEXES = [
    Index([OWNER, *NEWEST], name=ALL_OF_OWNER, serves="an owner's tasks, newest first; their number"),
    Index(
        [OWNER, ("status", ASCENDING), *NEWEST],
        name="owner_status_newest",
        serves="by status, or by whether they are done, newest first",
    ),
    Index([OWNER, ("priority", ASCENDING), *NEWEST], name="owner_priority_newest", serves="by priority, newest first"),
    Index([OWNER, ("tags", ASCENDING), *NEWEST], name="owner_tag_newest", serves="by tag, newest first"),
    Index(
        [OWNER, ("status", ASCENDING), ("due_date", ASCENDING), BY_ID],
        name="owner_status_due",
        serves="overdue tasks; by status and due date",
    ),
    Index(
        [OWNER, ("completed_at", ASCENDING)],
        name="owner_completed",
        serves="by when they were completed; the numbers of `GET /stats/throughput`, `/stats/burndown` and `/stats/lead-time`",
    ),
    Index([OWNER, ("due_date", ASCENDING), BY_ID], name="owner_due", serves="by due date; sorted by due date"),
    Index(
        [OWNER, ("priority", DESCENDING), ("due_date", ASCENDING), BY_ID],
        name="owner_priority_due",
        serves="sorted by descending priority, then due date, or the reverse",
    ),
    Index([OWNER, ("priority", ASCENDING), BY_ID], name="owner_priority", serves="sorted by priority"),
    Index(
        [OWNER, ("title", ASCENDING), BY_ID],
        name="owner_title_collated",
        serves="sorted by title, as people sort: by letters before case, and numbers by value",
        collation=COLLATION,
    ),
    Index([OWNER, ("updated_at", ASCENDING), BY_ID], name="owner_updated", serves="sorted by last change"),
    Index(
        [("changed_at", ASCENDING), BY_ID],
        name="changed",
        serves="scripts that [load what has changed](../changes.md), of all owners",
    ),
    Index(
        [OWNER, *((name, TEXT) for name in SEARCHED)],
        name="owner_text",
        serves="text search (`q`), for words as they are: texts come in every language",
        weights=SEARCHED,
        default_language="none",
        language_override="no_such_field",
        partialFilterExpression={"owner.id": {"$exists": True}},  # not for the trash
    ),
    Index(
        [("metadata.$**", ASCENDING)],
        name="metadata_any",
        serves="filters on `metadata`, by dotted path",
        partialFilterExpression={"owner.id": {"$exists": True}},  # not for the trash
    ),
    Index(
        [OWNER, ("key", ASCENDING)],
        name="owner_key",
        serves="imports; keys that are unique for their owner",
        unique=True,
        partialFilterExpression={"key": {"$exists": True}, "owner.id": {"$exists": True}},
    ),
    Index(
        [("trash.owner.id", ASCENDING), ("trash.deleted_at", DESCENDING), ("_id", DESCENDING)],
        name="trash_newest",
        serves="an owner's trash, last deleted first",
        partialFilterExpression={"trash.owner.id": {"$exists": True}},
    ),
    Index(
        [("trash.expires_at", ASCENDING)],
        name="trash_expiry",
        serves="the removal of expired tasks from the trash",
        expireAfterSeconds=0,
        sparse=True,
    ),
]

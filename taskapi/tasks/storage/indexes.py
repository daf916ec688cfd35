"""The indexes of tasks."""

from pymongo import ASCENDING, DESCENDING, TEXT
from pymongo.collation import Collation, CollationStrength

from taskapi.db.indexes import Index
from taskapi.tasks.storage.scope import ACTIVE, IN_TRASH

OWNER = ("owner_id", ASCENDING)
STATE = ("state", ASCENDING)
NEWEST = [("created_at", DESCENDING), ("_id", DESCENDING)]
BY_ID = ("_id", ASCENDING)
ALL_OF_OWNER = "owner_id_newest"  # the index of all tasks of an owner
CHANGED_OF_OWNER = "owner_id_changed"
ID_INDEX = "_id_"  # MongoDB's own: named as a hint, no other index is considered
OUTSIDE_TRASH = {"state": ACTIVE}
# Sorts as people do: by letters, then by accents and case, and numbers by value. The last level distinguishes all other texts,
# so that only the Unicode forms of one text are equal.
COLLATION = Collation(locale="en", strength=CollationStrength.IDENTICAL, numericOrdering=True)
SEARCHED = {"title": 10, "tags": 5, "checklist.text": 3, "description": 1}  # and the weight of a word in each

INDEXES = [
    Index([OWNER, STATE, *NEWEST], name=ALL_OF_OWNER, serves="an owner's tasks, newest first; their number"),
    Index(
        [OWNER, STATE, ("status", ASCENDING), *NEWEST],
        name="owner_id_status_newest",
        serves="by status, or by whether they are done, newest first",
    ),
    Index([OWNER, STATE, ("priority", ASCENDING), *NEWEST], name="owner_id_priority_newest", serves="by priority, newest first"),
    Index([OWNER, STATE, ("tags", ASCENDING), *NEWEST], name="owner_id_tag_newest", serves="by tag, newest first"),
    Index(
        [OWNER, STATE, ("status", ASCENDING), ("due_date", ASCENDING), BY_ID],
        name="owner_id_status_due",
        serves="overdue tasks; by status and due date",
    ),
    Index(
        [OWNER, STATE, ("completed_at", ASCENDING)],
        name="owner_id_completed",
        serves="by when they were completed; the numbers of `GET /stats/throughput`, `/stats/burndown` and `/stats/lead-time`",
    ),
    Index([OWNER, STATE, ("due_date", ASCENDING), BY_ID], name="owner_id_due", serves="by due date; sorted by due date"),
    Index(
        [OWNER, STATE, ("priority", DESCENDING), ("due_date", ASCENDING), BY_ID],
        name="owner_id_priority_due",
        serves="sorted by descending priority, then due date, or the reverse",
    ),
    Index([OWNER, STATE, ("priority", ASCENDING), BY_ID], name="owner_id_priority", serves="sorted by priority"),
    Index(
        [OWNER, STATE, ("title", ASCENDING), BY_ID],
        name="owner_id_title_collated",
        serves="sorted by title, as people sort: by letters before case, and numbers by value",
        collation=COLLATION,
    ),
    Index([OWNER, STATE, ("updated_at", ASCENDING), BY_ID], name="owner_id_updated", serves="sorted by last change"),
    Index(
        [OWNER, ("changed_at", ASCENDING), BY_ID],
        name=CHANGED_OF_OWNER,
        serves="what has changed of an owner's tasks: `GET /tasks/changes`",
    ),
    Index(
        [("changed_at", ASCENDING), BY_ID],
        name="changed",
        serves="scripts that [load what has changed](../changes.md), of all owners",
    ),
    Index(
        # A collection has at most one text index, so another could not be built while this one is in use: its owner stays where
        # version 1.4 has it.
        [("owner.id", ASCENDING), *((name, TEXT) for name in SEARCHED)],
        name="owner_text",
        serves="text search (`q`), for words as they are: texts come in every language",
        weights=SEARCHED,
        default_language="none",
        language_override="no_such_field",
        partialFilterExpression={"owner.id": {"$exists": True}},  # not for the trash
    ),
    # Not without the trash: a query with a collation could not use it.
    Index([("metadata.$**", ASCENDING)], name="metadata_paths", serves="filters on `metadata`, by dotted path"),
    Index(
        [OWNER, ("key", ASCENDING)],
        name="owner_id_key",
        serves="imports; keys that are unique for their owner",
        unique=True,
        partialFilterExpression={"key": {"$exists": True}, **OUTSIDE_TRASH},
    ),
    Index(
        [OWNER, ("trash.deleted_at", DESCENDING), ("_id", DESCENDING)],
        name="owner_id_deleted",
        serves="an owner's trash, last deleted first",
        partialFilterExpression={"state": IN_TRASH},
    ),
    Index(
        [("trash.expires_at", ASCENDING)],
        name="trash_due",
        serves="the background job that purges what has expired in the trash, of all owners",
        partialFilterExpression={"state": IN_TRASH},
    ),
    Index(
        [("expires_at", ASCENDING)],
        name="tombstone_expiry",
        serves="the removal of tombstones by MongoDB",
        expireAfterSeconds=0,
        sparse=True,
    ),
]

MOVED_INTO_TRASH, MOVED_OUT_OF_TRASH = "moved_into_trash", "moved_out_of_trash"  # see ``adoption``
FORMER_INDEXES = frozenset(
    {
        "owner_title",  # by code points, up to version 1.2
        # Those of version 1.4, which begin with owner.id.
        "owner_newest", "owner_status_newest", "owner_priority_newest", "owner_tag_newest", "owner_status_due", "owner_completed",
        "owner_due", "owner_priority_due", "owner_priority", "owner_title_collated", "owner_updated", "owner_key",
        "metadata_any", "trash_newest",
        "trash_expiry",  # by which MongoDB removed what had expired in the trash, without a tombstone
    }
)  # fmt: skip
"""The indexes that earlier versions need. The contract phase of the migrations drops them."""

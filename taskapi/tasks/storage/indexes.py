"""The indexes of tasks, each with the query that it serves."""

from pymongo import ASCENDING, DESCENDING, TEXT, IndexModel
from pymongo.collation import Collation, CollationStrength

OWNER = ("owner.id", ASCENDING)
NEWEST = [("created_at", DESCENDING), ("_id", DESCENDING)]
BY_ID = ("_id", ASCENDING)
ALL_OF_OWNER = "owner_newest"  # the index of all tasks of an owner
# Sorts as people do: by letters, then by accents and case, and numbers by value. The last level distinguishes all other texts,
# so that only the Unicode forms of one text are equal.
COLLATION = Collation(locale="en", strength=CollationStrength.IDENTICAL, numericOrdering=True)
SEARCHED = {"title": 10, "tags": 5, "checklist.text": 3, "description": 1}  # and the weight of a word in each

INDEXES = [
    # GET /tasks: the owner's newest first; and the count of all
    IndexModel([OWNER, *NEWEST], name=ALL_OF_OWNER),
    # ?status= and ?completed= (done or not), newest first
    IndexModel([OWNER, ("status", ASCENDING), *NEWEST], name="owner_status_newest"),
    # ?priority=, newest first
    IndexModel([OWNER, ("priority", ASCENDING), *NEWEST], name="owner_priority_newest"),
    # ?tag=, newest first
    IndexModel([OWNER, ("tags", ASCENDING), *NEWEST], name="owner_tag_newest"),
    # ?overdue=true, and ?status= with a due date; ?completed=false&sort=due_date
    IndexModel([OWNER, ("status", ASCENDING), ("due_date", ASCENDING), BY_ID], name="owner_status_due"),
    # ?where= on completed_at: what was done in a week; GET /stats/throughput, /stats/burndown, /stats/lead-time
    IndexModel([OWNER, ("completed_at", ASCENDING)], name="owner_completed"),
    # ?due_before=, ?due_after=; ?sort=due_date either way
    IndexModel([OWNER, ("due_date", ASCENDING), BY_ID], name="owner_due"),
    # ?sort=-priority,due_date and its reverse
    IndexModel([OWNER, ("priority", DESCENDING), ("due_date", ASCENDING), BY_ID], name="owner_priority_due"),
    # ?sort=priority either way
    IndexModel([OWNER, ("priority", ASCENDING), BY_ID], name="owner_priority"),
    # ?sort=title either way, as people sort
    IndexModel([OWNER, ("title", ASCENDING), BY_ID], name="owner_title_collated", collation=COLLATION),
    # ?sort=updated_at either way: what changed last
    IndexModel([OWNER, ("updated_at", ASCENDING), BY_ID], name="owner_updated"),
    # scripts: what has changed since they last looked, of all owners
    IndexModel([("changed_at", ASCENDING), BY_ID], name="changed"),
    # ?q=, the words as they are: texts come in every language
    IndexModel(
        [OWNER, *((name, TEXT) for name in SEARCHED)],
        name="owner_text",
        weights=SEARCHED,
        default_language="none",
        language_override="no_such_field",
        partialFilterExpression={"owner.id": {"$exists": True}},  # not for the trash
    ),
    # ?where= on what callers keep in metadata, by dotted path
    IndexModel(
        [("metadata.$**", ASCENDING)],
        name="metadata_any",
        partialFilterExpression={"owner.id": {"$exists": True}},  # not for the trash
    ),
    # POST /tasks/import: a key names one task of an owner
    IndexModel(
        [OWNER, ("key", ASCENDING)],
        name="owner_key",
        unique=True,
        partialFilterExpression={"key": {"$exists": True}, "owner.id": {"$exists": True}},
    ),
    # GET /trash: the last deleted first
    IndexModel(
        [("trash.owner.id", ASCENDING), ("trash.deleted_at", DESCENDING), ("_id", DESCENDING)],
        name="trash_newest",
        partialFilterExpression={"trash.owner.id": {"$exists": True}},
    ),
    # the trash empties itself
    IndexModel([("trash.expires_at", ASCENDING)], name="trash_expiry", expireAfterSeconds=0, sparse=True),
]

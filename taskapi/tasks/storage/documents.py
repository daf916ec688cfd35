"""How a task is stored."""

from datetime import datetime
from typing import Any, ClassVar

from beanie import Document, PydanticObjectId
from pydantic import BaseModel
from pymongo import ASCENDING, DESCENDING, TEXT, IndexModel
from pymongo.collation import Collation, CollationStrength

from taskapi.tasks.schemas import Status
from taskapi.tasks.storage.history import Action

OWNER = ("owner.id", ASCENDING)
NEWEST = [("created_at", DESCENDING), ("_id", DESCENDING)]
BY_ID = ("_id", ASCENDING)
# Letters as people sort them, accents and case coming after, numbers by their value. The last level tells apart whatever
# else differs, so that only the two ways to write one text in Unicode are equal.
COLLATION = Collation(locale="en", strength=CollationStrength.IDENTICAL, numericOrdering=True)
SEARCHED = {"title": 10, "tags": 5, "checklist.text": 3, "description": 1}  # and what a word counts there


class Owner(BaseModel):
    """The embedded reference to a user; the name is a copy that follows the account's."""

    id: PydanticObjectId
    username: str


class Item(BaseModel):
    """An item of a checklist."""

    id: PydanticObjectId
    text: str
    done: bool


class Trash(BaseModel):
    """What a deleted task has in place of its owner."""

    owner: Owner
    deleted_at: datetime
    expires_at: datetime


class Entry(BaseModel):
    """One write in the history of a task."""

    version: int  # the one that it made
    at: datetime
    by: Owner
    action: Action
    request_id: str
    before: dict[str, Any]  # what the fields that it changed held until then


class TaskDocument(Document):
    """One task of one owner, or of the trash."""

    title: str
    description: str
    status: Status
    completed: bool
    completed_at: datetime | None
    priority: int
    due_date: datetime | None  # midnight UTC of the day
    start_date: datetime | None = None  # likewise
    estimate_minutes: int | None = None
    tags: list[str]
    links: list[str]
    checklist: list[Item]
    progress: float
    metadata: dict[str, Any]
    key: str | None = None  # absent without one
    owner: Owner | None = None  # absent in the trash
    trash: Trash | None = None  # absent outside of it
    created_at: datetime
    updated_at: datetime
    version: int
    history: list[Entry]  # oldest first

    class Settings:
        name = "tasks"
        former_indexes: ClassVar = ("owner_title",)  # by code points, up to version 1.2
        indexes: ClassVar = [
            # GET /tasks: the owner's newest first; and the count of all
            IndexModel([OWNER, *NEWEST], name="owner_newest"),
            # ?status= and ?completed= (done or not), newest first; overdue= without its date
            IndexModel([OWNER, ("status", ASCENDING), *NEWEST], name="owner_status_newest"),
            # ?priority=, newest first
            IndexModel([OWNER, ("priority", ASCENDING), *NEWEST], name="owner_priority_newest"),
            # ?tag=, newest first
            IndexModel([OWNER, ("tags", ASCENDING), *NEWEST], name="owner_tag_newest"),
            # ?due_before=, ?due_after=, ?overdue=true; ?sort=due_date either way
            IndexModel([OWNER, ("due_date", ASCENDING), BY_ID], name="owner_due"),
            # ?sort=-priority,due_date and its reverse
            IndexModel([OWNER, ("priority", DESCENDING), ("due_date", ASCENDING), BY_ID], name="owner_priority_due"),
            # ?sort=priority either way
            IndexModel([OWNER, ("priority", ASCENDING), BY_ID], name="owner_priority"),
            # ?sort=title either way, as people sort
            IndexModel([OWNER, ("title", ASCENDING), BY_ID], name="owner_title_collated", collation=COLLATION),
            # ?sort=updated_at either way: what changed last
            IndexModel([OWNER, ("updated_at", ASCENDING), BY_ID], name="owner_updated"),
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

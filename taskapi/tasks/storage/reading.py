"""Converts stored tasks to what their owners see, even if they contain values that this service never writes."""

from collections.abc import Mapping
from typing import Any

from taskapi.accounts.users.schemas import UserName, UserRead
from taskapi.db import damaged
from taskapi.db.connection import BSON
from taskapi.tasks.fields import LEGACY_DEFAULTS
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.storage.documents import TaskDocument

SOURCE = TaskDocument.Settings.name
PUBLIC: Mapping[str, int] = {str(field.validation_alias or name): 1 for name, field in TaskRead.model_fields.items()}
WITHOUT_INTERNAL: Mapping[str, int] = {name: 0 for name in TaskDocument.model_fields if name not in {"id", *PUBLIC}}
"""A projection to more than the public fields if a script has stored others, but a faster one for MongoDB."""


def read(stored: BSON, owner: UserName) -> TaskRead:
    """A stored task of ``owner``, with the owner's current name: the copy in the task may be an earlier one."""
    return damaged.read(TaskRead, {**stored, "owner": {"id": owner.id, "username": owner.username}}, SOURCE)


def sound(stored: BSON, owner: UserRead) -> BSON:
    """A stored task of ``owner`` with each public field as ``read`` shows it."""
    return {**LEGACY_DEFAULTS, **damaged.sound(TaskRead, {**stored, "owner": reference(owner)}, SOURCE)}


def reference(owner: UserRead) -> BSON:
    """The reference to its owner in a stored task."""
    return {"id": owner.object_id, "username": owner.username}


def version_of(stored: BSON) -> int:
    """The version of a stored task as ``read`` shows it."""
    version: Any = stored.get("version")
    return version if type(version) is int else damaged.integer(version)

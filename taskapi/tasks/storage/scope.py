"""The tasks that a caller can reach: the first part of every filter on the collection of tasks.

Today these are the tasks of one account. If tasks are ever shared, this is the one place to change.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.db.connection import BSON


class State(StrEnum):
    """Where a stored task is: in lists, or in the trash; or that only a tombstone is left of it, which nobody is shown."""

    active = "active"
    trash = "trash"
    purged = "purged"


# Plain texts: the driver encodes them faster than members of an enumeration.
ACTIVE: Final = State.active.value
IN_TRASH: Final = State.trash.value
PURGED: Final = State.purged.value


class Scope(NamedTuple):
    """The tasks of the account ``owner_id``, outside the trash and in it."""

    owner_id: ObjectId

    @classmethod
    def of(cls, user: UserRead) -> "Scope":
        """The tasks that ``user`` can reach."""
        return cls.of_id(user.object_id)

    @classmethod
    def of_id(cls, user_id: ObjectId) -> "Scope":
        """The tasks that the user with this id can reach."""
        return cls(user_id)

    @classmethod
    def owned_by(cls, user_id: ObjectId) -> "Scope":
        """The tasks that belong to an account: those that are exported and deleted with it, and show its name."""
        return cls(user_id)

    @property
    def outside_trash(self) -> BSON:
        """The filter of the tasks outside the trash."""
        return {"owner_id": self.owner_id, "state": ACTIVE}

    @property
    def in_trash(self) -> BSON:
        """The filter of the tasks in the trash, including expired ones that have not been purged yet."""
        return {"owner_id": self.owner_id, "state": IN_TRASH}

    @property
    def anywhere(self) -> BSON:
        """The filter of the tasks in every state, tombstones too."""
        return {"owner_id": self.owner_id}

    @property
    def purged(self) -> BSON:
        """The filter of the tombstones."""
        return {"owner_id": self.owner_id, "state": PURGED}

    def around(self, stored: Mapping[str, Any]) -> BSON:
        """The filter of the tasks in the state of ``stored``."""
        return {"owner_id": self.owner_id, "state": stored["state"]}

    def covers(self, stored: Mapping[str, Any]) -> bool:
        """Whether a stored task belongs to the scope."""
        owner_id = stored["owner_id"]
        return self.owner_id in (owner_id if isinstance(owner_id, list) else [owner_id])  # a script may have stored a list


def outside_trash_of(scopes: Iterable[Scope]) -> BSON:
    """The filter of the tasks outside the trash of all ``scopes``; ``Scope.covers`` tells to which a found one belongs."""
    return {"owner_id": _any(scopes), "state": ACTIVE}


def unpurged_of(scopes: Iterable[Scope]) -> BSON:
    """The filter of the tasks of all ``scopes`` outside the trash and in it."""
    return {"owner_id": _any(scopes), "state": {"$ne": PURGED}}


def _any(scopes: Iterable[Scope]) -> BSON:
    return {"$in": [*{scope.owner_id for scope in scopes}]}

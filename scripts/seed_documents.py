"""The documents that ``seed.py`` writes: each follows from the seed, its number and the last day."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from bson import ObjectId
from seed_flows import DAY, Life, Planner, purge, write
from seed_words import FIRST, LAST

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import midnight
from taskapi.tasks.services.tasks import new_task
from taskapi.tasks.storage.marks import begin_status_changes
from taskapi.tasks.storage.reading import reference
from taskapi.tasks.storage.scope import IN_TRASH

BSON = dict[str, Any]
KEPT_ACCOUNTS = 10_000  # in memory


@dataclass(frozen=True, slots=True)
class Owner:
    """What tasks need to know of their owner."""

    user: UserRead
    created_at: datetime
    renamed_at: datetime | None


class Generator:
    """The documents of one seed. Each is computed from its number alone. With ``deletes=False``, no task is ever deleted."""

    def __init__(self, seed: int, users: int, password_hash: str, last_day: date, *, deletes: bool = True) -> None:
        self.seed, self.users, self.password_hash, self.deletes = seed, users, password_hash, deletes
        self.end = midnight(last_day)
        self._prefixes = {kind: hashlib.sha256(f"{kind} {seed}".encode()).digest()[:8] for kind in ("users", "tasks", "items")}
        self._owner = lru_cache(KEPT_ACCOUNTS)(self._find_owner)

    def id(self, kind: str, number: int) -> ObjectId:
        """The _id of the ``number``-th document of a kind: eight bytes of the seed, four of the number."""
        return ObjectId(self._prefixes[kind] + number.to_bytes(4, "big"))

    def name(self, number: int) -> tuple[str, str, str]:
        """First name, last name and a suffix that makes the two unique."""
        turn, place = divmod(number, len(FIRST) * len(LAST))
        place = place * 787 % (len(FIRST) * len(LAST))  # a prime, so that neighbours differ in both
        return FIRST[place % len(FIRST)], LAST[place // len(FIRST)], str(turn + 1) if turn else ""

    def user(self, number: int) -> BSON:
        """An account. Some were renamed, some are disabled; never the first one, with which one can sign in."""
        rng = random.Random(f"user {self.seed} {number}")  # noqa: S311 - not for secrets  # nosec B311
        first, last, suffix = self.name(number)
        username = f"{first}.{last}{suffix}"
        created = self.end - timedelta(days=30 + rng.randrange(700), milliseconds=rng.randrange(86_400_000))
        user: BSON = {
            "_id": self.id("users", number),
            "username": username,
            "username_key": username,
            "email": f"{username}@example.com" if rng.random() < 0.9 else None,
            "email_verified": False,
            "full_name": f"{first.title()} {last.title()}" if rng.random() < 0.8 else None,
            "password_hash": self.password_hash,
            "disabled": False,
            "role": "user",
            "sessions": [],
            "created_at": created,
            "updated_at": created,
        }
        if user["email"]:
            user["email_key"] = user["email"]
        if number and rng.random() < 0.08:
            username = f"{username}-{rng.choice(LAST)}"
            renamed = created + timedelta(milliseconds=int(rng.random() * (self.end - created).total_seconds() * 1000))
            user |= {"username": username, "username_key": username, "updated_at": renamed, "renames": 1}
        if number and rng.random() < 0.02:
            user |= {"disabled": True, "api_tokens": []}
        return user

    def task(self, number: int) -> BSON:
        """A task as its life has left it: outside the trash, in it, or a tombstone."""
        owner, life, rng = self._begin(number)
        by = reference(owner.user)
        task: BSON = new_task(owner.user, life.data)
        at = life.created_at
        task |= {"_id": self.id("tasks", number), "created_at": at, "updated_at": at, "changed_at": at}
        task |= {"completed_at": task["completed_at"] and at, "status_changes": begin_status_changes(task["status"], at, None)}
        task["history"][0] |= {"at": at, "request_id": _request_id(rng)}
        for step in life.steps:
            write(task, step, by, _request_id(rng))
        if task["state"] == IN_TRASH and task["trash"]["expires_at"] < self.end:
            return purge(task)
        if owner.renamed_at:  # the copies of the name were changed a moment later
            task["changed_at"] = max(task["changed_at"], owner.renamed_at)
        return task

    def life(self, number: int) -> Life:
        """The requests that lead to a task."""
        return self._begin(number)[1]

    def _begin(self, number: int) -> tuple[Owner, Life, random.Random]:
        rng = random.Random(f"task {self.seed} {number}")  # noqa: S311 - not for secrets  # nosec B311
        owner = self._owner(int(self.users * rng.random() ** 2))  # some have many tasks, most have few
        days = min(365, (self.end - owner.created_at) // DAY - 1)
        day = self.end - timedelta(days=1 + int(days * rng.random() ** 1.3))  # slightly more each month
        if day.weekday() > 4 and rng.random() < 0.7 and day - 2 * DAY > owner.created_at:
            day -= 2 * DAY
        created_at = day + timedelta(milliseconds=int(rng.triangular(0, 86_400_000, 39_600_000)))
        return owner, Planner(rng, self.end).life(created_at, self._item_ids(number), deletes=self.deletes), rng

    def _find_owner(self, number: int) -> Owner:
        user = self.user(number)
        return Owner(UserRead.model_validate(user), user["created_at"], user["updated_at"] if "renames" in user else None)

    def _item_ids(self, number: int) -> Iterator[ObjectId]:
        identity = self._prefixes["items"] + number.to_bytes(4, "big")
        return (ObjectId(hashlib.sha256(identity + bytes([place])).digest()[:12]) for place in range(256))


def _request_id(rng: random.Random) -> str:
    return f"{rng.getrandbits(128):032x}"

"""The documents that ``seed.py`` writes: each follows from the seed, its number and the last day."""

import hashlib
import random
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from itertools import accumulate
from typing import Any

from bson import ObjectId

from taskapi.core.clock import midnight

BSON = dict[str, Any]
MILLISECOND = timedelta(milliseconds=1)


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST = words("""
    ada alan amara anna ben carla chen dan edith emre eva felix grace hana hugo ines ivan jan joan julia kai karl lea lin
    luis maya mia nina noor olga omar paul priya rosa sam sofia tariq tom yara zoe""")
LAST = words("""
    adams bauer berg brandt byron cohen costa diaz dubois evans fischer garcia haddad hansen hopper ito jensen khan kim klein
    kowalski lange lopez marino meyer moreau nguyen novak okafor olsen patel perez rossi sato schmidt silva singh turing
    weber young""")
VERBS = words("""
    Write Review Send Plan Prepare Update Check Fix Finish Order Collect Compare Translate Test Measure Sort Discuss Present
    Approve Archive""")
KINDS = words("quarterly annual first final missing new old internal public revised urgent weekly shared monthly")
THINGS = words("""
    report budget invoice contract presentation newsletter survey roadmap release backup manual agenda offer poster schedule
    inventory forecast template checklist dashboard handbook interview proposal database website""")
PLACES = ("", "", "", " for finance", " for Monday", " with the team", " for the customer", " before the audit", " again")
SENTENCES = (
    "Figures from finance, then two pages.",
    "Ask who has the last version.",
    "See the notes of the last meeting.",
    "Keep it short.",
    "Two people should read it first.",
    "The customer waits for this.",
    "Nobody has looked at it since spring.",
)
STEPS = (
    "Ask for the figures",
    "Write a first version",
    "Let somebody read it",
    "Put in what they found",
    "Send it",
    "File the notes",
)
PROJECTS = words("Apollo Gemini Mercury Orion Vega")
TAGS = words("""
    work home urgent writing meeting finance customer review bug idea travel team reading legal garden health research design
    hiring training music taxes car kitchen""")
TAG_WEIGHTS = list(accumulate(1 / place for place in range(1, len(TAGS) + 1)))  # Zipf: a few are very frequent, most are rare


class Generator:
    """The documents of one seed. A user is computed from its number alone, so none is kept in memory."""

    def __init__(self, seed: int, users: int, password_hash: str, last_day: date) -> None:
        self.seed, self.users, self.password_hash, self.end = seed, users, password_hash, midnight(last_day)
        self._prefixes = {kind: hashlib.sha256(f"{kind} {seed}".encode()).digest()[:8] for kind in ("users", "tasks", "items")}

    def id(self, kind: str, number: int) -> ObjectId:
        """The _id of the ``number``-th document of a kind: eight bytes of the seed, four of the number."""
        return ObjectId(self._prefixes[kind] + number.to_bytes(4, "big"))

    def name(self, number: int) -> tuple[str, str, str]:
        """First name, last name and a suffix that makes the two unique."""
        turn, place = divmod(number, len(FIRST) * len(LAST))
        place = place * 787 % (len(FIRST) * len(LAST))  # a prime, so that neighbours differ in both
        return FIRST[place % len(FIRST)], LAST[place // len(FIRST)], str(turn + 1) if turn else ""

    def user(self, number: int) -> BSON:
        rng = random.Random(f"user {self.seed} {number}")  # noqa: S311 - not for secrets  # nosec B311
        first, last, suffix = self.name(number)
        username = f"{first}.{last}{suffix}"
        email = f"{username}@example.com" if rng.random() < 0.9 else None
        created = self.end - timedelta(days=366 + rng.randrange(700), milliseconds=rng.randrange(86_400_000))
        return {
            "_id": self.id("users", number),
            "username": username,
            "username_key": username,
            "email": email,
            **({"email_key": email} if email else {}),
            "full_name": f"{first.title()} {last.title()}" if rng.random() < 0.8 else None,
            "password_hash": self.password_hash,
            "disabled": rng.random() < 0.02 and number > 0,
            "created_at": created,
            "updated_at": created,
        }

    def task(self, number: int) -> BSON:
        rng = random.Random(f"task {self.seed} {number}")  # noqa: S311 - not for secrets  # nosec B311
        draw = rng.random
        owner = int(self.users * draw() ** 2)  # some have many tasks, most have few
        day = self.end - timedelta(days=1 + int(365 * draw() ** 1.3))  # slightly more each month
        if day.weekday() > 4 and draw() < 0.7:
            day -= timedelta(days=2)
        created = day + timedelta(milliseconds=int(rng.triangular(0, 86_400_000, 39_600_000)))
        priority = rng.choices((1, 2, 3, 4, 5), (30, 26, 24, 13, 7))[0]
        took = timedelta(milliseconds=int(rng.lognormvariate(1.6 - 0.2 * priority, 1.0) * 86_400_000))
        done = draw() < 0.93 and created + took < self.end
        status = "done" if done else "in_progress" if draw() < 0.35 else "todo"
        version = 1 + (status != "todo") + int(3 * draw() ** 3)
        due = day + timedelta(days=1 + int(rng.expovariate(1 / 12))) if draw() < 0.65 else None
        last_change = created + took if done else min(created + took // 3 - took // 3 % MILLISECOND, self.end)
        task: BSON = {
            "_id": self.id("tasks", number),
            "owner_id": self.id("users", owner),
            "state": "active",
            "title": f"{_one(VERBS, draw)} the {_one(KINDS, draw)} {_one(THINGS, draw)}{_one(PLACES, draw)}",
            "description": "" if draw() < 0.4 else " ".join(rng.sample(SENTENCES, 1 + int(3 * draw()))),
            "status": status,
            "completed": done,
            "completed_at": created + took if done else None,
            "priority": priority,
            "due_date": due,
            "tags": list(dict.fromkeys(rng.choices(TAGS, cum_weights=TAG_WEIGHTS, k=int(5 * draw() ** 1.5)))),
            "links": [f"https://example.com/{_one(THINGS, draw)}/{int(9000 * draw())}"] if draw() < 0.15 else [],
            "checklist": self._checklist(number, status, rng) if draw() < 0.3 else [],
            "progress": float(done),
            "metadata": _metadata(rng) if draw() < 0.25 else {},
            "owner": self._owner(owner),
            "created_at": created,
            "updated_at": created,
            "version": 1,
            "changed_at": created,
            "status_changes": [{"status": "todo", "at": created}],
            "history": [],
        }
        if task["checklist"]:
            task["progress"] = sum(item["done"] for item in task["checklist"]) / len(task["checklist"])
        _write_history(task, version, last_change, rng)
        return task

    def _owner(self, number: int) -> BSON:
        first, last, suffix = self.name(number)
        return {"id": self.id("users", number), "username": f"{first}.{last}{suffix}"}

    def _checklist(self, number: int, status: str, rng: random.Random) -> list[BSON]:
        """Some steps, of which the first are done, as far as the task is."""
        steps = rng.sample(STEPS, 1 + int(len(STEPS) * rng.random() ** 2))
        ticked = {"todo": 0, "in_progress": int(len(steps) * rng.random()), "done": len(steps)}[status]
        identity = self._prefixes["items"] + number.to_bytes(4, "big")
        ids = (ObjectId(hashlib.sha256(identity + bytes([place])).digest()[:12]) for place in range(len(steps)))
        return [{"id": next(ids), "text": text, "done": place < ticked} for place, text in enumerate(steps)]


def _metadata(rng: random.Random) -> BSON:
    estimate = {"hours": 1 + int(40 * rng.random() ** 2), "rate": 50 + 5.5 * int(12 * rng.random())}
    return {"project": _one(PROJECTS, rng.random), "estimate": estimate}


def _write_history(task: BSON, version: int, last_change: datetime, rng: random.Random) -> None:
    """The writes that led to the task as it is: changes of priority first, then the status."""
    step = (last_change - task["created_at"]) // max(version - 1, 1)
    at, priority = task["created_at"], task["priority"]
    priorities = [priority] * version
    for place in range(version - 2 - (task["status"] != "todo"), -1, -1):
        priorities[place] = priorities[place + 1] % 5 + 1
    task["history"].append(_entry(task["owner"], "create", 1, at, {}, rng))
    for number in range(2, version + 1):
        before: BSON = {}
        if number == version and task["status"] != "todo":
            before["status"] = "todo"
            if task["completed"]:
                before |= {"completed": False, "completed_at": None, **({} if task["checklist"] else {"progress": 0.0})}
        else:
            before["priority"] = priorities[number - 2]
        before["updated_at"] = at
        at = last_change if number == version else at + step - step % MILLISECOND
        task["history"].append(_entry(task["owner"], "update", number, at, before, rng))
    task["updated_at"], task["changed_at"], task["version"] = at, at, version
    if task["status"] != "todo":
        task["status_changes"].append({"status": task["status"], "at": at})


def _entry(by: BSON, action: str, version: int, at: datetime, before: BSON, rng: random.Random) -> BSON:
    request = f"{rng.getrandbits(128):032x}"
    return {"at": at, "by": by, "action": action, "request_id": request, "version": version, "before": before}


def _one(words: Sequence[str], draw: Callable[[], float]) -> str:
    return words[int(len(words) * draw())]

"""The lives of seeded tasks: what was sent to create each, what happened to it afterwards, and the document that this leaves.

The service computes the effect of a change in MongoDB, which would take too long for a million tasks. ``write`` does the same in
Python; a test sends the same requests to the API, and compares what is stored.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from bson import ObjectId
from seed_words import ESTIMATES, KINDS, PLACES, PROJECTS, SENTENCES, STEPS, TAG_WEIGHTS, TAGS, THINGS, VERBS

from taskapi.core.clock import midnight
from taskapi.tasks.schemas import Status, TaskCreate
from taskapi.tasks.storage.history import Action
from taskapi.tasks.storage.pipelines import progress
from taskapi.tasks.storage.scope import ACTIVE, IN_TRASH, PURGED

BSON = dict[str, Any]
DAY, MILLISECOND = timedelta(days=1), timedelta(milliseconds=1)
TRASH_DAYS = 30  # the default of TASKAPI_TRASH_DAYS


class Step(NamedTuple):
    """A request that changes a task. The values of an update are as they are stored."""

    at: datetime
    action: Action
    values: Mapping[str, Any] = {}


class Life(NamedTuple):
    """The request that created a task, and those that followed, in order."""

    created_at: datetime
    data: TaskCreate
    steps: Sequence[Step]


def write(task: BSON, step: Step, by: BSON, request_id: str) -> None:
    """Changes a task as the API would."""
    at, before, values = step.at, BSON(), BSON(step.values)
    task["version"] += 1
    task["changed_at"] = at
    if step.action is Action.delete:
        task |= {"state": IN_TRASH, "trash": {"owner": task.pop("owner"), "deleted_at": at, "expires_at": at + TRASH_DAYS * DAY}}
    elif step.action is Action.restore:
        task |= {"state": ACTIVE, "owner": task.pop("trash")["owner"]}
    else:
        values["updated_at"] = at
        status = values.get("status", task["status"])
        if status != task["status"]:
            done = status is Status.done
            task["status_changes"].append({"status": status, "at": at})
            values |= {"completed": done, "completed_at": at if done else None}
        if not step.values.keys().isdisjoint(("status", "checklist")):
            values["progress"] = progress({**task, **values}["checklist"], status is Status.done)
    for name, value in values.items():
        if task[name] != value or name == "metadata":
            before[name] = task[name]
        task[name] = value
    entry = {"at": at, "by": by, "action": step.action, "request_id": request_id}
    task["history"].append({**entry, "version": task["version"], "before": before})


def purge(task: BSON) -> BSON:
    """The tombstone of a task whose time in the trash is over."""
    at = task["trash"]["expires_at"]
    kept = {name: task[name] for name in ("_id", "owner_id", "created_at")}
    return {**kept, "version": task["version"] + 1, "state": PURGED, "changed_at": at, "expires_at": at + TRASH_DAYS * DAY}


class Planner:
    """Draws the life of one task, which ends before ``end``."""

    def __init__(self, rng: random.Random, end: datetime) -> None:
        self._rng, self._draw, self._end = rng, rng.random, end

    def life(self, created_at: datetime, item_ids: Iterator[ObjectId], *, deletes: bool) -> Life:
        """``item_ids`` are for the items of its checklist; with ``deletes=False``, it is never deleted."""
        data = self._data(created_at, item_ids)
        drawn = [*self._flow(created_at, data), *self._edits(created_at, data)]
        steps, at = list[Step](), created_at
        for step in sorted(drawn, key=lambda step: step.at):
            at = max(step.at, at + MILLISECOND)  # each write is later than the one before
            if at >= self._end:
                break
            steps.append(step._replace(at=at))
        return Life(created_at, data, self._with_deletion(created_at, steps) if deletes and self._draw() < 0.06 else steps)

    def _data(self, created_at: datetime, item_ids: Iterator[ObjectId]) -> TaskCreate:
        draw, rng = self._draw, self._rng
        day = created_at.date()
        due = day + timedelta(days=1 + int(rng.expovariate(1 / 12))) if draw() < 0.65 else None
        steps = rng.sample(STEPS, 1 + int(len(STEPS) * draw() ** 2)) if draw() < 0.3 else []
        kind = draw()
        sent = {"status": Status.in_progress if kind < 0.05 else Status.done} if kind < 0.06 else {}
        return TaskCreate.model_validate(
            {
                "title": f"{_one(VERBS, draw)} the {_one(KINDS, draw)} {_one(THINGS, draw)}{_one(PLACES, draw)}",
                "description": "" if draw() < 0.4 else " ".join(rng.sample(SENTENCES, 1 + int(3 * draw()))),
                "priority": rng.choices((1, 2, 3, 4, 5), (30, 26, 24, 13, 7))[0],
                "due_date": due and due.isoformat(),
                "start_date": (day + int(draw() * (due - day).days) * DAY).isoformat() if due and draw() < 0.2 else None,
                "estimate_minutes": _one(ESTIMATES, draw) if draw() < 0.35 else None,
                "tags": list(dict.fromkeys(rng.choices(TAGS, cum_weights=TAG_WEIGHTS, k=int(5 * draw() ** 1.5)))),
                "links": [f"https://example.com/{_one(THINGS, draw)}/{int(9000 * draw())}"] if draw() < 0.15 else [],
                "checklist": [{"id": str(next(item_ids)), "text": text} for text in steps],
                "metadata": self._metadata() if draw() < 0.25 else {},
                **sent,
            }
        )

    def _metadata(self) -> BSON:
        estimate = {"hours": 1 + int(40 * self._draw() ** 2), "rate": 50 + 5.5 * int(12 * self._draw())}
        return {"project": _one(PROJECTS, self._draw), "estimate": estimate}

    def _took(self, days: float, sigma: float = 1.0) -> timedelta:
        return timedelta(milliseconds=int(days * self._rng.lognormvariate(0, sigma) * 86_400_000))

    def _flow(self, at: datetime, data: TaskCreate) -> Iterator[Step]:
        """The changes of the status: some tasks wait for ever, some go back, some are reopened."""
        draw, status = self._draw, data.status or Status.todo
        haste = 1.6 - 0.2 * data.priority
        if status is Status.todo:
            at += self._took(2.5 * haste)
            if draw() < 0.06:
                return
            if draw() < 0.85:  # the others are done at once
                yield (step := _to(at, Status.in_progress))
                if draw() < 0.08:
                    yield _to(at := at + self._took(1), Status.todo)
                    yield (step := _to(at := at + self._took(4), Status.in_progress))
                status = step.values["status"]
        if status is not Status.done:
            if draw() < 0.05:
                return
            started, at = at, at + self._took(2 * haste)
            yield from self._ticks(data, started, at)
            yield _to(at, Status.done)
        if draw() < 0.06:
            yield _to(at := at + self._took(3), Status.in_progress)
            if draw() < 0.8:
                yield _to(at + self._took(1), Status.done)

    def _ticks(self, data: TaskCreate, started: datetime, done: datetime) -> Iterator[Step]:
        items = [{"id": ObjectId(item.id), "text": item.text, "done": False} for item in data.checklist]
        ticked = len(items) if self._draw() < 0.8 else int(self._draw() * len(items))
        for number in range(ticked):
            items = [{**item, "done": place <= number} for place, item in enumerate(items)]
            yield _update(started + _whole((done - started) * (number + 1) / (ticked + 1)), checklist=items)

    def _edits(self, created_at: datetime, data: TaskCreate) -> Iterator[Step]:
        """The other changes, most of them in the first days."""
        draw, priority, due, tags = self._draw, data.priority, data.due_date, data.tags
        if draw() < 0.22:
            yield _update(created_at + self._took(2), priority=priority % 5 + 1)
        if due and draw() < 0.2:
            yield _update(created_at + self._took(6), due_date=midnight(due + timedelta(days=1 + int(14 * draw()))))
        if draw() < 0.1:
            other = _one(TAGS, draw)
            yield _update(created_at + self._took(1), tags=[*tags, other] if other not in tags else [other])
        if draw() < 0.06:
            yield _update(created_at + self._took(0.2), title=data.title.replace(" the ", " our "))
        if draw() < 0.08:
            yield _update(created_at + self._took(1), description=f"{data.description} {_one(SENTENCES, draw)}".strip())
        if data.estimate_minutes and draw() < 0.25:
            yield _update(created_at + self._took(3), estimate_minutes=data.estimate_minutes * 2)
        if data.metadata and draw() < 0.3:
            yield _update(created_at + self._took(2), metadata={**data.metadata, "project": _one(PROJECTS, draw)})

    def _with_deletion(self, created_at: datetime, steps: Sequence[Step]) -> Sequence[Step]:
        """With a deletion at some time, and for most of those that are long ago a restore: nothing was left of the others."""
        age, purged = self._end - created_at, 2 * TRASH_DAYS * DAY
        recent = self._draw() < 0.5
        before_end = _whole(self._draw() * (min(age, purged) if recent else age))
        at = self._end - max(before_end, MILLISECOND)
        if at <= created_at:
            return steps
        earlier = [step for step in steps if step.at < at]
        deletion = Step(at, Action.delete)
        if recent and before_end < purged:
            return [*earlier, deletion]
        restored = at + _whole(min(self._took(2), (TRASH_DAYS - 1) * DAY))
        if restored >= self._end:
            return [*earlier, deletion]
        return [*earlier, deletion, Step(restored, Action.restore), *(step for step in steps if step.at > restored)]


def _to(at: datetime, status: Status) -> Step:
    return _update(at, status=status)


def _update(at: datetime, **values: Any) -> Step:
    return Step(at, Action.update, values)


def _whole(span: timedelta) -> timedelta:
    return span // MILLISECOND * MILLISECOND


def _one(words: Sequence[Any], draw: Callable[[], float]) -> Any:
    return words[int(len(words) * draw())]

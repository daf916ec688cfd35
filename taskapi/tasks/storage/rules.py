"""Rules between two fields of a task, for changes that send one of them while the other is stored.

Fields that are sent together are checked during validation: see ``definitions.NotAfter``.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.errors import FieldError, InvalidInput
from taskapi.db.connection import BSON
from taskapi.tasks.fields import NOT_AFTER
from taskapi.tasks.schemas import Status, TaskUpdate
from taskapi.tasks.storage.pipelines import direct_values
from taskapi.tasks.storage.reading import read

CLOCK_SKEW = timedelta(minutes=5)  # between the clocks of two services


def conditions(data: TaskUpdate) -> list[BSON]:
    """Conditions under which a stored task breaks no rule when ``data`` is applied; usually there are none.

    A task that does not meet them may just be damaged, so ``check`` decides. A due date of 31 January, for example, gives::

        {"$or": [{"start_date": None}, {"start_date": {"$type": "date", "$lte": <31 January>}}]}
    """
    found: list[BSON] = []
    for name, other in NOT_AFTER.items():
        sent = data.model_fields_set & {name, other}
        values = direct_values(data) if len(sent) == 1 else {}
        if values.get(name) is not None:
            found.append(_none_or(other, {"$gte": values[name]}))
        if values.get(other) is not None:
            found.append(_none_or(name, {"$lte": values[other]}))
    return found


def _none_or(name: str, bound: BSON) -> BSON:
    return {"$or": [{name: None}, {name: {"$type": "date", **bound}}]}


def faults(changes: Mapping[str, Any], task: Mapping[str, Any]) -> list[FieldError]:
    """The rules that ``task`` breaks after ``changes``, each as a fault of a changed field."""
    after = {**task, **changes}
    found = [
        FieldError(name, f"must not be after {other}", "wrong_order")
        if name in changes
        else FieldError(other, f"must not be before {name}", "wrong_order")
        for name, other in NOT_AFTER.items()
        if not changes.keys().isdisjoint((name, other)) and _is_after(after.get(name), after.get(other))
    ]
    if "completed_at" in changes and completed_before_creation(after):
        found.append(FieldError("completed_at", "must not be before created_at", "contradiction"))
    elif "created_at" in changes and completed_before_creation(after):
        found.append(FieldError("created_at", "must not be after completed_at", "contradiction"))
    return found


def completed_before_creation(task: Mapping[str, Any]) -> bool:
    """Whether a task that is done was completed before it was created, as only other clocks and imports can have it."""
    completed_at = task["completed_at"] if task["status"] == Status.done else None
    return completed_at is not None and task["created_at"] - completed_at > CLOCK_SKEW


def _is_after(value: Any, other: Any) -> bool:
    return value is not None and other is not None and value > other


def check(data: TaskUpdate, stored: BSON, owner: UserRead) -> None:
    """Raises InvalidInput if ``data`` breaks a rule together with the values of a stored task of ``owner``."""
    if conditions(data):
        changes = {name: getattr(data, name) for name in data.model_fields_set}
        if found := faults(changes, dict(read(stored, owner))):
            raise InvalidInput(found)


def explain_broken(data: TaskUpdate) -> InvalidInput:
    """The error for ``data`` when it is applied to many tasks and would break a rule in some."""
    found = []
    for name, other in NOT_AFTER.items():
        if name in data.model_fields_set:
            found.append(FieldError(name, f"would be after {other} in some of the tasks", "wrong_order"))
        elif other in data.model_fields_set:
            found.append(FieldError(other, f"would be before {name} in some of the tasks", "wrong_order"))
    return InvalidInput(found)

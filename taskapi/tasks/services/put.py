"""PUT: changes to a task that may include the server's fields, for callers who send back everything they read."""

from typing import Annotated, Any

from pydantic import Field, PlainSerializer, StrictInt, WithJsonSchema

from taskapi.core.clock import rfc3339
from taskapi.core.errors import FieldError
from taskapi.core.fields import ObjectIdIn, SentMoment, omittable
from taskapi.tasks.metadata import JSONObject, exact
from taskapi.tasks.schemas import MAX_KEY_LENGTH, OwnerRead, TaskRead, TaskUpdate
from taskapi.tasks.services.json_patch import READ_ONLY, read_only
from taskapi.tasks.services.versions import MAX_VERSION

UNCHANGED = "Must be unchanged."
MomentAsRead = Annotated[SentMoment, PlainSerializer(rfc3339, return_type=str)]
OWNER_SCHEMA = OwnerRead.model_json_schema()
OWNER_SCHEMA["properties"]["username"]["maxLength"] = 100
OwnerAsRead = Annotated[JSONObject, WithJsonSchema(OWNER_SCHEMA)]
KeyAsRead = Annotated[str, Field(max_length=MAX_KEY_LENGTH)]
VersionAsRead = Annotated[StrictInt, Field(json_schema_extra={"minimum": 1, "maximum": MAX_VERSION})]


class TaskPut(TaskUpdate):
    """Changes to a task. It may be the whole task as you read it; the server's fields must be unchanged."""

    id: ObjectIdIn = omittable(description=UNCHANGED)
    completed_at: MomentAsRead | None = omittable(description=UNCHANGED)
    progress: Annotated[float, Field(strict=True)] = omittable(description=UNCHANGED)
    key: KeyAsRead | None = omittable(description=UNCHANGED)
    owner: OwnerAsRead = omittable(description="Must be unchanged; the user name may be a former one.")
    created_at: MomentAsRead = omittable(description=UNCHANGED)
    updated_at: MomentAsRead = omittable(description=UNCHANGED)
    version: VersionAsRead = omittable(description=UNCHANGED)

    @property
    def has_read_only(self) -> bool:
        """Whether any of the server's fields was sent."""
        return not self.model_fields_set.isdisjoint(READ_ONLY)

    def differences(self, task: TaskRead) -> list[FieldError]:
        """The faults of the server's fields that were sent and differ from ``task``."""
        names = self.model_fields_set & set(READ_ONLY)
        sent: dict[str, Any] = self.model_dump(mode="json", include=names)
        now = task.model_dump(mode="json", include=names)
        if "owner" in sent and _is_earlier_name(sent["owner"], now["owner"]):
            del sent["owner"]
        return [read_only(name) for name in sent if sent[name] != now[name]]

    def changes(self, task: TaskRead) -> TaskUpdate:
        """The changes without the server's fields, and without metadata equal to that of ``task``: nulls in it remove nothing."""
        values = {name: getattr(self, name) for name in TaskUpdate.model_fields}
        names = self.model_fields_set & values.keys()
        if exact(_with_integers(self.metadata)) == exact(_with_integers(task.metadata)):
            names -= {"metadata"}
        return TaskUpdate.model_construct(names, **values)


def _is_earlier_name(sent: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether an owner that was sent may be that of the task, before they changed their name: that changes no version."""
    return sent == {**now, "username": sent.get("username")} and isinstance(sent["username"], str)


def _with_integers(value: Any) -> Any:
    """A JSON value with whole numbers as integers: JavaScript writes 1.0 as 1."""
    if isinstance(value, dict):
        return {name: _with_integers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_integers(member) for member in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value

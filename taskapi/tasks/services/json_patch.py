"""Applies JSON Patch (RFC 6902) to the public form of a task; jsonpatch implements the operations."""

import copy
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from jsonpatch import JsonPatch, JsonPatchException, JsonPatchTestFailed
from jsonpointer import JsonPointerException, resolve_pointer
from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel, ValidationError

from taskapi.core.cooperative import CooperativeYield
from taskapi.core.errors import FieldError, InvalidInput, field_errors
from taskapi.core.strict_json import MAX_DEPTH, is_deeper
from taskapi.tasks.errors import PatchTestFailed
from taskapi.tasks.fields import EMPTY_VALUES
from taskapi.tasks.schemas import TaskRead, TaskUpdate
from taskapi.web.json_schema import COMPONENT, schema_of

MEDIA_TYPE = "application/json-patch+json"
MAX_OPERATIONS = 100
MAX_VALUES_LENGTH = 128 * 1024  # characters of JSON that all operations add or copy; the largest task has half as many
POINTER: dict[str, JsonValue] = {"pattern": "^(/([^/~]|~[01])*)*$"}
# The member that each operation needs besides its path (RFC 6902, section 4).
MEMBERS = {"add": "value", "remove": None, "replace": "value", "move": "from", "copy": "from", "test": "value"}
READ_ONLY = [name for name in TaskRead.model_fields if name not in TaskUpdate.model_fields]
COMPLETION = ("status", "completed")  # say the same in two ways


class Operation(BaseModel):
    """One operation of a JSON Patch. Members that its kind does not define are ignored (RFC 6902, section 4)."""

    model_config = ConfigDict(extra="ignore", serialize_by_alias=True)

    op: Literal["add", "remove", "replace", "move", "copy", "test"]
    path: str = Field(description="A JSON Pointer (RFC 6901) into the task.", json_schema_extra=POINTER)
    from_: str = Field("", alias="from", description="A JSON Pointer to the source.", json_schema_extra=POINTER)
    value: Any = Field(None, description="Any JSON.")


class Patch(RootModel[Annotated[list[Operation], Field(max_length=MAX_OPERATIONS)]]):
    """Operations on a task, applied in order, all or none."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                [
                    {"op": "test", "path": "/status", "value": "todo"},
                    {"op": "replace", "path": "/status", "value": "in_progress"},
                    {"op": "add", "path": "/tags/-", "value": "urgent"},
                    {"op": "add", "path": "/metadata/sprint", "value": 14},
                ]
            ]
        }
    )


def schema() -> dict[str, Any]:
    """The JSON Schema of a patch: a list of operations, with a schema for each kind and the members that it needs."""
    made = schema_of(Patch)
    whole = made.pop("$defs")["Operation"]
    kinds = {f"JsonPatch{op.title()}": _kind(whole["properties"], op, member) for op, member in MEMBERS.items()}
    refs = {kind["properties"]["op"]["const"]: COMPONENT.format(model=name) for name, kind in kinds.items()}
    one = {"oneOf": [{"$ref": ref} for ref in refs.values()], "discriminator": {"propertyName": "op", "mapping": refs}}
    return {**made, "$defs": kinds, "items": one}


def _kind(properties: dict[str, Any], op: str, member: str | None) -> dict[str, Any]:
    own = {"op": {"type": "string", "const": op}, "path": properties["path"]}
    if member:
        own[member] = {name: value for name, value in properties[member].items() if name != "default"}
    return {"type": "object", "title": f"JsonPatch{op.title()}", "properties": own, "required": list(own)}


async def apply_patch(document: Any, operations: Sequence[Operation]) -> Any:
    """Returns ``document`` after the operations, and leaves the original as it is. Yields to other requests in between.

    Raises:
        PatchTestFailed: a ``test`` failed.
        InvalidInput: names the operation that cannot be applied.
    """
    document, turns = copy.deepcopy(document), CooperativeYield()
    size = 0
    for index, operation in enumerate(operations):
        try:
            value = resolve_pointer(document, operation.from_) if operation.op == "copy" else operation.value
            size += len(json.dumps(value, ensure_ascii=False, default=str))
            if size > MAX_VALUES_LENGTH:  # copies of copies grow fast, and a large value costs at every step
                raise _too_large(index)
            document = JsonPatch([operation.model_dump(exclude_unset=True)]).apply(document, in_place=True)
        except JsonPatchTestFailed:
            raise PatchTestFailed(index) from None
        except (JsonPatchException, JsonPointerException) as error:
            raise InvalidInput([FieldError(str(index), f"Cannot be applied: {_reason(error)}", "patch_operation")]) from None
        except RecursionError:
            raise _too_large(index) from None
        await turns.checkpoint()
    if is_deeper(document, MAX_DEPTH):
        raise _too_large(len(operations) - 1)
    return document


def _too_large(index: int) -> InvalidInput:
    return InvalidInput([FieldError(str(index), "Makes the task too large", "patch_size")])


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:100].rstrip(".") if str(error) else "invalid operation"


async def changes(task: TaskRead, operations: Sequence[Operation]) -> TaskUpdate:
    """The changes that the operations make to ``task``. Metadata in it is complete, not a merge patch.

    Raises:
        PatchTestFailed, InvalidInput: see ``apply_patch``; or the patched task is not valid.
    """
    before: dict[str, Any] = task.model_dump(mode="json")
    after = await apply_patch(before, operations)
    if not isinstance(after, dict):
        raise InvalidInput([FieldError("", "The task must remain an object", "task_type")])
    faults = [FieldError(name, "There is no such field", "extra_forbidden") for name in after if name not in before]
    changed = [name for name, value in before.items() if name not in after or not _same(value, after[name])]
    faults += [read_only(name) for name in changed if name in READ_ONLY]
    missing = [name for name in changed if name not in after]
    faults += [FieldError(name, "Field required", "missing") for name in missing if name not in (*EMPTY_VALUES, *READ_ONLY)]
    if faults:
        raise InvalidInput(faults)
    if not set(COMPLETION).isdisjoint(changed) and _sets_completion_twice(operations):
        changed = [*changed, *COMPLETION]  # what was set to the stored value must agree as well
    try:
        return TaskUpdate.model_validate({name: after.get(name) for name in changed})
    except ValidationError as error:
        raise InvalidInput(field_errors(error)) from None


def _sets_completion_twice(operations: Sequence[Operation]) -> bool:
    """Whether the operations set both ``status`` and ``completed``, be it to the values they had."""
    paths = {each.path for each in operations if each.op != "test"}
    return "" in paths or paths.issuperset(f"/{name}" for name in COMPLETION)


def read_only(name: str) -> FieldError:
    """The fault of a change to a field that only the server sets."""
    return FieldError(name, "Cannot be changed", "read_only")


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are identical, including the types of their numbers."""
    return one is other or json.dumps(one) == json.dumps(other)

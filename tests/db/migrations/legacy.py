"""Documents as versions 1.0, 1.1 and 1.2 stored them."""

from datetime import UTC, datetime
from typing import Any, Final

from bson import ObjectId

AT = datetime(2026, 1, 2, 9, 15, tzinfo=UTC)
DONE_AT = datetime(2026, 1, 3, 10, tzinfo=UTC)
OWNER: Final = {"id": ObjectId("65f1a2b3c4d5e6f708192a00"), "username": "Ada"}


def _task(number: int, **more: Any) -> dict[str, Any]:
    return {
        "_id": ObjectId(f"{number:024x}"),
        "title": f"Task {number}",
        "description": "",
        "status": "todo",
        "completed": False,
        "completed_at": None,
        "priority": 3,
        "due_date": datetime(2026, 2, 1, tzinfo=UTC),
        "tags": ["work"],
        "links": [],
        "owner": OWNER,
        "created_at": AT,
        "updated_at": AT,
        "version": 1,
        **more,
    }


def _entry(version: int, at: datetime, action: str, before: dict[str, Any]) -> dict[str, Any]:
    return {"version": version, "at": at, "by": OWNER, "action": action, "request_id": "r", "before": before}


DONE: Final = {"status": "done", "completed": True, "completed_at": DONE_AT, "updated_at": DONE_AT, "version": 2}
SINCE_1_1: Final = {"checklist": [], "progress": 0.0, "metadata": {}}
CREATED: Final = _entry(1, AT, "create", {})
UNDONE: Final = _entry(2, DONE_AT, "update", {"status": "todo", "completed": False, "completed_at": None, "progress": 0.0})

_trashed = _task(5, **SINCE_1_1, history=[CREATED, _entry(2, DONE_AT, "delete", {})], version=2)
del _trashed["owner"]
_trashed["trash"] = {"owner": OWNER, "deleted_at": DONE_AT, "expires_at": datetime(2126, 1, 3, tzinfo=UTC)}

TASKS: Final = {
    "1.0": _task(1),
    "1.0 done": _task(2, **DONE),
    "1.1": _task(3, **SINCE_1_1, history=[CREATED]),
    "1.1 done": _task(4, **{**SINCE_1_1, **DONE, "progress": 1.0}, history=[CREATED, UNDONE]),
    "1.1 in the trash": _trashed,
    "1.2 imported": _task(6, **SINCE_1_1, history=[CREATED], key="ticket-6"),
}

_ACCOUNT: Final = {"full_name": None, "disabled": False, "created_at": AT, "updated_at": AT}


def _user(user_id: Any, name: str, **more: Any) -> dict[str, Any]:
    return {"_id": user_id, "username": name, "username_key": name.lower(), "password_hash": "none", **_ACCOUNT, **more}


USERS: Final = {
    "1.0": _user(OWNER["id"], "Ada", email="ada@example.com", email_key="ada@example.com"),
    "1.1": _user(ObjectId("65f1a2b3c4d5e6f708192a01"), "Bob", email=None),
    "1.2": _user(
        ObjectId("65f1a2b3c4d5e6f708192a02"), "Eve", email=None, role="admin", sessions=[ObjectId("65f1a2b3c4d5e6f708192a03")]
    ),
}

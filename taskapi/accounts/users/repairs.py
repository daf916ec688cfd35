"""How ``taskapi migrate verify --fix`` repairs invalid accounts: see ``db.migrations.repair``.

What decides who may sign in is left to the operator: a null in ``disabled``, ``two_factor`` or ``authenticator``, or a
``username_key`` that is another name.
"""

from typing import Final

from taskapi.accounts.users.documents import NAME_KEY, UserDocument
from taskapi.db.connection import BSON
from taskapi.db.expressions import NO_LIST
from taskapi.db.integers import INT32_MAX
from taskapi.db.migrations.backfill import Backfill
from taskapi.db.migrations.repair import Repair, whole_number

COUNTERS: Final = ("renames", "last_admin_checks", "authenticator.last_step")
ABSENT: Final = (  # without a value; null is read alike
    "email_verified",
    "role",
    "sessions",
    "last_admin_checks",
    "leaving",
    "leaving.leased_until",
    "renames",
    "renaming",
    "renaming.leased_until",
    "renaming.holder",
    "api_tokens",
)
_NO_SCOPES: Final[BSON] = {"scopes": {"$size": 0}}
ASCII_EMAIL: Final = r"^[!-?A-~]+@[!-?A-~]+\z"  # MongoDB has lower case of these only


def _repair(name: str, description: str, matching: BSON, update: BSON | list[BSON]) -> Repair:
    return Repair(name, description, Backfill(UserDocument, matching, update))


def _null(name: str) -> BSON:
    parent, is_part, _ = name.rpartition(".")
    return {name: {"$type": "null", **NO_LIST}, **({parent: NO_LIST} if is_part else {})}


_SPELLED_OTHERWISE: Final = {
    "$cond": [
        {"$eq": [{"$type": "$username_key"}, "string"]},
        {"$and": [{"$ne": ["$username_key", NAME_KEY]}, {"$eq": [{"$strcasecmp": ["$username_key", NAME_KEY]}, 0]}]},
        True,
    ]
}

REPAIRS: Final = (
    _repair(
        "username_key",
        "User names without a key, or with one in capitals: store the name in lower case.",
        {"username": {"$regex": r"^[A-Za-z0-9_.-]{3,50}\z", **NO_LIST}, "$expr": _SPELLED_OTHERWISE},
        [{"$set": {"username_key": NAME_KEY}}],
    ),
    _repair(
        "email_key",
        "E-mail addresses without a key: store the address in lower case.",
        {"email": {"$regex": ASCII_EMAIL, **NO_LIST}, "email_key": {"$not": {"$type": "string"}}},
        [{"$set": {"email_key": {"$toLower": "$email"}}}],
    ),
    _repair(
        "email_key_null",
        "No e-mail address, and null in email_key: remove the field, because null is unique, too.",
        {"email": None, **_null("email_key")},
        {"$unset": {"email_key": ""}},
    ),
    _repair(
        "api_tokens_without_scopes",
        "API tokens without a scope, as version 1.4 left to former admins: remove them, for they permit nothing.",
        {"api_tokens": {"$elemMatch": _NO_SCOPES}},
        {"$pull": {"api_tokens": _NO_SCOPES}},
    ),
    *(
        _repair(
            f"{name}_null",
            f"Null in {name}: remove the field, which is absent without a value.",
            _null(name),
            {"$unset": {name: ""}},
        )
        for name in ABSENT
    ),
    *(
        _repair(
            f"{name}_integer",
            f"Whole numbers of another type in {name}: store them as int.",
            whole_number(name, ["double", "decimal"], 0, INT32_MAX),
            [{"$set": {name: {"$toInt": f"${name}"}}}],
        )
        for name in COUNTERS
    ),
)

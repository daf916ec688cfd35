"""Mending: an account in which a script has left what an update cannot go on from, such as text in place of a list."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from bson import ObjectId
from pymongo.errors import OperationFailure

from taskapi.accounts.users.documents import UserDocument
from taskapi.db.connection import BSON, collection

log = logging.getLogger(__name__)

Result = TypeVar("Result")

INAPPLICABLE: Final = {2, 14, 28}  # the server's BadValue, TypeMismatch and PathNotViable
_TYPE_OF_SESSIONS: Final[BSON] = {"$type": "$sessions"}
MENDED: Final[BSON] = {
    "sessions": {
        "$switch": {
            "branches": [
                {"case": {"$eq": [_TYPE_OF_SESSIONS, "array"]}, "then": "$sessions"},
                {"case": {"$eq": [_TYPE_OF_SESSIONS, "objectId"]}, "then": ["$sessions"]},  # which is how it is read
            ],
            "default": [],
        }
    },
    "renames": {
        "$switch": {
            "branches": [
                {"case": {"$eq": [{"$type": "$renames"}, "missing"]}, "then": "$$REMOVE"},
                {"case": {"$and": [{"$isNumber": "$renames"}, {"$lt": ["$renames", 2**53]}]}, "then": "$renames"},
            ],
            "default": 1,
        }
    },
    "renaming": {"$cond": [{"$eq": [{"$type": "$renaming"}, "object"]}, "$renaming", "$$REMOVE"]},
}


async def mending(user: ObjectId, write: Callable[[], Awaitable[Result]]) -> Result:
    """The result of ``write``, an update of the account ``user``; when MongoDB cannot apply it, mends it and tries again."""
    try:
        return await write()
    except OperationFailure as error:
        if error.code not in INAPPLICABLE:
            raise
    mended = await collection(UserDocument).update_one({"_id": user}, [{"$set": MENDED}])
    if mended.modified_count:
        log.warning("a damaged account was mended", extra={"fields": {"document": str(user)}})
    return await write()

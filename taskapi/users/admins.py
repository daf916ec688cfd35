"""The rule that an active admin is always left.

A stand-in: the part about roles brings the real module, whose ``set_unless_last`` has the same contract.
"""

from taskapi.account_errors import LastAdmin
from taskapi.database import BSON, Session, collection, transaction
from taskapi.users.documents import ACTIVE, UserDocument


async def set_unless_last(conditions: BSON, values: BSON) -> BSON | None:
    """Sets ``values`` in the one account that meets ``conditions``, when an active admin is left then.

    The account as it was before; None when none meets them.

    Raises:
        LastAdmin: nothing was changed.
    """

    async def write(session: Session | None) -> BSON | None:
        users = collection(UserDocument)
        found = await users.find_one({**conditions, "role": "admin"}, {"_id": 1}, session=session)
        others = {"_id": {"$ne": found["_id"]}, "role": "admin", **ACTIVE} if found else {}
        if found and await users.count_documents(others, limit=1, session=session) == 0:
            raise LastAdmin
        return await users.find_one_and_update(conditions, {"$set": values}, session=session)

    return await transaction(UserDocument, write)

"""The views of security events, for scripts that read the database."""

from typing import Final

from taskapi.audit.documents import SecurityEventDocument
from taskapi.db.expressions import or_null
from taskapi.db.views import View, ViewField

SIGN_INS: Final = View(
    name="v_sign_ins",
    on=SecurityEventDocument,
    pipeline=[
        {"$match": {"kind": "sign_in"}},
        {
            "$project": {
                "at": 1,
                "user_id": "$user",
                "succeeded": {"$eq": ["$outcome", "success"]},
                "reason": or_null("$details.reason"),
            }
        },
    ],
    description=(
        "The attempts to sign in, without IP addresses and programs. Events are kept for `TASKAPI_EVENT_DAYS`, and removed with "
        "their account."
    ),
    fields=(
        ViewField("_id", "objectId", "the event's id"),
        ViewField("at", "date", "when it was"),
        ViewField("user_id", "objectId or null", "the account: `_id` of `v_users`; null if no account has the name"),
        ViewField("succeeded", "bool", "whether it succeeded"),
        ViewField(
            "reason",
            "string or null",
            "why it failed, such as `disabled`; null if it succeeded, or if the name or password was wrong",
        ),
    ),
)

VIEWS: Final = (SIGN_INS,)

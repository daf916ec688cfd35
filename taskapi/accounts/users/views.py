"""The views of accounts, for scripts that read the database. None contains a password, a token or a secret."""

from typing import Final

from taskapi.accounts.users.documents import UserDocument
from taskapi.db.expressions import or_null, time_or_null
from taskapi.db.views import View, ViewField

_ID: Final = ViewField("_id", "objectId", "the account's id: `owner_id` of the other views")
_USERNAME: Final = ViewField("username", "string", "the user name, in the user's spelling")

USERS: Final = View(
    name="v_users",
    on=UserDocument,
    pipeline=[
        {
            "$project": {
                "username": 1,
                "created_at": 1,
                "updated_at": 1,
                "disabled": {"$eq": ["$disabled", True]},
                "role": {"$ifNull": ["$role", UserDocument.model_fields["role"].default]},
                "two_factor": {"$eq": ["$two_factor", True]},
                "has_email": {"$eq": [{"$type": "$email"}, "string"]},
                "email_verified": {"$eq": ["$email_verified", True]},
                "deletion_due_at": time_or_null("$leaving.due_at"),
            }
        }
    ],
    description="The accounts, without names of people, e-mail addresses and secrets.",
    fields=(
        _ID,
        _USERNAME,
        ViewField("created_at", "date", "when it was created"),
        ViewField("updated_at", "date", "when its owner last changed it"),
        ViewField("disabled", "bool", "whether it cannot sign in"),
        ViewField("role", "string", "`user` or `admin`"),
        ViewField("two_factor", "bool", "whether signing in takes a second factor"),
        ViewField("has_email", "bool", "whether it has an e-mail address"),
        ViewField("email_verified", "bool", "whether its owner has proved access to that address"),
        ViewField("deletion_due_at", "date or null", "when it may be erased; null unless its owner asked for it"),
    ),
)
USER_EMAILS: Final = View(
    name="v_user_emails",
    on=UserDocument,
    pipeline=[
        {"$match": {"email": {"$type": "string"}}},
        {"$project": {"username": 1, "email": or_null("$email")}},
    ],
    description="The e-mail addresses of the accounts that have one.",
    fields=(_ID, _USERNAME, ViewField("email", "string", "the address, with its domain in lower case")),
    on_request=True,
)

VIEWS: Final = (USERS, USER_EMAILS)

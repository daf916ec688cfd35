"""The migrations of accounts."""

from typing import Final

from taskapi.accounts.users.documents import UserDocument
from taskapi.db.expressions import literals
from taskapi.db.migrations.backfill import backfill, store_missing

ADDED_FIELDS: Final = ("email_verified", "role", "sessions")  # what registration stores: others are absent at first
DEFAULTS: Final = literals({name: UserDocument.model_fields[name].default for name in ADDED_FIELDS})
"""What accounts of earlier versions lack, and are read with: the expressions of its values."""

MIGRATIONS = (
    backfill(
        2,
        "account_defaults",
        "Accounts of versions 1.0 to 1.4: store the fields that they lack: email_verified, role and sessions.",
        document=UserDocument,
        **store_missing(DEFAULTS),
    ),
)

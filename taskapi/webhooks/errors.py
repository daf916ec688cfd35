"""The errors of webhooks, in the categories of ``core.errors``.

Conflict
├── TooManyWebhooks     the account has the maximum number of webhooks
└── WebhookDisabled     the webhook sends nothing
PreconditionFailed
└── WebhookChanged      the webhook has another version than the caller expects
"""

from taskapi.core.errors import Conflict, PreconditionFailed
from taskapi.webhooks.documents import MAX_WEBHOOKS


class TooManyWebhooks(Conflict):
    """The account has as many webhooks as it can have."""

    code = "too_many_webhooks"
    detail = f"You have {MAX_WEBHOOKS} webhooks already. Delete one first."


class WebhookDisabled(Conflict):
    """The webhook sends nothing."""

    code = "webhook_disabled"
    detail = "This webhook is disabled. Enable it first."


class WebhookChanged(PreconditionFailed):
    """The webhook is at another version than the caller expects."""

    code = "webhook_changed"

    def __init__(self, version: int) -> None:
        super().__init__(version, f'The webhook is at version "{version}", not at the one in If-Match. Read it again.')

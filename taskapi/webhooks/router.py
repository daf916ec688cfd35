"""Routes of webhooks."""

from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response, Security

from taskapi.accounts.callers import Caller, authenticate_again
from taskapi.accounts.dependencies import account_principal
from taskapi.audit.dependencies import CallerAuditLog
from taskapi.core.errors import QueryTimeout
from taskapi.core.fields import object_id
from taskapi.db.change_streams import StreamsUnsupported
from taskapi.web import admission
from taskapi.web.conditional import ETAG_HEADER, IF_MATCH, OfferedVersions, etag
from taskapi.web.pagination import LIST_HEADERS
from taskapi.web.problems import responses
from taskapi.web.routing import LOCATION, page_headers, path_id, path_to, strict_router
from taskapi.web.services import provided
from taskapi.webhooks.errors import TooManyWebhooks, WebhookChanged, WebhookDisabled
from taskapi.webhooks.schemas import (
    DeliveryQuery,
    DeliveryRead,
    WebhookCreate,
    WebhookMade,
    WebhookRead,
    WebhookUpdate,
)
from taskapi.webhooks.service import WebhookService

router = strict_router(prefix="/webhooks", tags=["webhooks"])

WebhookId = Annotated[str, path_id("The id of the webhook.")]
DeliveryId = Annotated[str, path_id("The id of the delivery.")]
# A webhook sends tasks elsewhere: the scope account alone is not enough.
WebhookOwner = Annotated[Caller, Security(account_principal, scopes=["tasks:read"])]
Webhooks = Annotated[WebhookService, Depends(provided(WebhookService))]
WITH_ETAG: dict[int | str, Any] = {200: {"headers": ETAG_HEADER}}


@router.post(
    "",
    status_code=201,
    summary="Create a webhook",
    response_description="The webhook with its secret, which is shown only here.",
    responses={
        201: {"headers": {**ETAG_HEADER, **LOCATION}},
        **responses(400, 401, 403, TooManyWebhooks, 413, 415, 422, StreamsUnsupported),
    },
)
async def create_webhook(
    data: WebhookCreate, caller: WebhookOwner, webhooks: Webhooks, audit_log: CallerAuditLog, request: Request, response: Response
) -> WebhookMade:
    """Have the events of your tasks sent to a server of yours: of every change after this answer, and of none before."""
    made = await webhooks.create(caller.user, data, audit_log, partial(authenticate_again, request))
    response.headers["Location"] = path_to(request, router, "read_webhook", webhook_id=made.id)
    response.headers["ETag"] = etag(made.version)
    return made


@router.get("", summary="List your webhooks", response_description="Your webhooks, oldest first.", responses=responses(401, 403))
async def list_webhooks(caller: WebhookOwner, webhooks: Webhooks) -> list[WebhookRead]:
    """Your webhooks, oldest first: at most 20."""
    return await webhooks.list_for_user(caller.user)


@router.get(
    "/{webhook_id}",
    summary="Read a webhook",
    response_description="The webhook.",
    responses={**WITH_ETAG, **responses(401, 403, 404)},
)
async def read_webhook(webhook_id: WebhookId, caller: WebhookOwner, webhooks: Webhooks, response: Response) -> WebhookRead:
    """One webhook."""
    hook = await webhooks.get(caller.user, object_id(webhook_id))
    response.headers["ETag"] = etag(hook.version)
    return hook


@router.patch(
    "/{webhook_id}",
    summary="Change a webhook",
    response_description="The webhook after the change.",
    responses={**WITH_ETAG, **responses(400, 401, 403, 404, WebhookChanged, 413, 415, 422)},
    openapi_extra=IF_MATCH,
)
async def update_webhook(
    webhook_id: WebhookId,
    data: WebhookUpdate,
    caller: WebhookOwner,
    versions: OfferedVersions,
    webhooks: Webhooks,
    audit_log: CallerAuditLog,
    request: Request,
    response: Response,
) -> WebhookRead:
    """Change a webhook: send the fields that change. Disabling it ends what is still to be sent."""
    await authenticate_again(request)
    hook = await webhooks.update(caller.user, object_id(webhook_id), data, versions, audit_log)
    response.headers["ETag"] = etag(hook.version)
    return hook


@router.delete(
    "/{webhook_id}",
    status_code=204,
    summary="Delete a webhook",
    responses=responses(401, 403, 404, WebhookChanged),
    openapi_extra=IF_MATCH,
)
async def delete_webhook(
    webhook_id: WebhookId, caller: WebhookOwner, versions: OfferedVersions, webhooks: Webhooks, audit_log: CallerAuditLog
) -> None:
    """Delete a webhook and its deliveries. Nothing more is sent, except what is being sent right now."""
    await webhooks.delete(caller.user, object_id(webhook_id), versions, audit_log)


@router.post(
    "/{webhook_id}/rotate-secret",
    summary="Rotate the secret of a webhook",
    response_description="The webhook with its new secret, which is shown only here.",
    responses={**WITH_ETAG, **responses(401, 403, 404)},
)
async def rotate_webhook_secret(
    webhook_id: WebhookId, caller: WebhookOwner, webhooks: Webhooks, audit_log: CallerAuditLog, response: Response
) -> WebhookMade:
    """Replace the secret. For 24 hours, what is sent has a signature by the previous one as well."""
    made = await webhooks.rotate_secret(caller.user, object_id(webhook_id), audit_log)
    response.headers["ETag"] = etag(made.version)
    return made


@router.post(
    "/{webhook_id}/ping",
    status_code=202,
    summary="Try a webhook",
    response_description="The delivery of the ping.",
    responses=responses(401, 403, 404, WebhookDisabled),
)
async def ping_webhook(webhook_id: WebhookId, caller: WebhookOwner, webhooks: Webhooks) -> DeliveryRead:
    """Send an event `webhook.ping`. The deliveries show what the receiver answers."""
    return await webhooks.ping(caller.user, object_id(webhook_id))


@router.get(
    "/{webhook_id}/deliveries",
    summary="List the deliveries to a webhook",
    response_description="A page of deliveries, newest first.",
    responses={200: {"headers": LIST_HEADERS}, **responses(401, 403, 404, 422, QueryTimeout, *admission.PROBLEMS)},
)
async def list_deliveries(
    webhook_id: WebhookId,
    query: Annotated[DeliveryQuery, Query()],
    caller: WebhookOwner,
    webhooks: Webhooks,
    request: Request,
    response: Response,
) -> list[DeliveryRead]:
    """What was sent in the last 30 days and is to be sent, newest first, with what the receiver answered."""
    async with admission.admit(admission.RECORDS, request):
        page = await webhooks.list_deliveries(caller.user, object_id(webhook_id), query)
    path = path_to(request, router, "list_deliveries", webhook_id=webhook_id)
    response.headers.update(page_headers(path, query, page.total))
    return page.entries


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    summary="Send an event again",
    response_description="The delivery, which is pending now.",
    responses=responses(401, 403, 404, WebhookDisabled),
)
async def redeliver(webhook_id: WebhookId, delivery_id: DeliveryId, caller: WebhookOwner, webhooks: Webhooks) -> DeliveryRead:
    """Send an event again, with the same `webhook-id`, whether it was delivered or not."""
    return await webhooks.redeliver(caller.user, object_id(webhook_id), object_id(delivery_id))

"""Tickets as callers see them."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from taskapi.core.fields import UTCDateTime

TICKET_EXAMPLE: dict[str, Any] = {
    "ticket": "tkt_Zm9yIG9uZSBzdHJlYW0sIGFuZCBmb3IgdGhpcnR5IHM",
    "expires_at": "2027-01-31T09:15:30.123Z",
}


class TicketMade(BaseModel):
    """A ticket, which is shown only here."""

    model_config = ConfigDict(json_schema_extra={"examples": [TICKET_EXAMPLE]})

    ticket: Annotated[str, Field(description="Send it as `?ticket=`, once.")]
    expires_at: Annotated[UTCDateTime, Field(description="When it expires: 30 seconds after it was created.")]

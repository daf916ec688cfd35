"""Cursors: signed positions in a list of tasks, each valid only for the query that it was created for."""

from collections.abc import Sequence
from typing import Annotated, Any

import bson
from pydantic import Field

from taskapi.core.errors import FieldError, InvalidInput
from taskapi.core.fields import in_words
from taskapi.core.keys import SIGNATURE_BYTES, Signer, decode_base64url, encode_base64url
from taskapi.db.connection import CODEC

MAX_LENGTH = 2000  # characters; a title of 200 four-byte letters needs 1,200

CursorText = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9_-]+$",
        max_length=MAX_LENGTH,
        description="The `X-Next-Cursor` of the previous page. Cannot be combined with `offset`. A task whose sort fields do not "
        "change is returned exactly once; one that a change moves past the cursor, twice or not at all.",
    ),
    in_words("must be a cursor as it was given: letters, digits, hyphens and underscores"),
]


class CursorSigner(Signer):
    """Signs cursors."""


def write_cursor(place: Sequence[Any], query: bytes, signer: CursorSigner) -> str:
    """Encodes ``place``, the sort values of a task including its id, as a cursor for ``query``."""
    payload = bson.encode({"": place})
    return encode_base64url(signer.sign(query, payload) + payload)


def read_cursor(cursor: str, query: bytes, signer: CursorSigner) -> list[Any]:
    """Decodes the place in a cursor. Raises InvalidInput unless the cursor was created for ``query``."""
    signed = decode_base64url(cursor) or b""
    signature, payload = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
    if not signer.verify(signature, query, payload):
        raise _wrong()
    place: list[Any] = bson.decode(payload, CODEC)[""]
    return place


def _wrong() -> InvalidInput:
    return InvalidInput([FieldError("cursor", "does not belong to this query; start again from the first page", "wrong_cursor")])

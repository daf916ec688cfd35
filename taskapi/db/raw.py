"""Stored documents as MongoDB sends them: BSON that is decoded only where its values are needed.

A document starts with its length. Each field follows with its type, name and value; ``_id`` is always the first.
"""

from collections.abc import Sequence

import bson
from bson.raw_bson import RawBSONDocument

from taskapi.db.connection import BSON, CODEC

Raw = bytes
"""A document in BSON."""

_LENGTH, _END = 4, 1  # bytes before the fields, and after them
_ID_NAME = slice(5, 8)  # after the length and the type of the first field
_ID = slice(9, 21)  # the value of ``_id``, if it is an ObjectId
_INTEGER = 4  # the bytes of an integer of 32 bits


def raw(document: RawBSONDocument) -> Raw:
    """The bytes of a document. The driver gives a view of its buffer for a long one."""
    return bytes(document.raw)


def decode(document: Raw) -> BSON:
    """The values of a document."""
    return bson.decode(document, CODEC)


def decode_all(documents: Sequence[Raw]) -> list[BSON]:
    """The values of each document."""
    return bson.decode_all(b"".join(documents), CODEC)


def object_id_of(document: Raw) -> bytes:
    """The bytes of a document's ``_id``, which is an ObjectId."""
    return document[_ID]


def has_id(document: Raw) -> bool:
    """Whether a document has an ``_id``, as all have that are stored."""
    return document[_ID_NAME] == b"_id"


def split_number(document: Raw, name: str) -> tuple[int, Raw]:
    """The last field of a document, a small number called ``name``, and the document without it."""
    start = len(document) - _END - _INTEGER
    end = start - len(name) - 2
    number = int.from_bytes(document[start:-_END], "little")
    return number, (end + _END).to_bytes(_LENGTH, "little") + document[_LENGTH:end] + b"\0"

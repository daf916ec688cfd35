"""The ids of new documents. A request that is repeated after a crash assigns the same ids, so it stores nothing twice."""

import hashlib
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from bson import ObjectId

MAX_IDS = 2**24  # what the counter of an ObjectId holds

_sequence: ContextVar[Iterator[ObjectId] | None] = ContextVar("sequence", default=None)


def new_id() -> ObjectId:
    """An id for a new document: inside ``deterministic_ids`` the next of its sequence, else any.

    A write that meets its own id (DuplicateKeyError on ``_id``) was done by an earlier run of the same request.
    Draw ids in an order that depends on the request alone, and outside of what MongoDB may have run again (a transaction).
    """
    sequence = _sequence.get()
    return ObjectId() if sequence is None else next(sequence)


def id_within(owner: ObjectId, given: ObjectId) -> ObjectId:
    """The id that stands for ``given`` in the account of ``owner``: always the same, and one that no caller can choose.

    An id that a caller gives may be that of somebody else's document, which the caller must not learn, or one that the
    service is about to draw.
    """
    return ObjectId(hashlib.blake2b(owner.binary + given.binary, digest_size=12, person=b"id within").digest())


def new_seed() -> ObjectId:
    """The first id of a new sequence: the time, five fresh random bytes, and a counter at zero.

    The bytes are not the process's own, which are those of its ordinary ids.
    """
    return ObjectId(struct.pack(">I", int(time.time())) + os.urandom(5) + bytes(3))


@contextmanager
def deterministic_ids(seed: ObjectId) -> Iterator[None]:
    """Inside, ``new_id`` gives the sequence that begins with ``seed``: the same at every run."""
    token = _sequence.set(_from(seed))
    try:
        yield
    finally:
        _sequence.reset(token)


def _from(seed: ObjectId) -> Iterator[ObjectId]:
    start = seed.binary[:9]
    for number in range(MAX_IDS):
        yield ObjectId(start + number.to_bytes(3, "big"))
    raise OverflowError(f"one request makes at most {MAX_IDS} ids")

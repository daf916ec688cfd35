"""The indexes of a collection at start: those that its document declares are made, those that it had before are dropped."""

import logging
from typing import Any

from beanie import Document
from pymongo.errors import OperationFailure

log = logging.getLogger(__name__)

INDEX_NOT_FOUND = 27


async def create(collection: Any, document: type[Document]) -> None:
    """Makes the ``indexes`` of a document's settings, then drops its ``former_indexes``.

    An index whose definition changes gets a new name: MongoDB refuses two definitions under one. Several workers may do
    this at once; what one of them has dropped already is no error. An index that cannot be dropped costs some time with each
    write: the log names it, and the service starts.
    """
    declared = list(getattr(document.Settings, "indexes", ()))
    if declared:
        await collection.create_indexes(declared)
    former = set(getattr(document.Settings, "former_indexes", ()))
    for name in former.intersection(await collection.index_information()) if former else ():
        try:
            await collection.drop_index(name)
        except OperationFailure as error:
            if error.code != INDEX_NOT_FOUND:
                fields = {"collection": collection.name, "index": name, "reason": str(error).split(", full error")[0]}
                log.warning("former index not dropped", extra={"fields": fields})

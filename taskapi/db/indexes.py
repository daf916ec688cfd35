"""The indexes of a database at start: those that the documents declare are made, those that they had before are dropped."""

import logging
from collections.abc import Iterable
from typing import Any

from beanie import Document, init_beanie
from pymongo.errors import OperationFailure

log = logging.getLogger(__name__)

INDEX_NOT_FOUND = 27


async def bind(handle: Any, documents: Iterable[type[Document]]) -> None:
    """Points the document classes at the database ``handle``, makes their indexes, then drops those in ``former_indexes``.

    An index whose definition changes gets a new name: MongoDB refuses two definitions under one. Several workers may do
    this at once; what one of them has dropped already is no error. An index that cannot be dropped costs some time with each
    write: the log names it, and the service starts.
    """
    await init_beanie(database=handle, document_models=list(documents))
    for document in documents:
        collection = document.get_motor_collection()
        former = set(getattr(document.Settings, "former_indexes", ()))
        for name in former.intersection(await collection.index_information()) if former else ():
            try:
                await collection.drop_index(name)
            except OperationFailure as error:
                if error.code != INDEX_NOT_FOUND:
                    fields = {"collection": collection.name, "index": name, "reason": str(error).split(", full error")[0]}
                    log.warning("former index not dropped", extra={"fields": fields})

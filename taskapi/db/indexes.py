"""The indexes that documents declare, and their creation when the service starts."""

import logging
from collections.abc import Sequence
from typing import Any

from beanie import Document
from pymongo import IndexModel
from pymongo.errors import OperationFailure

log = logging.getLogger(__name__)

INDEX_NOT_FOUND = 27


class Index(IndexModel):
    """An index, and which queries it ``serves``, in Markdown for the page of its collection. It has a name of its own."""

    def __init__(self, keys: Sequence[tuple[str, int | str]], *, name: str, serves: str, **options: Any) -> None:
        super().__init__(keys, name=name, **options)
        self.name, self.serves = name, serves


async def create(collection: Any, document: type[Document]) -> None:
    """Creates the ``indexes`` of a document's settings, then drops its ``former_indexes``.

    An index whose definition changes needs a new name, because MongoDB refuses a second definition under one name. Several
    workers may do this at once. An index that cannot be dropped only slows writes down, so it is logged and the service starts.
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

"""Finds the documents of a past without validators that their validators refuse, and says why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pymongo
from beanie import Document

from taskapi.db.connection import Database
from taskapi.db.validation import SCAN_SECONDS
from taskapi.db.validators import models_of, single_conditions, validator

MAX_NAMED = 10  # in each collection
MAX_REASONS = 5


@dataclass(frozen=True, slots=True)
class InvalidDocuments:
    """The invalid documents of a collection: how many, and for the first of them, what is wrong."""

    collection: str
    count: int
    reasons: Sequence[tuple[Any, Sequence[str]]]  # the ``_id``, and the fields or rules

    def describe(self) -> list[str]:
        """The lines that name them. They contain no stored value but the ids."""
        lines = [f"{self.collection}: {self.count:,} invalid document{'s' if self.count > 1 else ''}"]
        for document_id, reasons in self.reasons:
            more = f" and {len(reasons) - MAX_REASONS} more" if len(reasons) > MAX_REASONS else ""
            lines.append(f"  {str(document_id)[:100]!s}: {', '.join(reasons[:MAX_REASONS])}{more}")
        if self.count > len(self.reasons):
            lines.append(f"  … and {self.count - len(self.reasons):,} more")
        return lines


async def find_invalid(database: Database, documents: Sequence[type[Document]], *, lenient: bool) -> list[InvalidDocuments]:
    """The collections with invalid documents. It looks at every document."""
    found: list[InvalidDocuments] = []
    for document in documents:
        collection = database.collection(document)
        refused = {"$nor": [validator(document, lenient=lenient, thorough=True)]}
        with pymongo.timeout(SCAN_SECONDS):
            if count := await collection.count_documents(refused):
                first = await collection.find(refused, {"_id": 1}, limit=MAX_NAMED).to_list(MAX_NAMED)
                ids = [each["_id"] for each in first]
                reasons = await _reasons(database, document, ids, lenient=lenient)
                found.append(InvalidDocuments(document.Settings.name, count, reasons))
    return found


async def _reasons(
    database: Database, document: type[Document], ids: Sequence[Any], *, lenient: bool
) -> list[tuple[Any, list[str]]]:
    """What is wrong with these documents. If there are several models, the one counts with which the least is wrong."""
    collection, by_model = database.collection(document), list[list[list[str]]]()
    for model, rules in models_of(document, lenient=lenient):
        wrong: list[list[str]] = [[] for _ in ids]
        for name, condition in single_conditions(model, rules, lenient=lenient):
            matching = {"_id": {"$in": list(ids)}, "$nor": [condition]}
            refused = [each["_id"] for each in await collection.find(matching, {"_id": 1}).to_list(None)]
            for place, document_id in enumerate(ids):
                if document_id in refused:
                    wrong[place].append(name)
        by_model.append(wrong)
    return [(document_id, min((wrong[place] for wrong in by_model), key=len)) for place, document_id in enumerate(ids)]

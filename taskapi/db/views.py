"""Views for scripts that read the database, and how those of a database differ from the declarations. Knows no domain.

A domain declares its views in its ``views.py``; ``main.py`` gathers them. A missing view is created at every start. One that
differs is changed by ``taskapi migrate up``, as indexes are: workers of two versions would change it back and forth.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import bson
from beanie import Document
from pymongo.errors import OperationFailure

from taskapi.db.codes import NAMESPACE_EXISTS, NAMESPACE_NOT_FOUND, UNAUTHORIZED
from taskapi.db.indexes import DESCRIPTIONS, MIGRATE, Drift

log = logging.getLogger(__name__)

BSON = dict[str, Any]

NO_RIGHTS: Final = (
    "views cannot be created or changed: the MongoDB user of the service lacks the right; give it the role readWrite, "
    f"or create them as another user with: {MIGRATE}"
)


@dataclass(frozen=True, slots=True)
class ViewField:
    """A field of the rows of a view: its BSON types, and what it means, in Markdown."""

    name: str
    types: str
    meaning: str


@dataclass(frozen=True, slots=True)
class View:
    """A view: the collection that it reads, and how; for its documentation, what a row is and what its fields are.

    ``on_request`` is set for one that contains personal data: an analyst may read it only if an operator says so.
    """

    name: str
    on: type[Document]
    pipeline: Sequence[BSON]
    description: str  # one sentence in Markdown
    fields: Sequence[ViewField]
    on_request: bool = False


@dataclass(frozen=True, slots=True)
class ViewDrift:
    """A view that differs."""

    name: str
    drift: Drift
    is_guarded: bool = False  # a collection has its name, which only an operator may rename

    def describe(self) -> str:
        """What differs, in one line, and what to do if that takes more than the command."""
        remedy = "; a collection has its name: rename that" if self.is_guarded else ""
        return f"view {self.name} {DESCRIPTIONS[self.drift]}{remedy}"


async def compare(database: Any, views: Sequence[View], former: Iterable[str] = ()) -> list[ViewDrift]:
    """The views of a database that differ from the declared ones, or that were declared by an earlier version."""
    names = [*(view.name for view in views), *former]
    found = await database.command("listCollections", filter={"name": {"$in": names}}, cursor={"batchSize": len(names) + 1})
    stored = {each["name"]: each for each in found["cursor"]["firstBatch"]}
    drifts = []
    for view in views:
        if view.name not in stored:
            drifts.append(ViewDrift(view.name, Drift.missing))
        elif stored[view.name]["type"] != "view":
            drifts.append(ViewDrift(view.name, Drift.missing, is_guarded=True))
        elif not _is_same(view, stored[view.name]["options"]):
            drifts.append(ViewDrift(view.name, Drift.changed))
    is_view = {name for name, each in stored.items() if each["type"] == "view"}
    return drifts + [ViewDrift(name, Drift.former) for name in sorted(is_view & set(former))]


async def create_missing(database: Any, views: Sequence[View]) -> None:
    """Creates the views that are missing. Several workers may do this at once."""
    await _write(database, views, {Drift.missing})


async def repair(database: Any, views: Sequence[View]) -> None:
    """Creates the views that are missing, and changes those that differ."""
    await _write(database, views, {Drift.missing, Drift.changed})


async def drop_former(database: Any, former: Iterable[str]) -> None:
    """Drops the views of earlier versions."""
    try:
        for each in await compare(database, (), former):
            await _drop(database, each.name)
            log.info("view %s dropped", each.name)
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        log.warning(NO_RIGHTS)


async def _write(database: Any, views: Sequence[View], drifts: Collection[Drift]) -> None:
    by_name = {view.name: view for view in views}
    try:
        for each in await compare(database, views):
            if each.is_guarded:
                log.warning(each.describe())
            elif each.drift not in drifts:
                log.warning("%s; to repair it: %s", each.describe(), MIGRATE)
            elif each.drift is Drift.missing:
                await _create(database, by_name[each.name])
            else:
                await _change(database, by_name[each.name])
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:  # the API does not need them
            raise
        log.warning(NO_RIGHTS)


async def _create(database: Any, view: View) -> None:
    try:
        await database.command("create", view.name, **_definition(view))
    except OperationFailure as error:
        if error.code != NAMESPACE_EXISTS:  # another process was quicker
            raise


async def _change(database: Any, view: View) -> None:
    """Changes a view in one step. The role ``readWrite`` does not allow that: with it, the view is dropped and created again.

    Each process creates a view after it has dropped it, so in the end it is there. If one is killed between, the next start
    creates it.
    """
    try:
        await database.command("collMod", view.name, **_definition(view))
    except OperationFailure as error:
        if error.code == UNAUTHORIZED:
            await _drop(database, view.name)
        elif error.code != NAMESPACE_NOT_FOUND:  # another process has just dropped it
            raise
        await _create(database, view)


async def _drop(database: Any, name: str) -> None:
    try:
        await database.command("drop", name)
    except OperationFailure as error:
        if error.code != NAMESPACE_NOT_FOUND:  # another process was quicker
            raise


def _definition(view: View) -> BSON:
    return {"viewOn": view.on.Settings.name, "pipeline": list(view.pipeline)}


def _is_same(view: View, stored: BSON) -> bool:
    """Whether the stored options of a view are the declared ones, as BSON: numbers of another type differ."""
    wanted = _definition(view)
    return bson.encode(wanted) == bson.encode({name: stored.get(name) for name in wanted})

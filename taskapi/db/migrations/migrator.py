"""Applies migrations to a database, and says which are left."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from beanie import Document
from pymongo.errors import PyMongoError

from taskapi.core.errors import DatabaseUnavailable, StartupError
from taskapi.db.connection import BSON, Database
from taskapi.db.errors import to_domain_error
from taskapi.db.indexes import Drift, IndexDrift
from taskapi.db.invalid_documents import InvalidDocuments, find_invalid
from taskapi.db.migrations.documents import MigrationDocument
from taskapi.db.migrations.repair import Repair
from taskapi.db.migrations.repository import Held, LeaseLost, MigrationRepository
from taskapi.db.migrations.step import Migration, Phase
from taskapi.db.service_state import ServiceStateDocument
from taskapi.db.validation import ValidatorDrift
from taskapi.db.views import View, ViewDrift

log = logging.getLogger(__name__)

Result = TypeVar("Result")
OWN_DOCUMENTS = {MigrationDocument, ServiceStateDocument}  # an empty database may hold them
AnyDrift = IndexDrift | ViewDrift | ValidatorDrift
ATTEMPTS, PAUSE_SECONDS = 10, 1.0  # while MongoDB elects a primary

Report = Callable[[Migration, int, int], None]
"""Called while a step runs: with the number of documents to change, and of those that were changed or skipped so far."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a version of the service stores: its documents, the steps that bring older databases there, and its views."""

    documents: Sequence[type[Document]]
    migrations: Sequence[Migration]
    views: Sequence[View] = ()
    former_views: frozenset[str] = frozenset()  # of earlier versions
    repairs: Sequence[Repair] = ()


@dataclass(frozen=True, slots=True)
class StepState:
    """A step, and what the database says about it: None until it has begun."""

    migration: Migration
    record: BSON | None

    @property
    def is_applied(self) -> bool:
        return self.record is not None and self.record.get("finished_at") is not None


class Migrator:
    """The migrations of one database."""

    def __init__(self, database: Database, schema: Schema) -> None:
        self._database = database
        self._schema = schema
        self._repository = MigrationRepository(database)

    async def states(self) -> list[StepState]:
        """All steps in order.

        Raises:
            StartupError: a newer version has applied steps that this one does not know.
        """
        records = await self._repository.records()
        newest = self._schema.migrations[-1].number if self._schema.migrations else 0
        if newer := [number for number in records if number > newest]:
            name = records[newer[-1]].get("name")
            raise StartupError(
                f"the database {self._database.name} is newer than this version: it has migration {newer[-1]} ({name}), and "
                f"this version knows {newest}; install the version that wrote it, or restore a backup"
            )
        return [StepState(each, records.get(each.number)) for each in self._schema.migrations]

    async def pending(self, phases: Sequence[Phase] = (Phase.expand,)) -> list[Migration]:
        """The steps of these phases that were not applied."""
        return [state.migration for state in await self.states() if not state.is_applied and state.migration.phase in phases]

    async def is_empty(self) -> bool:
        """Whether the database holds no documents, except what the service stores about itself."""
        for document in self._schema.documents:
            if document not in OWN_DOCUMENTS and await self._database.collection(document).find_one({}, {"_id": 1}):
                return False
        return True

    async def index_drifts(self) -> list[IndexDrift]:
        """The indexes that differ from the declarations."""
        return await self._database.compare_indexes(self._schema.documents)

    async def drifts(self) -> list[AnyDrift]:
        """The indexes, views and validators that differ from the declarations."""
        return [
            *await self.index_drifts(),
            *await self._database.compare_views(self._schema.views, self._schema.former_views),
            *await self.validator_drifts(),
        ]

    async def has_former_indexes(self) -> bool:
        """Whether the previous version may have written something: its start creates its indexes."""
        return any(each.drift is Drift.former for each in await self.index_drifts())

    async def is_lenient(self) -> bool:
        """Whether workers of the previous version may write what lacks newer fields."""
        return bool(await self.pending((Phase.contract,))) or await self.has_former_indexes()

    async def validator_drifts(self) -> list[ValidatorDrift]:
        """The collections whose validators differ from those of the documents."""
        return await self._database.compare_validators(self._schema.documents, lenient=await self.is_lenient())

    async def invalid_documents(self) -> list[InvalidDocuments]:
        """The collections with documents that their validators refuse. It looks at every document."""
        return await find_invalid(self._database, self._schema.documents, lenient=await self.is_lenient())

    async def count_repairable(self) -> list[tuple[Repair, int]]:
        """The repairs that have something to do, and to how many documents."""
        counted = [(each, await each.work.count_left(self._database)) for each in self._schema.repairs]
        return [(repair, count) for repair, count in counted if count]

    async def repair_documents(self) -> None:
        """Repairs the invalid documents whose damage has one right answer, and makes collections strict that can be."""
        await self._with_lease(self._repair_documents)

    async def _repair_documents(self, held: Held) -> None:
        async def progress(total: int, changed: int = 0, skipped: int = 0) -> None:
            held.check()

        repaired = dict.fromkeys(repair.work.document for repair in self._schema.repairs)
        await self._database.loosen_validators([*repaired])
        for each in self._schema.repairs:
            await _with_retries(partial(each.work.run, self._database, progress))
        await self._database.repair_validators(self._schema.documents, lenient=await self.is_lenient())

    async def count_left(self, migrations: Iterable[Migration]) -> dict[int, int]:
        """How many documents each of these steps would change now, by its number."""
        return {each.number: await each.count_left(self._database) for each in migrations}

    async def outdated(self, phases: Sequence[Phase] = (Phase.expand,)) -> list[Migration]:
        """The applied steps of these phases that would change something now. It looks at all documents."""
        applied = [state.migration for state in await self.states() if state.is_applied and state.migration.phase in phases]
        left = await self.count_left(applied)
        return [each for each in applied if left[each.number]]

    async def set_up(self) -> None:
        """Makes an empty database one of this version. Several processes may do so at once."""
        await self._database.create_collections(self._schema.documents)
        await self._database.repair_validators(self._schema.documents, lenient=await self.has_former_indexes())
        await self._database.repair_views(self._schema.views)
        await self._repository.record_as_new(tuple(self._schema.migrations))

    async def up(self, *, contract: bool = False, thorough: bool = False, report: Report = lambda *_: None) -> list[Migration]:
        """Creates missing indexes and views, repairs those that drifted, applies the steps that are left, and sets validators.

        With ``contract``, which needs that no worker of the previous version runs, also the steps of that phase: before them, the
        expand steps run again, because such workers wrote meanwhile; after them, former indexes and views are dropped. If the
        previous version came back after that, which its indexes show, all steps run again. With ``thorough``, which looks at all
        documents, applied steps run again if a restored dump or a script has brought documents that they would change. Waits for
        another process that does this, and continues what a killed one began. Returns the steps that it ran.

        Raises:
            StartupError: the database is newer than this version.
            PyMongoError: MongoDB is unavailable for too long, or refuses; the next call continues.
        """
        await self.states()
        return await self._with_lease(partial(self._run_all, report=report, contract=contract, thorough=thorough))

    async def _with_lease(self, run: Callable[[Held], Awaitable[Result]]) -> Result:
        """Runs something while no other process migrates; anew if the lease was lost meanwhile."""
        while True:
            try:
                async with self._repository.leased() as held:
                    return await run(held)
            except LeaseLost:
                log.warning("this process was silent for too long, and another may apply the migrations; it waits for that one")

    async def _run_all(self, held: Held, report: Report, *, contract: bool, thorough: bool) -> list[Migration]:
        await self._database.create_collections(self._schema.documents)
        await self._database.repair_indexes(self._schema.documents)
        await self._database.repair_views(self._schema.views)
        to_run = await self._choose(contract=contract, thorough=thorough)
        if to_run and not await self.is_lenient():
            await self._database.loosen_validators(self._schema.documents)  # they refuse what lacks newer fields
        for each in to_run:
            await self._apply(each, held, report)
        if contract:
            await self._database.drop_former_indexes(self._schema.documents)
            await self._database.drop_former_views(self._schema.former_views)
        await self._database.repair_validators(self._schema.documents, lenient=await self.is_lenient())
        return to_run

    async def _choose(self, *, contract: bool, thorough: bool) -> list[Migration]:
        """The steps to run: those that are left, and those to repeat because documents of an earlier version came meanwhile."""
        expand = [each for each in self._schema.migrations if each.phase is Phase.expand]
        tightening = await self.pending((Phase.contract,))
        if not tightening and await self.has_former_indexes():  # the previous version was started after the contract phase
            return [*self._schema.migrations] if contract else expand
        if contract and tightening:
            return expand + tightening
        outdated = await self.outdated(tuple(Phase) if contract else (Phase.expand,)) if thorough else []
        return sorted([*await self.pending(), *outdated], key=lambda each: each.number)

    async def _apply(self, migration: Migration, held: Held, report: Report) -> None:
        await self._repository.begin(migration)
        await _with_retries(partial(self._run, migration, held, report))
        await self._repository.finish(migration)

    async def _run(self, migration: Migration, held: Held, report: Report) -> None:
        done = 0

        async def progress(total: int, changed: int = 0, skipped: int = 0) -> None:
            nonlocal done
            held.check()
            if changed or skipped:
                await self._repository.add(migration, changed, skipped)
                done += changed + skipped
            report(migration, total, done)

        log.info("migration %d (%s) begins", migration.number, migration.name)
        await migration.run(self._database, progress)
        log.info("migration %d (%s) has changed %d documents", migration.number, migration.name, done)


async def _with_retries(run: Callable[[], Awaitable[Any]]) -> None:
    """Runs a step, again while MongoDB is unavailable: it finds what is left to do."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            await run()
            return
        except PyMongoError as error:
            if attempt == ATTEMPTS or not isinstance(to_domain_error(error), DatabaseUnavailable):
                raise
            log.warning("migration interrupted: %s; it continues", type(error).__name__)
        await asyncio.sleep(PAUSE_SECONDS)

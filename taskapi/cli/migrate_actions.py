"""The actions of ``taskapi migrate``, on the configured MongoDB or the embedded one."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo.errors import PyMongoError

from taskapi.cli.progress import Progress, bar
from taskapi.core import logs
from taskapi.core.errors import StartupError
from taskapi.core.settings import Settings, load_settings
from taskapi.db import connection, embedded
from taskapi.db.blocking import why
from taskapi.db.connection import Database
from taskapi.db.indexes import MIGRATE, Drift, IndexDrift
from taskapi.db.migrations.migrator import AnyDrift, Migrator, StepState
from taskapi.db.migrations.step import Migration, Phase
from taskapi.db.service_state import ServiceStateRepository
from taskapi.db.validation import ValidatorDrift
from taskapi.db.views import ViewDrift
from taskapi.main import SCHEMA

UP_TO_DATE = "The database is up to date."
OF_EXPAND = {Drift.missing, Drift.changed, Drift.renamed}


@dataclass(frozen=True, slots=True)
class MigrateCommands:
    """The actions. Each prints its result, and returns whether nothing is left to do."""

    migrator: Migrator
    progress: Progress

    async def status(self) -> bool:
        """Prints all steps, and the indexes and views that differ."""
        states = await self.migrator.states()
        for state in states:
            print(_describe(state))
        drifts = await self.migrator.drifts()
        _print_drifts(drifts)
        expand, contract = (
            [each.migration for each in states if not each.is_applied and each.migration.phase is phase] for phase in Phase
        )
        if expand and await self.migrator.is_empty():
            print(f"The database is empty: it is set up by a start, or by: {MIGRATE}")
            return True
        broken = [each for each in drifts if each.drift in OF_EXPAND]
        to_repair = [each for each in broken if not each.is_guarded]
        if expand or to_repair:
            print(f"To do: {_amount(expand, 'migration')}, {_amounts(to_repair)}; run: {MIGRATE}")
        elif not broken:
            print(UP_TO_DATE)
        former = [each for each in drifts if each.drift is Drift.former]
        if contract or former:
            print(
                f"Once no worker of the previous version runs: {_amount(contract, 'migration')}, "
                f"{_amounts(former, 'former ')}; run: {MIGRATE} --contract"
            )
        return not expand and not broken

    async def up(self, *, contract: bool, dry_run: bool) -> bool:
        """Applies the steps that are left, or says what it would do."""
        if dry_run:
            return await self._rehearse(contract=contract)
        is_new = bool(await self.migrator.pending()) and await self.migrator.is_empty()
        if is_new:
            await self.migrator.set_up()
        began = time.monotonic()

        def report(migration: Migration, total: int, done: int) -> None:
            rate = done / max(time.monotonic() - began, 0.001)
            line = f"{bar(done, total)}  {done:,} of {total:,} documents, {rate:,.0f}/s"
            self.progress.update(f"{migration.number} {migration.name} {line}")

        ran = await self.migrator.up(contract=contract, thorough=True, report=report)
        self.progress.end()
        to_do = OF_EXPAND | {Drift.former} if contract else OF_EXPAND
        done = "The database was empty, and is set up." if is_new else f"{_amount(ran, 'migration')} applied."
        return await self._conclude(done, to_do)

    async def verify(self, *, fix: bool = False, dry_run: bool = False) -> bool:
        """Counts what applied steps should have changed, compares indexes, views and validators, and names invalid documents."""
        states = await self.migrator.states()
        if fix:
            for repair, number in await self.migrator.count_repairable():
                print(f"{'would repair' if dry_run else 'repairing'} {number:,} documents, {repair.name}: {repair.description}")
            if not dry_run:
                await self.migrator.repair_documents()
        left = await self.migrator.count_left(each.migration for each in states if each.is_applied)
        for state in states:
            if count := left.get(state.migration.number):
                command = f"{MIGRATE} --contract" if state.migration.phase is Phase.contract else MIGRATE
                print(f"{state.migration.number} {state.migration.name}: {count:,} documents lack it; run: {command}")
        drifts = await self.migrator.drifts()
        _print_drifts(drifts)
        pending = await self.migrator.pending()
        if pending:
            print(f"{_amount(pending, 'migration')} to apply: {MIGRATE}")
        invalid = await self.migrator.invalid_documents()
        for line in (line for each in invalid for line in each.describe()):
            print(line)
        has_drifted = any(each.drift in OF_EXPAND for each in drifts)
        is_sound = not pending and not any(left.values()) and not has_drifted and not invalid
        print("Nothing found." if is_sound else "Something was found, see above.")
        return is_sound

    async def _conclude(self, done: str, to_do: Collection[Drift]) -> bool:
        """Prints what was done, after what was not: MongoDB refused it to the service's user, or an operator must decide."""
        left = [each for each in await self.migrator.drifts() if each.drift in to_do]
        _print_drifts(left)
        print(done if left else f"{done} {UP_TO_DATE}")
        return not left

    async def _rehearse(self, *, contract: bool) -> bool:
        drifts = [
            each
            for each in await self.migrator.drifts()
            if (each.drift in OF_EXPAND and not each.is_guarded) or (contract and each.drift is Drift.former)
        ]
        _print_drifts(drifts)
        phases = tuple(Phase) if contract else (Phase.expand,)
        steps = [*await self.migrator.pending(phases), *await self.migrator.outdated(phases)]
        for number, count in (await self.migrator.count_left(steps)).items():
            print(f"{number} {SCHEMA.migrations[number - 1].name}: would change {count:,} documents")
        print(f"Nothing was changed. To do: {_amount(steps, 'migration')}, {_amounts(drifts)}.")
        return not steps and not drifts


ACTIONS: Final[dict[str, Callable[..., Awaitable[bool]]]] = {
    "status": MigrateCommands.status,
    "up": MigrateCommands.up,
    "verify": MigrateCommands.verify,
}


def run(action: str, **options: Any) -> bool:
    """Runs ``action``. Returns whether nothing is left to do.

    Raises:
        StartupError: the action failed; one line that says why.
        KeyboardInterrupt: SIGINT, SIGTERM or SIGHUP arrived.
    """
    settings = load_settings()
    embedded.require_data(settings)
    progress = Progress()
    logs.configure("info", settings.log_format)
    progress.share_with_log()
    try:
        with embedded.provide(settings, join=True) as complete:
            try:
                return asyncio.run(_run(complete, progress, action, options))
            finally:  # or they would kill MongoDB while it stops: asyncio leaves no handler behind
                for number in (signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        progress.end()


async def _run(settings: Settings, progress: Progress, action: str, options: dict[str, Any]) -> bool:
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # of nohup
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)

    async def require_complete(database: Database) -> None:
        await ServiceStateRepository(database).require_complete()

    async with connection.open_database(settings, require_complete) as database:
        try:
            return await ACTIONS[action](MigrateCommands(Migrator(database, SCHEMA), progress), **options)
        except PyMongoError as error:
            raise StartupError(f"{why(error)}; the next run continues where this one stopped") from None


def _describe(state: StepState) -> str:
    record = state.record or {}
    if state.is_applied:
        said = f"applied {record['finished_at']:%Y-%m-%d %H:%M}, {record.get('changed', 0):,} documents changed"
        if skipped := record.get("skipped"):
            said += f", {skipped:,} not writable"
    elif record:
        said = f"begun {record['started_at']:%Y-%m-%d %H:%M}, {record.get('changed', 0):,} documents changed"
    else:
        said = "not applied"
    migration = state.migration
    return f"{migration.number:3}  {migration.phase:8}  {migration.name}: {said}\n     {migration.description}"


def _print_drifts(drifts: Iterable[AnyDrift]) -> None:
    for each in drifts:
        print(each.describe())


def _amounts(drifts: Sequence[AnyDrift], kind: str = "") -> str:
    indexes = [each for each in drifts if isinstance(each, IndexDrift)]
    said = [_amount(indexes, f"{kind}index", f"{kind}indexes")]
    for of, name in ((ViewDrift, "view"), (ValidatorDrift, "validator")):
        if found := [each for each in drifts if isinstance(each, of)]:
            said.append(_amount(found, f"{kind}{name}"))
    return ", ".join(said)


def _amount(things: "list[Any]", one: str, many: str = "") -> str:
    return f"{len(things)} {one if len(things) == 1 else many or f'{one}s'}"

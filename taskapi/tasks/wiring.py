"""Creates the repositories, loaders and services of tasks, one object of each class per application."""

from collections.abc import Iterator

from taskapi.accounts.auth.loaders import AccountLoader
from taskapi.core.keys import Keyring
from taskapi.core.settings import Settings
from taskapi.db.connection import Database
from taskapi.tasks.import_export.export import ExportService
from taskapi.tasks.import_export.importer import ImportService
from taskapi.tasks.query.cursor import CursorSigner
from taskapi.tasks.query.page_loader import PageLoader
from taskapi.tasks.query.pages import TaskPages
from taskapi.tasks.services.account_data import TaskAccountData
from taskapi.tasks.services.adoption import TaskAdoption
from taskapi.tasks.services.aggregation import TaskAggregation
from taskapi.tasks.services.batch import BatchService
from taskapi.tasks.services.bulk_by_filter import BulkByFilterService
from taskapi.tasks.services.changed_tasks import ChangedTasks
from taskapi.tasks.services.changes import TaskChanges
from taskapi.tasks.services.checklist import ChecklistService
from taskapi.tasks.services.owner_name import OwnerNameSync
from taskapi.tasks.services.tasks import TaskService
from taskapi.tasks.services.trash import TrashService
from taskapi.tasks.services.versions import VersionService
from taskapi.tasks.services.view import ViewService
from taskapi.tasks.storage.adoption import AdoptionRepository
from taskapi.tasks.storage.change_repository import ChangeRepository
from taskapi.tasks.storage.import_repository import ImportRepository
from taskapi.tasks.storage.inserter import TaskInserter
from taskapi.tasks.storage.list_repository import TaskListRepository
from taskapi.tasks.storage.loader import TaskLoader
from taskapi.tasks.storage.owner_name_repository import OwnerNameRepository
from taskapi.tasks.storage.rendering import TaskRenderer
from taskapi.tasks.storage.repository import TaskRepository
from taskapi.tasks.storage.trash_repository import TrashRepository
from taskapi.tasks.storage.updater import TaskUpdater


def wire(settings: Settings, database: Database, keys: Keyring, accounts: AccountLoader) -> Iterator[object]:
    """Yields the objects that routes and other packages use."""
    days, milliseconds = settings.trash_days, settings.query_timeout_ms
    yield (loader := TaskLoader(database))
    yield (renderer := TaskRenderer())
    tasks = TaskRepository(database, TaskInserter(database), TaskUpdater(database))
    lists = TaskListRepository(database)
    yield (owner_names := OwnerNameRepository(database))
    yield (names := OwnerNameSync(owner_names, accounts))

    yield (service := TaskService(tasks))
    yield (trash := TrashService(tasks, TrashRepository(database), days, milliseconds))
    yield ChecklistService(tasks)
    yield (versions := VersionService(tasks))
    yield ViewService(loader, versions)
    yield BatchService(tasks, service, trash)
    yield BulkByFilterService(tasks, lists, service, days, milliseconds)
    yield (signer := CursorSigner(keys.derived("cursors")))
    yield TaskPages(lists, PageLoader(lists), renderer, signer, milliseconds)
    yield ExportService(lists)
    yield ImportService(ImportRepository(database), names)
    yield (adoption := TaskAdoption(AdoptionRepository(database)))
    yield TaskAccountData(lists, adoption)
    yield TaskAggregation(lists, milliseconds)
    changes = ChangeRepository(database)
    yield TaskChanges(changes)
    yield ChangedTasks(changes, milliseconds)

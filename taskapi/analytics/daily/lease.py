"""The lease of a refresh: while a process has it, no other one writes daily figures."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Event, Thread
from typing import Any, Final

import pymongo
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError

from taskapi.core.clock import utc_now
from taskapi.core.errors import StartupError
from taskapi.db.connection import BSON
from taskapi.db.leases import Lease, LeasePolicy
from taskapi.db.service_state import REFRESH, ServiceStateDocument

LEASES: Final = LeasePolicy(timedelta(seconds=25), until="leased_until", holder="holder")
RENEW_SECONDS: Final = 5
WRITE_SECONDS: Final = 10  # for one write: it ends before the lease that was renewed right before it
BUSY: Final = "another refresh is running, or one was killed less than half a minute ago"
LOST: Final = "another refresh has taken over, because this one was stopped for too long"


class RefreshLease:
    """The lease of this process, which a thread renews."""

    def __init__(self, database: "Database[BSON]", lease: Lease) -> None:
        self._states, self._lease = database[ServiceStateDocument.Settings.name], lease
        self._is_over = Event()

    def renew(self) -> None:
        """Restarts its duration. Raises StartupError if another process has it."""
        until = {LEASES.until: utc_now() + LEASES.duration}
        if not self._states.update_one(self._lease.mine, {"$set": until}).matched_count:
            raise StartupError(LOST)

    def renew_forever(self) -> None:
        """Renews it until it is released, or another process has it."""
        while not self._is_over.wait(RENEW_SECONDS):
            try:
                with pymongo.timeout(RENEW_SECONDS):
                    self.renew()
            except PyMongoError:  # the next write fails as well, or the next renewal tells
                continue
            except StartupError:  # the next write says so
                return

    def release(self) -> None:
        """Ends it."""
        self._is_over.set()
        values: BSON = {**dict.fromkeys(LEASES.fields), LEASES.until: utc_now()}
        with suppress(PyMongoError):  # it ends by itself
            self._states.update_one(self._lease.mine, {"$set": values})


@contextmanager
def leased(database: "Database[Any]") -> Iterator[RefreshLease]:
    """Keeps other refreshes out during the block. Raises StartupError if one is running."""
    now = utc_now()
    lease = LEASES.begin(REFRESH, now)
    states = database[ServiceStateDocument.Settings.name]
    try:
        states.update_one({"_id": REFRESH, **LEASES.free(now)}, {"$set": {**lease.values, "since": now}}, upsert=True)
    except DuplicateKeyError:
        raise StartupError(BUSY) from None
    held = RefreshLease(database, lease)
    renewal = Thread(target=held.renew_forever, name="refresh lease", daemon=True)
    renewal.start()
    try:
        yield held
    finally:
        held.release()
        renewal.join(RENEW_SECONDS)

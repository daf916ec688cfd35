"""The driver's threads: separate pools for reads, writes, queries and the state of the server.

Motor runs every operation in one pool with an unbounded queue, where ten writes that wait for a majority block every read.
Here each kind of operation has its own threads, and a queue that rejects operations that would wait too long.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from typing import Any

from pymongo.errors import PyMongoError

from taskapi.db import validation

MAX_WAIT_SECONDS = 2.0  # in a queue
CONGESTED_SECONDS = 0.5  # of waiting, with CONGESTED_CALLS others: further requests would only make it worse
CONGESTED_CALLS = 256  # more than ordinary clients ever have at once

QUERIES = {"CommandCursor._refresh", "Collection.aggregate", "Database.aggregate"}  # pipelines: lists, searches, exports
STATE = {"Database.command"}
WRITES = {
    "Collection.bulk_write",
    "Collection.create_indexes",
    "Collection.delete_many",
    "Collection.delete_one",
    "Collection.drop_index",
    "Collection.find_one_and_delete",
    "Collection.find_one_and_update",
    "Collection.insert_many",
    "Collection.insert_one",
    "Collection.update_many",
    "Collection.update_one",
}
ENDS = {"ClientSession.abort_transaction", "ClientSession.commit_transaction"}  # writes may be waiting for these


class QueueFull(PyMongoError):
    """An operation was not started: the queue for its threads is too long."""


class Lane:
    """A fixed number of threads, and a first-in, first-out queue of operations."""

    def __init__(self, name: str, threads: int) -> None:
        self._name, self._threads = name, threads
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._entered: deque[float] = deque()  # when each waiting operation was submitted
        self._started = False

    @property
    def waited(self) -> float:
        """How long the oldest waiting operation has waited, in seconds; 0 if none waits."""
        try:
            return time.monotonic() - self._entered[0]
        except IndexError:
            return 0.0

    @property
    def is_congested(self) -> bool:
        """Whether so many operations have waited so long that no further request should start."""
        return len(self._entered) > CONGESTED_CALLS and self.waited > CONGESTED_SECONDS

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Runs ``call`` as soon as a thread is free. The future fails with QueueFull if that takes more than 2 seconds."""
        future: Future[Any] = Future()
        if self.waited > MAX_WAIT_SECONDS:
            future.set_exception(QueueFull())
            return future
        if not self._started:
            self._start()
        self._entered.append(time.monotonic())
        self._calls.put((future, call))
        return future

    def _start(self) -> None:
        self._started = True
        for number in range(self._threads):
            threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()

    def _work(self) -> None:
        while True:
            future, call = self._calls.get()
            entered = self._entered.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    if time.monotonic() - entered > MAX_WAIT_SECONDS:
                        raise QueueFull
                    result = call()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            del future, call  # or they would keep large results alive until the next operation


class DriverThreads(Executor):
    """The executor that Motor uses. The driver's method decides in which lane an operation runs.

    All lanes together use fewer connections than the default of ``mongodb_pool_size``.
    """

    def __init__(self) -> None:
        self.reads = Lane("mongodb-read", 10)
        self.writes = Lane("mongodb-write", 10)
        self.ends = Lane("mongodb-end", 4)
        self.queries = Lane("mongodb-query", 16)
        self.state = Lane("mongodb-state", 2)
        self._lanes = {
            **dict.fromkeys(WRITES, self.writes),
            **dict.fromkeys(ENDS, self.ends),
            **dict.fromkeys(QUERIES, self.queries),
            **dict.fromkeys(STATE, self.state),
        }

    def submit(self, call: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        """Runs an operation of Motor: a partial of ``Context.run`` with the driver's method."""
        assert not arguments
        assert not options
        method = call.args[0].__qualname__
        if method in validation.UPDATES:
            call = partial(validation.run_update, method, call.args[1], call)
        return self._lanes.get(method, self.reads).submit(call)


threads = DriverThreads()

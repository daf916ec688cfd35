"""Several workers on one port: a parent that serves nothing itself starts, watches, replaces, reloads and stops them.

A worker that ends is replaced, after growing pauses while that does not help; the others go on meanwhile. Only while none
has ever been ready does the end of one end the service, as it does with one worker: a wrong setting is seen at once.
"""

import logging
import multiprocessing
import os
import selectors
import signal
import socket
import time
from contextlib import suppress
from multiprocessing import resource_tracker

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from taskapi.cli import worker
from taskapi.cli.server import CUT, SAME_STOP_SECONDS, SHUTDOWN_SECONDS, refuse_new_connections

log = logging.getLogger(__name__)

MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 30.0  # before a worker is started in the place of one that did not last
LASTING_SECONDS = 30  # that a worker has served when its end is no failure to start
SILENT_SECONDS = 60  # that the event loop of a worker may stand still
STOP_SECONDS = SHUTDOWN_SECONDS + 5
POLL_SECONDS = 0.5
STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}
SPAWN = multiprocessing.get_context("spawn")


class _Process:
    """One worker, seen from outside."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        self.heartbeat, theirs = SPAWN.Pipe(duplex=False)
        arguments = (config, listener, theirs, os.getpid())
        self._process = SPAWN.Process(target=worker.run, args=arguments, daemon=True)  # daemon: ends when we crash
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})  # until it ignores them itself
        self._process.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        theirs.close()
        os.set_blocking(self.heartbeat.fileno(), False)
        self.ended = self._process.sentinel
        self.started_at = time.monotonic()
        self.ready_at: float | None = None
        self.stopping_at: float | None = None
        self._heard_at = 0.0

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def status(self) -> int | None:
        return self._process.exitcode

    @property
    def end(self) -> str:
        assert self.status is not None
        return signal.Signals(-self.status).name if self.status < 0 else f"status {self.status}"

    def listen(self) -> None:
        """Takes what the worker has sent."""
        with suppress(BlockingIOError):
            if os.read(self.heartbeat.fileno(), 1024):
                self._heard_at = time.monotonic()
                self.ready_at = self.ready_at or self._heard_at

    def stop(self) -> None:
        self.stopping_at = time.monotonic()
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def is_stuck(self, now: float) -> bool:
        if self.stopping_at is not None:
            return now - self.stopping_at > STOP_SECONDS
        return self.ready_at is not None and now - self._heard_at > SILENT_SECONDS


class Supervisor:
    """``run`` returns the exit status of the service when it has been asked to stop, or cannot start."""

    def __init__(self, config: uvicorn.Config, count: int) -> None:
        self._config, self._count = config, count
        self._listener = config.bind_socket()
        self._workers: list[_Process] = []
        self._outdated: list[_Process] = []  # to be replaced by a reload
        self._was_ready = False
        self._failures, self._failed_at = 0, 0.0
        self._start_at = 0.0
        self._cut = False
        self._selector = selectors.DefaultSelector()
        self._wakeup, writer = socket.socketpair()
        for end in (self._wakeup, writer):
            end.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        signal.set_wakeup_fd(writer.detach())
        for number in (*STOP_SIGNALS, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        resource_tracker.ensure_running()  # a process of multiprocessing that would unblock signals between
        log.info("Supervising %d workers on port %d", count, self._listener.getsockname()[1])

    def run(self) -> int:
        """Keeps the workers running until SIGTERM or SIGINT; SIGHUP replaces each of them in turn."""
        status = None
        while status is None:
            self._start_missing()
            self._continue_reload()
            asked = self._wait()
            if asked & STOP_SIGNALS:
                status = 0
            elif signal.SIGHUP in asked:
                log.info("SIGHUP: replacing every worker")
                self._outdated = self._active()
            for ended in self._collect():
                if status == 0:  # the service is to stop; a signal to its process group came to the workers first
                    continue
                if not self._was_ready:
                    log.error("worker %d did not start (%s): the service ends", ended.pid, ended.end)
                    status = max(ended.status or 0, 0) or STARTUP_FAILURE
                elif not self._workers:  # nobody would serve what the kernel accepts: better that it refuses
                    self._listener.close()
                    self._listener = self._config.bind_socket()
        self._stop()
        return status or (CUT if self._cut else 0)

    def _active(self) -> list[_Process]:
        return [each for each in self._workers if each.stopping_at is None]

    def _start_missing(self) -> None:
        retiring = len(self._workers) > len(self._active())
        wanted = self._count + bool(self._outdated and not retiring)
        while len(self._active()) < wanted and time.monotonic() >= self._start_at:
            process = _Process(self._config, self._listener)
            self._selector.register(process.ended, selectors.EVENT_READ)
            self._workers.append(process)

    def _continue_reload(self) -> None:
        if self._outdated and sum(each.ready_at is not None for each in self._active()) > self._count:
            self._outdated.pop(0).stop()

    def _wait(self) -> set[int]:
        """Waits for something to happen; the signals that came."""
        until_start = max(0.0, self._start_at - time.monotonic()) if len(self._active()) < self._count else POLL_SECONDS
        self._selector.select(min(POLL_SECONDS, until_start))
        with suppress(BlockingIOError):  # a signal may come while select returns for something else
            return set(self._wakeup.recv(1024))
        return set()

    def _collect(self) -> list[_Process]:
        """Looks after all workers; those that have ended without being asked, each of which is logged."""
        now, unasked = time.monotonic(), []
        for process in list(self._workers):
            was_ready = process.ready_at is not None
            process.listen()
            if process.ready_at is not None and not was_ready:
                log.info("worker %d is ready", process.pid)
                self._was_ready = True
            if process.status is not None:
                self._remove(process)
                if process.stopping_at is None:
                    unasked.append(process)
                    self._plan_replacement(process, now)
            elif process.is_stuck(now):
                log.error("worker %d does not answer; it is killed", process.pid)
                process.kill()
        return unasked

    def _remove(self, process: _Process) -> None:
        self._selector.unregister(process.ended)
        process.heartbeat.close()
        self._workers.remove(process)
        if process in self._outdated:
            self._outdated.remove(process)
        if process.stopping_at is not None and process.status not in (0, -signal.SIGTERM):
            self._cut = True

    def _plan_replacement(self, process: _Process, now: float) -> None:
        what = "did not start" if process.ready_at is None else "ended"
        if process.ready_at is None and len(self._active()) >= self._count:
            self._outdated = []
            log.error("worker %d %s (%s): the reload is abandoned, the others keep running", process.pid, what, process.end)
            return
        if process.ready_at is not None and now - process.ready_at > LASTING_SECONDS:
            self._failures = 0
        elif process.started_at > self._failed_at:  # of several that end together one counts
            self._failures, self._failed_at = self._failures + 1, now
        pause = min(MAX_PAUSE_SECONDS, MIN_PAUSE_SECONDS * 2.0 ** (self._failures - 1)) if self._failures else 0.0
        self._start_at = now + pause
        if self._was_ready:
            log.error("worker %d %s (%s); a replacement starts in %g s", process.pid, what, process.end, pause)

    def _stop(self) -> None:
        """Stops the workers, all at once; kills them when asked a second time."""
        log.info("Stopping %d workers", len(self._workers))
        refuse_new_connections(self._listener)
        self._listener.close()
        asked_at = time.monotonic()
        for process in self._active():
            process.stop()
        while self._workers:
            if self._wait() & STOP_SIGNALS and time.monotonic() - asked_at > SAME_STOP_SECONDS:
                log.error("a second signal to stop: the requests of %d workers are cut off", len(self._workers))
                for process in self._workers:
                    process.kill()
            self._collect()

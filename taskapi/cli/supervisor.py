"""Several workers on one port: a parent process, which serves no requests, starts, watches, replaces, reloads and stops them.

A worker that ends is replaced, after increasing pauses if replacements fail too; the others keep running. Until a worker has
been ready, the end of one ends the service, as with a single worker, so that a wrong setting is noticed at once.
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

MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 30.0  # before a worker that failed is replaced
LASTING_SECONDS = 30  # of service, after which the end of a worker does not count as a failed start
SILENT_SECONDS = 60  # for which the event loop of a worker may be blocked
PAUSE_SECONDS = 5  # without a look at the workers: what held this process, such as Ctrl-Z, held them too
STOP_SECONDS = SHUTDOWN_SECONDS + 5
POLL_SECONDS = 0.5
STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}
SPAWN = multiprocessing.get_context("spawn")


class _Process:
    """One worker, as its parent sees it."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        self.heartbeat, theirs = SPAWN.Pipe(duplex=False)
        arguments = (config, listener, theirs, os.getpid())
        self._process = SPAWN.Process(target=worker.run, args=arguments, daemon=True)  # daemon: ends when we crash
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})  # until the worker ignores them itself
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
        """Reads the worker's heartbeat."""
        with suppress(BlockingIOError):
            if os.read(self.heartbeat.fileno(), 1024):
                self._heard_at = time.monotonic()
                self.ready_at = self.ready_at or self._heard_at

    def forgive_silence(self, now: float) -> None:
        self._heard_at = now
        self.stopping_at = now if self.stopping_at is not None else None

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
    """Runs the workers of the service until it is stopped or cannot start."""

    def __init__(self, config: uvicorn.Config, count: int) -> None:
        self._config, self._count = config, count
        self._listener = config.bind_socket()
        self._workers: list[_Process] = []
        self._outdated: list[_Process] = []  # to be replaced by a reload
        self._was_ready = False
        self._failures, self._failed_at = 0, 0.0
        self._start_at = 0.0
        self._collected_at = time.monotonic()
        self._cut = False
        self._selector = selectors.DefaultSelector()
        self._wakeup, writer = socket.socketpair()
        for end in (self._wakeup, writer):
            end.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        signal.set_wakeup_fd(writer.detach())
        for number in (*STOP_SIGNALS, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        resource_tracker.ensure_running()  # multiprocessing would otherwise start it later, and unblock signals then
        log.info("Supervising %d workers on port %d", count, self._listener.getsockname()[1])

    def run(self) -> int:
        """Keeps the workers running until SIGTERM or SIGINT. SIGHUP replaces them one by one. Returns the exit status."""
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
                if status == 0:  # the service is stopping, and a signal to its process group reached the workers first
                    continue
                if not self._was_ready:
                    log.error("worker %d did not start (%s): the service ends", ended.pid, ended.end)
                    status = max(ended.status or 0, 0) or STARTUP_FAILURE
                elif not self._workers:  # no process would serve the connections that the kernel accepts, so let it refuse them
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
        """Waits for a signal, the end of a worker, or the next start. Returns the signals received."""
        until_start = max(0.0, self._start_at - time.monotonic()) if len(self._active()) < self._count else POLL_SECONDS
        self._selector.select(min(POLL_SECONDS, until_start))
        with suppress(BlockingIOError):  # no signal arrived: select returned for something else
            return set(self._wakeup.recv(1024))
        return set()

    def _collect(self) -> list[_Process]:
        """Updates the state of all workers, and kills those that are stuck. Returns those that ended unexpectedly."""
        now, unasked = time.monotonic(), []
        was_paused, self._collected_at = now - self._collected_at > PAUSE_SECONDS, now
        for process in list(self._workers):
            was_ready = process.ready_at is not None
            if was_paused:
                process.forgive_silence(now)
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
                log.error("worker %d does not respond and is killed", process.pid)
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
        elif process.started_at > self._failed_at:  # several that end together count once
            self._failures, self._failed_at = self._failures + 1, now
        pause = min(MAX_PAUSE_SECONDS, MIN_PAUSE_SECONDS * 2.0 ** (self._failures - 1)) if self._failures else 0.0
        self._start_at = now + pause
        if self._was_ready:
            log.error("worker %d %s (%s); a replacement starts in %g s", process.pid, what, process.end, pause)

    def _stop(self) -> None:
        """Stops all workers at once; a second signal kills them."""
        log.info("Stopping %d workers", len(self._workers))
        refuse_new_connections(self._listener)
        self._listener.close()
        asked_at = time.monotonic()
        for process in self._active():
            process.stop()
        while self._workers:
            if self._wait() & STOP_SIGNALS and time.monotonic() - asked_at > SAME_STOP_SECONDS:
                log.error("second stop signal: the requests of %d workers are cut off", len(self._workers))
                for process in self._workers:
                    process.kill()
            self._collect()

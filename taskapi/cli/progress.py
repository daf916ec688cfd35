"""Progress of a command on standard error: one line that is updated on a terminal, otherwise a new line every 30 seconds."""

import logging
import sys
import time

TERMINAL_SECONDS, LOG_SECONDS = 0.2, 30  # between two reports
BAR_WIDTH = 24


class Progress:
    """The line that is updated."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._seconds = TERMINAL_SECONDS if self._terminal else LOG_SECONDS
        self._last = time.monotonic()

    def update(self, line: str) -> None:
        """Shows how far the work is, unless something was shown a moment ago."""
        if time.monotonic() - self._last < self._seconds:
            return
        self._last = time.monotonic()
        self.end()
        print(line, end="" if self._terminal else "\n", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """Prints a permanent line."""
        self.end()
        print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clears the line that is updated."""
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def share_with_log(self) -> None:
        """Has the line cleared before each line of the log."""

        def clear(_: logging.LogRecord) -> bool:
            self.end()
            return True

        for handler in logging.getLogger().handlers:
            handler.addFilter(clear)


def bar(done: int, total: int) -> str:
    """A bar with the share that is done: ``[########----] 66 %``."""
    share = min(done / total, 1.0) if total else 1.0
    return f"[{'#' * int(share * BAR_WIDTH):-<{BAR_WIDTH}}] {share:4.0%}"

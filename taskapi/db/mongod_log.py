"""The log of the embedded MongoDB: the output of ``mongod`` without the contents of documents, in a file of bounded size.

MongoDB logs slow operations, conflicts and refused documents with their filters and values: password hashes, e-mail
addresses, names, titles. The Community edition cannot redact its log, so this module does. Numbers, names of collections
and plans stay; every other value of such a line is replaced.
"""

import json
import math
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

MAX_BYTES = 16 * 1024 * 1024  # of the file, and of the previous one
MAX_LINE_BYTES = 64 * 1024
MAX_SUMMARY_LENGTH = 300
BURST_SECONDS = 5
REDACTED = "###"

Entry = dict[str, Any]

# Lines of these components, of the storage engine, and of startup and shutdown contain nothing from documents.
PLAIN_COMPONENTS = {"CONTROL", "NETWORK", "FTDC", "ASIO"}
PLAIN_CONTEXTS = {"-", "main", "initandlisten", "SignalHandler", "Checkpointer"}
CONTEXT_COMPONENTS = {"STORAGE", "RECOVERY", "REPL", "ELECTION", "INDEX"}
PLAIN_FIELDS = {"ns", "namespace", "type", "planSummary", "queryHash", "planCacheKey", "queryFramework", "protocol", "codeName"}
EXPLANATIONS = ("message", "error", "reason")  # fields that explain the message of a line


def redact(entry: Entry) -> Entry:
    """``entry``, a line of the log, without values from documents."""
    attributes = entry.get("attr")
    if not isinstance(attributes, dict) or _is_plain(entry):
        return entry
    return entry | {"attr": {name: _redact_value(name, value) for name, value in attributes.items()}}


def _is_plain(entry: Entry) -> bool:
    component = str(entry.get("c"))
    if component in PLAIN_COMPONENTS or component.startswith("WT") or str(entry.get("msg")).startswith("WiredTiger"):
        return True
    return component in CONTEXT_COMPONENTS and entry.get("ctx") in PLAIN_CONTEXTS


def _redact_value(name: str, value: object) -> object:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str) and name in PLAIN_FIELDS:
        return value
    if name == "error":  # only its code: the text repeats keys and values
        code = value.get("codeName") if isinstance(value, dict) else str(value).partition(":")[0].partition("{")[0]
        return code if isinstance(code, str) and code.isidentifier() else REDACTED
    return REDACTED


def summarize(entry: Entry) -> str:
    """A line in a few words, for the progress of the start and its failure."""
    attributes = entry.get("attr") or {}
    for name in EXPLANATIONS:
        said = attributes.get(name)
        if isinstance(said, dict):  # WiredTiger's own lines, and errors
            said = ": ".join(str(said[name]) for name in ("msg", "errmsg", "error_str") if name in said) or None
        if isinstance(said, str):
            return _shorten(f"{entry.get('msg')}: {said}")
    return _shorten(str(entry.get("msg")))


def _shorten(text: str) -> str:
    """``text`` on one line, cut to ``MAX_SUMMARY_LENGTH``."""
    return " ".join(text.split())[:MAX_SUMMARY_LENGTH]


class MongodLog:
    """The log file, and the latest messages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.latest = ""
        self.latest_error = ""  # of errors in quick succession the first, which caused the others
        self._last_error_at = -math.inf
        self._is_json = False

    def follow(self, output: IO[bytes]) -> None:
        """Copies the output of a mongod until it ends. If the disk is full, lines are lost, but nothing blocks."""
        self.latest = self.latest_error = ""
        self._last_error_at = -math.inf
        self._is_json = False
        file = self._open()
        try:
            while line := output.readline(MAX_LINE_BYTES):
                if kept := self._take(line):
                    file = self._append(file, kept)
        finally:
            output.close()
            if file:
                with suppress(OSError):
                    file.close()

    def _take(self, line: bytes) -> bytes:
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            if self._is_json:  # the rest of a line that was too long
                return b""
            self.latest = self.latest_error = _shorten(line.decode(errors="replace")) or self.latest
            return line  # before the log starts: from the command line or the system's loader
        self._is_json = True
        entry = redact(entry)
        self.latest = summarize(entry)
        if entry.get("s") in ("E", "F"):
            now = time.monotonic()
            if now - self._last_error_at > BURST_SECONDS:
                self.latest_error = self.latest
            self._last_error_at = now
        return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    def _open(self) -> IO[bytes] | None:
        with suppress(OSError):
            file = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0)
            os.fchmod(file.fileno(), 0o600)
            return file
        return None

    def _append(self, file: IO[bytes] | None, line: bytes) -> IO[bytes] | None:
        with suppress(OSError):
            if file and file.tell() > MAX_BYTES:
                file.close()
                with suppress(OSError):  # the log goes on in this file
                    self.path.replace(self.path.with_suffix(".log.1"))
                file = self._open()
            if file:
                file.write(line)
        return file

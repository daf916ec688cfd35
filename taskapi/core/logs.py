"""Logging: one line per event, for people (console) or programs (JSON), each with its request id."""

import json
import logging
import logging.config
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from taskapi.core.clock import rfc3339

request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""The id of the request being answered."""


def _time(record: logging.LogRecord) -> str:
    return rfc3339(datetime.fromtimestamp(record.created, UTC))


class ConsoleFormatter(logging.Formatter):
    """``time level logger [request id] message key=value …``"""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in getattr(record, "fields", {}).items())
        line = f"{_time(record)} {record.levelname:7} {record.name} [{request_id.get()}] {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JSONFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def configure(level: str, style: str) -> None:
    """Sends everything at ``level`` or above to standard error, written as ``style`` ("console" or "json")."""
    formatter = "taskapi.core.logs.JSONFormatter" if style == "json" else "taskapi.core.logs.ConsoleFormatter"
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"()": formatter}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"level": "WARNING", "handlers": ["stderr"]},
            "loggers": {
                "taskapi": {"level": level.upper()},
                "uvicorn": {"level": level.upper(), "handlers": [], "propagate": True},
                # If any handler could see it, Uvicorn would compose a line for each request; ours is taskapi.access.
                "uvicorn.access": {"handlers": [], "propagate": False},
            },
        }
    )

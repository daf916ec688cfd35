"""The log of the embedded MongoDB: what is kept of a line, what is said of one, and how large the file becomes."""

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from taskapi.db import mongod_log
from taskapi.db.mongod_log import MongodLog, redact, summarize

EMAIL = "ada@example.com"
HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"
SLOW = {
    "type": "command",
    "ns": "taskapi.users",
    "appName": "taskapi",
    "command": {"findAndModify": "users", "query": {"email": EMAIL}, "update": {"$set": {"password_hash": HASH}}},
    "originatingCommand": {"filter": {"email": EMAIL}},
    "planSummary": "IXSCAN { email: 1 }",
    "docsExamined": 1,
    "errMsg": f'E11000 duplicate key error collection: taskapi.users index: email dup key: {{ email: "{EMAIL}" }}',
    "errName": "DuplicateKey",
    "locks": {"Global": {"acquireCount": {"w": 1}}},
    "durationMillis": 812,
}


def line(component: str, context: str, message: str, attributes: Any, severity: str = "I") -> dict[str, Any]:
    return {
        "t": {"$date": "2026-11-25T23:00:00.000Z"},
        "s": severity,
        "c": component,
        "id": 1,
        "ctx": context,
        "msg": message,
    } | {"attr": attributes}


def test_slow_operation_keeps_numbers_collection_and_plan() -> None:
    kept = redact(line("COMMAND", "conn7", "Slow query", SLOW))["attr"]
    plain = {
        "type": "command",
        "ns": "taskapi.users",
        "planSummary": "IXSCAN { email: 1 }",
        "docsExamined": 1,
        "durationMillis": 812,
    }
    assert {name: value for name, value in kept.items() if value != "###"} == plain


@pytest.mark.parametrize(
    ("component", "context", "attributes", "kept"),
    [
        (
            "WRITE",
            "conn1",
            {"error": f'DuplicateKey{{ keyPattern: {{ email: 1 }} }}: dup key: "{EMAIL}"'},
            {"error": "DuplicateKey"},
        ),
        ("QUERY", "conn1", {"error": {"code": 112, "codeName": "WriteConflict", "errmsg": EMAIL}}, {"error": "WriteConflict"}),
        ("QUERY", "conn1", {"error": EMAIL, "cmd": {"q": EMAIL}}, {"error": "###", "cmd": "###"}),
        ("STORAGE", "conn1", {"document": {"_id": 1, "email": EMAIL}}, {"document": "###"}),
        (
            "REPL",
            "ReplWriterWorker-0",
            {"CRUD": {"o": {"password_hash": HASH}}, "durationMillis": 1.5},
            {"CRUD": "###", "durationMillis": 1.5},
        ),
        ("INDEX", "IndexBuildsCoordinatorMongod-0", {"error": f"email {EMAIL}"}, {"error": "###"}),
        ("STORAGE", "initandlisten", {"dbpath": "/data"}, {"dbpath": "/data"}),
        ("CONTROL", "conn1", {"pid": 1, "host": "h"}, {"pid": 1, "host": "h"}),
    ],
)
def test_values_of_documents_are_kept_in_no_line(component: str, context: str, attributes: Any, kept: Any) -> None:
    assert redact(line(component, context, "x", attributes))["attr"] == kept


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (line("CONTROL", "main", "Now exiting", {}), "Now exiting"),
        (line("CONTROL", "main", "DBException", {"error": "DBPathInUse:\n it is"}), "DBException: DBPathInUse: it is"),
        (
            line(
                "WTRECOV", "initandlisten", "WiredTiger message", {"message": {"msg": "Recovering log 5 through 7", "ts_sec": 1}}
            ),
            "WiredTiger message: Recovering log 5 through 7",
        ),
        (
            line("STORAGE", "x", "WiredTiger error", {"error": 28, "message": {"msg": "write", "error_str": "No space left"}}),
            "WiredTiger error: write: No space left",
        ),
    ],
)
def test_a_line_in_a_few_words(entry: dict[str, Any], said: str) -> None:
    assert summarize(redact(entry)) == said


def printed(*entries: object) -> io.BytesIO:
    return io.BytesIO(b"".join(each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n" for each in entries))


def test_first_of_many_errors_is_reported(tmp_path: Path) -> None:
    log = MongodLog(tmp_path / "mongod.log")
    log.follow(
        printed(*(line("CONTROL", "main", text, {}, "E") for text in ("the cause", "a panic")), line("CONTROL", "x", "end", {}))
    )
    assert (log.latest_error, log.latest) == ("the cause", "end")
    log.follow(printed(b"mongod: cannot open shared object file\n"))
    assert log.latest_error == "mongod: cannot open shared object file"


def test_foreign_lines_are_dropped_once_the_log_began(tmp_path: Path) -> None:
    log = MongodLog(tmp_path / "mongod.log")
    log.follow(printed(b"before\n", line("CONTROL", "main", "begun", {}), f'{EMAIL}"}}\n'.encode(), b"[1]\n"))
    kept = (tmp_path / "mongod.log").read_text().splitlines()
    assert kept[0] == "before"
    assert [json.loads(each)["msg"] for each in kept[1:]] == ["begun"]


def test_the_file_is_private_and_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mongod.log"
    path.write_text("")
    path.chmod(0o644)
    monkeypatch.setattr(mongod_log, "MAX_BYTES", 10_000)
    MongodLog(path).follow(printed(*(line("CONTROL", "main", "x" * 100, {"n": number}) for number in range(1000))))
    files = sorted(tmp_path.iterdir())
    assert [each.name for each in files] == ["mongod.log", "mongod.log.1"]
    for each in files:
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
        assert each.stat().st_size < 11_000
    assert json.loads(path.read_text().splitlines()[-1])["attr"] == {"n": 999}


def test_a_log_that_cannot_be_rotated_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongod_log, "MAX_BYTES", 1000)
    (tmp_path / "mongod.log.1" / "folder").mkdir(parents=True)
    MongodLog(tmp_path / "mongod.log").follow(printed(*(line("CONTROL", "main", "x", {"n": number}) for number in range(50))))
    kept = (tmp_path / "mongod.log").read_text().splitlines()
    assert [json.loads(each)["attr"]["n"] for each in kept] == list(range(50))


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "mongod.log").mkdir()
    log = MongodLog(tmp_path / "mongod.log")
    log.follow(printed(line("CONTROL", "main", "said", {})))
    assert log.latest == "said"

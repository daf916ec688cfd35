"""Lines far beyond the limit are refused while they are read, in little memory, and reading continues after them."""

import tracemalloc
from collections.abc import AsyncIterator

import pytest

from tests.client import Account

MIB = 2**20


async def endless(start: bytes, end: bytes) -> AsyncIterator[bytes]:
    yield start
    for _ in range(64):
        yield b"x" * MIB
    yield end


@pytest.mark.parametrize(
    ("kind", "start", "end", "line"),
    [
        ("application/jsonl", b'{"title":"One"}\n{"title":"', b'"}\n{"title":"Two"}\n', 2),
        ("text/csv", b'title,description\r\nOne,a\r\nx,"', b'"\r\nTwo,b\r\n', 3),
        ("text/csv", b"title,description\r\nOne,a\r\nx,", b"\r\nTwo,b\r\n", 3),
    ],
    ids=["json", "quoted", "csv"],
)
async def test_a_line_of_64_mib_takes_no_memory(ada: Account, kind: str, start: bytes, end: bytes, line: int) -> None:
    tracemalloc.start()
    try:
        answer = await ada.post("/tasks/import", content=endless(start, end), headers={"Content-Type": kind})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert (report["created"], report["failed"]) == (2, 1)
    assert [(error["line"], error["type"]) for error in report["errors"]] == [(line, "line_too_long")]
    assert peak < 16 * MIB

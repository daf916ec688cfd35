"""The backup file: what is written is read again, and nothing that is damaged is taken for whole."""

import gzip
import io
import random
from datetime import UTC, datetime
from typing import Any

import bson
import pytest

from taskapi.db.backup.format import MAX_DOCUMENT_BYTES, VERSION, BadFile, Reader, Writer

CONTENTS: dict[str, list[dict[str, Any]]] = {
    "empty": [],
    "tasks": [
        {"_id": number, "text": "a title " * (number % 7), "noise": random.Random(number).randbytes(32)} for number in range(50)
    ],
    "users": [{"_id": bson.ObjectId(), "nested": {"": None, "a.b": [1.5, True]}}],
}
HEADER: dict[str, Any] = {"made_at": datetime(2026, 11, 25, tzinfo=UTC), "taskapi": "1.3.0", "database": "x", "fingerprints": []}


def describe(name: Any, **changes: Any) -> dict[str, Any]:
    return {"collection": name, "type": "collection", "options": {}, "indexes": [{"name": "_id_", "key": {"_id": 1}}], **changes}


def written(header: dict[str, Any] | None = None, *descriptions: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    writer = Writer(sink, {**HEADER, **(header or {})})
    for description in descriptions:
        writer.begin(description)
        writer.end()
    for name, documents in CONTENTS.items():
        writer.begin(describe(name))
        writer.add(b"".join(bson.encode(document) for document in documents))
        writer.end()
    writer.close()
    return sink.getvalue()


def verify(data: bytes) -> None:
    Reader(io.BytesIO(data)).verify()


def test_everything_comes_back_and_is_counted() -> None:
    reader = Reader(io.BytesIO(written()))
    found = {each["collection"]: [bson.decode(document) for document in documents] for each, documents in reader.contents()}
    assert found == CONTENTS
    assert (reader.header["database"], reader.collections, reader.documents) == ("x", 3, 51)
    assert reader.bytes == sum(len(bson.encode(document)) for documents in CONTENTS.values() for document in documents)


def test_any_gzip_and_bson_reader_can_read_it() -> None:
    documents = bson.decode_all(gzip.decompress(written()))
    assert (documents[0]["format"], documents[0]["version"]) == ("taskapi backup", 1)
    assert documents[1:4] == [describe("empty"), {}, {"documents": 0, "sha256": documents[3]["sha256"]}]
    assert documents[-1]["documents"] == 51
    assert {"collections", "documents", "sha256"} == set(documents[-1])


def test_file_cut_short_anywhere_is_refused() -> None:
    data = written()
    for size in [*range(0, len(data), 11), len(data) - 1]:
        with pytest.raises(BadFile):
            verify(data[:size])


def test_flipped_bit_is_refused_or_changes_nothing() -> None:
    data, whole, chance = written(), gzip.decompress(written()), random.Random(1)
    verify(data)
    for place in [*range(20), *range(len(data) - 20, len(data)), *chance.sample(range(len(data)), 150)]:
        altered = bytearray(data)
        altered[place] ^= 1 << chance.randrange(8)
        try:
            verify(bytes(altered))
        except BadFile:
            continue
        assert gzip.decompress(altered) == whole  # of gzip's own head, and what fills its last byte up
    altered = bytearray(whole)
    for place in chance.sample(range(len(whole)), 200):  # compressed again, so that gzip's own sum is right
        altered[place] ^= 1
        with pytest.raises(BadFile):
            verify(gzip.compress(bytes(altered), 0))
        altered[place] ^= 1


def test_a_file_with_something_behind_is_refused() -> None:
    for more in (b"x", gzip.compress(b"x"), gzip.compress(bson.encode({"collection": "more"}))):
        with pytest.raises(BadFile):
            verify(written() + more)


def test_a_collection_that_is_missing_is_noticed() -> None:
    documents = bson.decode_all(gzip.decompress(written()))
    kept = [document for number, document in enumerate(documents) if number not in (1, 2, 3)]
    with pytest.raises(BadFile):
        verify(gzip.compress(b"".join(bson.encode(document) for document in kept)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no backup",
        bson.encode({"format": "another", "version": 1}),
        bson.encode({"format": "taskapi backup", "version": "1"}),
        (MAX_DOCUMENT_BYTES + 1).to_bytes(4, "little") + b"\0" * 1000,
    ],
    ids=["empty", "text", "another", "version", "large"],
)
def test_another_file_is_not_a_backup(content: bytes) -> None:
    for data in (content, gzip.compress(content)):
        with pytest.raises(BadFile, match="is not a backup of taskapi"):
            verify(data)


def test_a_newer_format_is_said() -> None:
    with pytest.raises(BadFile, match=r"newer format \(2\)"):
        verify(written({"version": VERSION + 1}))


@pytest.mark.parametrize("name", [5, "", "a\0b", "$a", "a..b", ".a", "a.", "system.users", "system.views"])
def test_impossible_collection_is_refused_before_anything_is_written(name: Any) -> None:
    with pytest.raises(BadFile, match="damaged"):
        verify(written(None, describe(name)))


@pytest.mark.parametrize(
    "change", [{"type": "file"}, {"options": []}, {"indexes": {}}, {"indexes": [1]}, {"indexes": [{"key": {}}]}]
)
def test_a_description_that_cannot_be_followed_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadFile, match="damaged"):
        verify(written(None, describe("a.b", **change)))


@pytest.mark.parametrize(
    "change",
    [{"made_at": 1}, {"taskapi": None}, {"database": 1}, {"fingerprints": 1}, {"fingerprints": [1]}, {"secrets": [None]}],
)
def test_a_header_that_says_something_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadFile, match="is not a backup"):
        verify(written(change))

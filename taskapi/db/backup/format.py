"""The backup file: a gzip stream (RFC 1952) of consecutive BSON documents. docs/BACKUP.md describes it.

header                                        format, version, origin, fingerprints of the secrets
for each collection:
    description                               name, type, options, indexes
    its documents, as MongoDB stores them
    an empty document
    sums                                      the number of documents, and their SHA-256
trailer                                       the totals, and the SHA-256 of everything before it
"""

import gzip
import hashlib
import re
import zlib
from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO

import bson
from bson.errors import BSONError

from taskapi.core.errors import StartupError

FORMAT, VERSION = "taskapi backup", 1
END_OF_DOCUMENTS = bson.encode({})  # no stored document is empty: each has an _id
MAX_DOCUMENT_BYTES = 16 * 1024**2 + 16 * 1024  # MongoDB's limit, and its allowance for what it adds itself
COMPRESSION = 4  # of 9: higher levels take much longer and save little
# The names that MongoDB and its driver accept, except those of system collections.
COLLECTION_NAME = re.compile(r"(?!system\.)[^.$\0]+(?:\.[^.$\0]+)*")
TYPES = ("collection", "view", "timeseries")

Header = Mapping[str, Any]
Description = Mapping[str, Any]


class BadFile(StartupError):
    """The file is not a usable backup. The message completes a sentence that begins with the file's name."""


class Writer:
    """Writes a backup to ``sink``: a header, then collections with their documents, then ``close``."""

    def __init__(self, sink: BinaryIO, header: Header) -> None:
        self._sink = sink
        self._deflate = zlib.compressobj(COMPRESSION, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        self._all, self._one = hashlib.sha256(), hashlib.sha256()
        self.collections = self.documents = self.bytes = self._before = 0
        self._put(bson.encode({"format": FORMAT, "version": VERSION, **header}))

    def begin(self, description: Description) -> None:
        """Begins a collection with this name, type, options and indexes; ``add`` its documents next."""
        self._put(bson.encode(description))
        self._one, self._before = hashlib.sha256(), self.documents

    def add(self, documents: bytes) -> None:
        """Adds documents, given as consecutive BSON."""
        self._one.update(documents)
        self._put(documents)
        self.documents += _count(documents)
        self.bytes += len(documents)

    def end(self) -> None:
        """Ends the collection."""
        self._put(END_OF_DOCUMENTS)
        self._put(bson.encode({"documents": self.documents - self._before, "sha256": self._one.hexdigest()}))
        self.collections += 1

    def close(self) -> None:
        """Ends the backup. A file without this end is refused."""
        totals = {"collections": self.collections, "documents": self.documents, "sha256": self._all.hexdigest()}
        self._put(bson.encode(totals))
        self._sink.write(self._deflate.flush())

    def _put(self, data: bytes) -> None:
        self._all.update(data)
        self._sink.write(self._deflate.compress(data))


class Reader:
    """Reads a backup from ``source``, and checks each sum as soon as the data it covers has been read.

    Raises:
        BadFile: the file is not a backup, is of a later format, or is cut short or altered; the methods raise it as well.
        OSError: the file cannot be read.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._file = gzip.GzipFile(fileobj=source)
        self._all = hashlib.sha256()
        self.collections = self.documents = self.bytes = 0
        try:
            self.header: Header = bson.decode(self._document())
        except (BadFile, BSONError):
            raise BadFile("is not a backup of taskapi, or is damaged at its start") from None
        if self.header.get("format") != FORMAT or not isinstance(self.header.get("version"), int):
            raise BadFile("is not a backup of taskapi")
        if self.header["version"] > VERSION:
            raise BadFile(
                f"is of a newer format ({self.header['version']}): restore it with the version that created it, or a later one"
            )
        if not _is_header(self.header):
            raise BadFile("is not a backup of taskapi, or is damaged at its start")

    def contents(self) -> Iterator[tuple[Description, Generator[bytes, None, None]]]:
        """Yields each collection with its documents, all of which must be read before the next collection."""
        while True:
            before = self._all.hexdigest()
            description = self._decode()
            if "collections" in description:
                break
            if not _is_description(description):
                raise _damaged()
            self.collections += 1
            yield description, self._documents()
        if description != {"collections": self.collections, "documents": self.documents, "sha256": before} or self._read(1):
            raise _damaged()

    def verify(self) -> None:
        """Reads and checks the rest of the file."""
        for _, documents in self.contents():
            for _ in documents:
                pass

    def _documents(self) -> Generator[bytes, None, None]:
        before, checksum = self.documents, hashlib.sha256()
        while (document := self._document()) != END_OF_DOCUMENTS:
            checksum.update(document)
            self.documents += 1
            self.bytes += len(document)
            yield document
        if self._decode() != {"documents": self.documents - before, "sha256": checksum.hexdigest()}:
            raise _damaged()

    def _decode(self) -> dict[str, Any]:
        try:
            return dict(bson.decode(self._document()))
        except BSONError:
            raise _damaged() from None

    def _document(self) -> bytes:
        start = self._read(4)
        size = int.from_bytes(start, "little")
        if not 5 <= size <= MAX_DOCUMENT_BYTES:
            raise _damaged()
        document = start + self._read(size - 4)
        if len(document) != size or document[-1]:
            raise _damaged()
        self._all.update(document)
        return document

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise _damaged() from None


def _count(documents: bytes) -> int:
    count = place = 0
    while place < len(documents):
        place += int.from_bytes(documents[place : place + 4], "little")
        count += 1
    return count


def _is_header(header: Header) -> bool:
    lists = [header.get("fingerprints"), header.get("secrets", [])]
    if not isinstance(header.get("made_at"), datetime) or not all(isinstance(found, list) for found in lists):
        return False
    return all(isinstance(text, str) for text in (header.get("taskapi"), header.get("database"), *lists[0], *lists[1]))


def _is_description(found: Description) -> bool:
    name, options, indexes = found.get("collection"), found.get("options"), found.get("indexes")
    return (
        isinstance(name, str)
        and COLLECTION_NAME.fullmatch(name) is not None
        and found.get("type") in TYPES
        and isinstance(options, dict)
        and isinstance(indexes, list)
        and all(isinstance(index, dict) and isinstance(index.get("name"), str) for index in indexes)
    )


def _damaged() -> BadFile:
    return BadFile("is damaged or cut short")

"""The folder of an extract: a run adds files to it, and they count once a new manifest names them.

A run writes into ``.incoming``. To commit, it moves complete files into the folders of their tables, then replaces the manifest.
Whatever a killed run has left is not named by the manifest, and removed by the next run.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from taskapi.analytics.extracts.manifest import FileEntry, Manifest
from taskapi.analytics.extracts.tables import TABLES
from taskapi.core.errors import StartupError
from taskapi.core.files import sync_folder, write_durably

MANIFEST, LOCK, INCOMING = "manifest.json", ".lock", ".incoming"
_FILE: Final = re.compile(r"part-\d{6,}\.(parquet|jsonl|csv)|recent-\d{6,}\.bin")


class Folder:
    """The folder of one extract, locked by ``opened``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.incoming = path / INCOMING

    def read(self, *, check: bool) -> Manifest | None:
        """The manifest; None in an empty folder. With ``check``, its files are compared with it.

        Raises:
            StartupError: the folder holds something else, or files of the extract are missing.
        """
        path = self.path / MANIFEST
        if not path.exists():
            if {each.name for each in self.path.iterdir()} - {LOCK, f"{MANIFEST}.new"}:
                raise StartupError(f"{self.path} is not empty and holds no extract; specify a new folder")
            return None
        try:
            manifest = Manifest.model_validate_json(path.read_bytes())
        except ValidationError:
            raise StartupError(f"{path} cannot be read: it is damaged, or of another version; specify a new folder") from None
        if not check:
            return manifest
        for entry in self._entries(manifest):
            file = self.path / entry.path
            if not file.is_file() or file.stat().st_size != entry.bytes:
                raise StartupError(f"{file} is missing or has changed; begin anew with --full")
        if manifest.recent and not (self.path / manifest.recent).is_file():
            raise StartupError(f"{self.path / manifest.recent} is missing; begin anew with --full")
        return manifest

    def clean(self, manifest: Manifest) -> None:
        """Removes what the manifest does not name."""
        self.incoming.mkdir(exist_ok=True)
        named = {entry.path for entry in self._entries(manifest)} | {manifest.recent}
        for found in self.incoming.iterdir():
            found.unlink()
        ours = [self.path, *(self.path / table for table in TABLES)]  # other tools also call their files part-…
        for found in (path for each in ours if each.is_dir() for path in each.iterdir()):
            if _FILE.fullmatch(found.name) and str(found.relative_to(self.path)) not in named:
                found.unlink()

    def commit(self, manifest: Manifest, moved: Mapping[Path, str]) -> None:
        """Moves finished files to their names, then makes ``manifest`` the one that counts."""
        for draft, name in moved.items():
            target = self.path / name
            target.parent.mkdir(exist_ok=True)
            draft.rename(target)
        for folder in {(self.path / name).parent for name in moved.values()}:
            sync_folder(folder)
        draft = self.path / f"{MANIFEST}.new"
        write_durably(draft, f"{manifest.model_dump_json(indent=2)}\n".encode())
        sync_folder(self.path)
        draft.rename(self.path / MANIFEST)
        sync_folder(self.path)

    @staticmethod
    def _entries(manifest: Manifest) -> Iterator[FileEntry]:
        for entries in manifest.tables.values():
            yield from entries


@contextmanager
def opened(path: Path) -> Iterator[Folder]:
    """The folder, created if there is none, and locked for the block.

    Raises:
        StartupError: it cannot be used, holds something else, or another run is using it; one line that says why.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        if not (path / LOCK).exists():
            Folder(path).read(check=False)  # or a lock would stay in the folder of something else
        number = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StartupError(f"another extract is writing to {path}; wait until it has ended") from None
            yield Folder(path)
        finally:
            os.close(number)
    except OSError as error:
        raise StartupError(f"{error.filename or path} cannot be written: {error.strerror or error}") from None

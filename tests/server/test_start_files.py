"""Files that a start cannot use: each is said in one line, whoever runs the service and however it is run."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from taskapi.core.startup_files import give_to_owner
from tests.server.process import SERVE, UVICORN, completed, run_to_end
from tests.tools import needs

pytestmark = pytest.mark.real

NOBODY = 65_534
LATIN_1 = "TASKAPI_ROOT_PATH=/caf\xe9\n".encode("latin-1")
UTF_16 = ("0123456789abcdef" * 4).encode("utf-16")
BINARY = bytes(range(255, 0, -1))
USERS = [str(Path(sys.executable).with_name("taskapi")), "users", "list"]
# Mounts a file system of so many bytes on the folder and becomes the command.
ON_SMALL_DISK = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'


@pytest.fixture
def place() -> Iterator[Path]:
    """The data folder of an ordinary user, which the tests may not be: it is in no folder of theirs."""
    parent = Path(tempfile.mkdtemp(prefix="taskapi-start-"))
    (parent / "data").mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(parent, NOBODY, NOBODY)
        shutil.chown(parent / "data", NOBODY, NOBODY)
    try:
        yield parent / "data"
    finally:
        for path in (parent, *parent.rglob("*")):
            if path.is_dir():
                path.chmod(0o700)
        shutil.rmtree(parent)


def as_user(command: list[str]) -> list[str]:
    """The command as an ordinary user runs it."""
    if os.geteuid() != 0:
        return command
    return [needs("setpriv", "util-linux"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]


def content(name: str, data: bytes) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return make


def a_folder(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).mkdir()


def of_another(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).write_text("0123456789abcdef" * 4)
        (folder / name).chmod(0o600 if os.geteuid() == 0 else 0)

    return make


def not_writable(folder: Path) -> None:
    folder.chmod(0o500)


def read_only_after_use(folder: Path) -> None:
    (folder / "secret_key").write_text("0123456789abcdef" * 4)
    (folder / "lock").write_text("1")
    (folder / "mongodb").mkdir()
    for path in (*folder.iterdir(), folder):
        if os.geteuid() == 0:
            shutil.chown(path, NOBODY, NOBODY)
        path.chmod(0o500 if path.is_dir() else 0o400)


def out_of_reach(folder: Path) -> None:
    folder.chmod(0)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (content("secret_key", BINARY), "{folder}/secret_key cannot be read: it is not UTF-8 text"),
        (content("secret_key", UTF_16), "{folder}/secret_key cannot be read: it is not UTF-8 text"),
        (content("secret_key", UTF_16[2:]), "{folder}/secret_key cannot be read: it is not UTF-8 text, it has NUL characters"),
        (a_folder("secret_key"), "{folder}/secret_key cannot be read: Is a directory"),
        (of_another("secret_key"), "{folder}/secret_key cannot be read: Permission denied"),
        (content("mongodb_uri", BINARY), "{folder}/mongodb_uri cannot be read: it is not UTF-8 text"),
        (a_folder("mongodb_uri"), "{folder}/mongodb_uri cannot be read: Is a directory"),
        (of_another("mongodb_uri"), "{folder}/mongodb_uri cannot be read: Permission denied"),
        (content("mongodb_format", BINARY), "{folder}/mongodb_format cannot be read: it is not UTF-8 text"),
        (a_folder("lock"), "{folder}/lock cannot be opened: Is a directory"),
        (of_another("lock"), "{folder}/lock cannot be opened: Permission denied"),
        (content("mongodb", b""), "TASKAPI_DATA_DIR: {folder} cannot be used: File exists"),
        (not_writable, "TASKAPI_DATA_DIR: {folder} cannot be used: Permission denied"),
        (read_only_after_use, "{folder}/lock cannot be opened: Permission denied"),
        (out_of_reach, "TASKAPI_DATA_DIR: {folder} cannot be used: Permission denied"),
        (content("../.env", BINARY), ".env is not UTF-8 (line 1); save it as UTF-8"),
        (content("../.env", LATIN_1), ".env is not UTF-8 (line 1); save it as UTF-8"),
        (content("../.env", b"TASKAPI_DATA_DIR=/tmp/a\0b\n"), ".env is not UTF-8 text: it has NUL characters"),
        (of_another("../.env"), ".env cannot be read: Permission denied"),
        (a_folder("../.env"), ".env is a folder, not a file; rename it"),
        (content("../.env", b"TASKAPI_DOCS\n"), ".env, line 1: not a setting of the form NAME=value"),
        (content("../.env", b"TASKAPI_MONGOD_CACHE_GB=nan\n"), "TASKAPI_MONGOD_CACHE_GB: Input should be a finite number"),
        (
            content("../.env", b"TASKAPI_LINKS_TIMEOUT_SECONDS=inf\n"),
            "TASKAPI_LINKS_TIMEOUT_SECONDS: Input should be a finite number",
        ),
    ],
)
def test_unusable_file_fails_with_one_line(place: Path, spoil: Callable[[Path], None], says: str) -> None:
    spoil(place)
    status, said = run_to_end(place, command=as_user(SERVE), MONGOD_CACHE_GB="")
    assert status in (1, 2)
    (line,) = said.splitlines()
    assert line.startswith(f"taskapi: {says.format(folder=place)}")


def test_what_root_has_made_is_the_owners_afterwards(place: Path) -> None:
    (place / "mongodb").mkdir()
    assert completed(place, USERS)[0] == 0
    owner = place.stat().st_uid
    assert {path.stat().st_uid for path in place.rglob("*")} == {owner}


def test_root_gives_back_a_linked_data_folder(place: Path) -> None:
    (place / "mongodb").mkdir()
    (place.parent / "link").symlink_to(place)  # as systemd's DynamicUser makes /var/lib/taskapi
    assert completed(place.parent / "link", USERS)[0] == 0
    assert {path.stat().st_uid for path in place.rglob("*")} == {place.stat().st_uid}


def test_root_changes_no_owner_outside_its_folder(place: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("")
    with suppress(OSError):  # they may be on two file systems
        os.link(tmp_path / "outside", place / "linked")
    (place / "pointing").symlink_to(tmp_path / "outside")
    give_to_owner(place)
    assert (tmp_path / "outside").stat().st_uid == os.geteuid()


@pytest.mark.parametrize("command", [UVICORN, USERS], ids=["uvicorn", "users"])
@pytest.mark.parametrize("spoil", [a_folder("lock"), a_folder("mongodb_uri"), out_of_reach], ids=["lock", "uri", "folder"])
def test_unusable_file_fails_every_command_with_one_line(place: Path, spoil: Callable[[Path], None], command: list[str]) -> None:
    (place / "mongodb").mkdir()
    shutil.chown(place / "mongodb", *((NOBODY, NOBODY) if os.geteuid() == 0 else (os.geteuid(), os.getegid())))
    spoil(place)
    status, said = completed(place, as_user(command)) if command is USERS else run_to_end(place, command=as_user(command))
    assert status in (1, 2, 3)  # 3 is Uvicorn's, for an application that does not start
    assert len([line for line in said.splitlines() if "cannot be" in line]) == 1
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("size", "says"), [("4k", "cannot be written: No space left on device"), ("64k", "mongod did not start: ")]
)
def test_too_small_disk_fails_with_one_line(folder: Path, size: str, says: str) -> None:
    folder.mkdir()
    unshare = [needs("unshare", "util-linux"), "--map-root-user", "--mount"]
    command = [*unshare, "sh", "-c", ON_SMALL_DISK, "sh", size, str(folder), *SERVE]
    status, said = run_to_end(folder, command=command)
    assert status == 1
    (line,) = said.splitlines()
    assert line.startswith("taskapi: ")
    assert says in line
    assert "o space left on device" in line

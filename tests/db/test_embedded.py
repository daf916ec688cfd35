"""Finding a mongod, and the folder it works in. Running one is tested in ``tests/server``."""

import importlib.util
import shutil
import tempfile
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr
from pymongo.uri_parser import parse_uri

from taskapi.core.errors import StartupError
from taskapi.core.settings import Settings
from taskapi.db import embedded
from taskapi.db.mongod_address import MAX_SOCKET_BYTES, choose_socket, uri_of
from taskapi.db.mongod_program import can_open, find_mongod, is_past_end_of_life, release


def program(path: Path, mode: int = 0o755, version: str = "6.0.5") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho db version v{version}\n")
    path.chmod(mode)
    return path


def package_at(folder: Path) -> SimpleNamespace:
    return SimpleNamespace(submodule_search_locations=[str(folder)])


def test_mongod_is_found_by_setting_path_then_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, on_path = program(tmp_path / "a" / "named"), program(tmp_path / "b" / "mongod")
    packaged = program(tmp_path / "c" / "bin" / "mongod", 0o644)
    monkeypatch.setenv("PATH", str(on_path.parent))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: package_at(tmp_path / "c"))
    assert find_mongod(Settings(mongod=named)) == named
    assert find_mongod(Settings()) == on_path
    monkeypatch.setenv("PATH", "")
    assert find_mongod(Settings()) == packaged
    assert packaged.stat().st_mode & 0o111  # not every installer keeps the run bit


@pytest.mark.parametrize(
    ("on_path", "packaged", "data", "chosen"),
    [
        ("8.0.17", "6.0.5", None, "on_path"),  # data of an unknown format, or none yet
        ("4.4.1", "6.0.5", None, "on_path"),
        ("6.0.5", "6.0.5", (6, 0), "on_path"),
        ("7.0.28", "6.0.5", (6, 0), "on_path"),  # the newest that opens it
        ("6.0.4", "6.0.5", (6, 0), "packaged"),
        ("8.0.17", "6.0.5", (6, 0), "packaged"),  # would refuse it
        ("8.0.17", "6.0.5", (8, 0), "on_path"),
        ("5.0.32", "6.0.5", (5, 0), "packaged"),
        ("7.0.28", "6.0.5", (8, 0), None),
        ("8.0.17", "6.0.5", (4, 4), None),
    ],
)
def test_newest_mongod_able_to_open_data_is_chosen(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    on_path: str,
    packaged: str,
    data: tuple[int, int] | None,
    chosen: str | None,
) -> None:
    found = {"on_path": program(tmp_path / "b" / "mongod", version=on_path)}
    found["packaged"] = program(tmp_path / "c" / "bin" / "mongod", version=packaged)
    monkeypatch.setenv("PATH", f"{tmp_path / 'b'}:/usr/bin:/bin")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: package_at(tmp_path / "c"))
    if chosen:
        assert find_mongod(Settings(), data) == found[chosen]
    else:
        with pytest.raises(
            StartupError,
            match=r"the data is in the format of MongoDB \d\.\d, but the only programs found are .* and .*; put a mongod",
        ):
            find_mongod(Settings(), data)


@pytest.mark.parametrize(
    ("version", "data", "opens"),
    [((6, 0), (5, 0), True), ((6, 0), (4, 4), False), ((8, 2), (8, 0), True), ((8, 2), (7, 0), False), ((6, 0), (7, 0), False)],
)
def test_mongod_opens_its_own_and_the_previous_format(version: tuple[int, int], data: tuple[int, int], opens: bool) -> None:
    assert can_open(version, data) is opens


@pytest.mark.parametrize(
    ("text", "today", "past"),
    [
        ("6.0.5", date(2025, 7, 31), False),
        ("6.0.27", date(2025, 8, 1), True),
        ("7.0.28", date(2026, 1, 1), False),
        ("7.3.1", date(2026, 1, 1), True),
        ("4.4.30", date(2026, 1, 1), True),
        ("8.0.17-rc1", date(2029, 10, 31), False),
        ("9.0.0", date(2026, 1, 1), False),
    ],
)
def test_version_past_its_end_of_life_is_known(text: str, today: date, past: bool) -> None:
    version = release(text)
    assert version
    assert is_past_end_of_life(version, today) is past


@pytest.mark.parametrize("name", ["data", "with space", "Größe", "50%", "a@b"])
def test_the_socket_is_in_the_data_folder(tmp_path: Path, name: str) -> None:
    assert choose_socket(tmp_path / name) == tmp_path / name / "mongod.sock"
    assert parse_uri(uri_of(tmp_path / name / "mongod.sock"))["nodelist"] == [(str(tmp_path / name / "mongod.sock"), None)]


@pytest.mark.parametrize("name", ["x" * 108, "a,b", "a:b", "[x]", "a\nb"])
def test_socket_falls_back_to_a_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    short = Path(tempfile.mkdtemp(prefix="taskapi-"))
    try:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
        socket = choose_socket(tmp_path / name)
        assert socket == choose_socket(tmp_path / name) != choose_socket(tmp_path / f"{name},")
        assert len(str(socket)) <= MAX_SOCKET_BYTES
        assert socket.parent.parent == short
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        socket.parent.chmod(0o755)
        with pytest.raises(StartupError, match="must be a private folder of this account"):
            choose_socket(tmp_path / name)
    finally:
        shutil.rmtree(short)


@pytest.mark.parametrize("package", [None, "empty"])
def test_without_any_the_error_names_the_three_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str | None) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: package and package_at(tmp_path))
    with pytest.raises(StartupError) as caught:
        find_mongod(Settings())
    for way in ("TASKAPI_MONGODB_URI", "TASKAPI_MONGOD", "taskapi[embedded]"):
        assert way in str(caught.value)


def test_missing_package_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ModuleNotFoundError("fiftyone")

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", missing)
    with pytest.raises(StartupError, match="No MongoDB"):
        find_mongod(Settings())


def test_a_configured_database_starts_nothing(tmp_path: Path) -> None:
    settings = Settings(
        mongodb_uri=SecretStr("mongodb://db.example"), secret_key=SecretStr("0123456789abcdef" * 2), data_dir=tmp_path / "none"
    )
    with embedded.provide(settings) as complete:
        assert complete is settings
    assert not settings.data_dir.exists()


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    embedded.make_folder(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "mongodb").stat().st_mode & 0o777 == 0o700

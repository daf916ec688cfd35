"""Finding a mongod, and the folder it works in. Running one is tested in ``tests/server``."""

import importlib.util
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from taskapi import embedded
from taskapi.errors import StartupError
from taskapi.settings import Settings


def program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def package_at(folder: Path) -> SimpleNamespace:
    return SimpleNamespace(submodule_search_locations=[str(folder)])


def test_mongod_is_found_by_setting_then_path_then_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, on_path = program(tmp_path / "a" / "named"), program(tmp_path / "b" / "mongod")
    packaged = program(tmp_path / "c" / "bin" / "mongod", 0o644)
    monkeypatch.setenv("PATH", str(on_path.parent))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: package_at(tmp_path / "c"))
    assert embedded.find_mongod(Settings(mongod=named)) == named
    assert embedded.find_mongod(Settings()) == on_path
    monkeypatch.setenv("PATH", "")
    assert embedded.find_mongod(Settings()) == packaged
    assert packaged.stat().st_mode & 0o111  # not every installer keeps the run bit


@pytest.mark.parametrize("package", [None, "empty"])
def test_without_any_the_error_names_the_three_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str | None) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: package and package_at(tmp_path))
    with pytest.raises(StartupError) as caught:
        embedded.find_mongod(Settings())
    for way in ("TASKAPI_MONGODB_URI", "TASKAPI_MONGOD", "taskapi[embedded]"):
        assert way in str(caught.value)


def test_a_package_that_is_not_installed_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ModuleNotFoundError("fiftyone")

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", missing)
    with pytest.raises(StartupError, match="No MongoDB"):
        embedded.find_mongod(Settings())


def test_a_configured_database_starts_nothing(tmp_path: Path) -> None:
    settings = Settings(
        mongodb_uri=SecretStr("mongodb://db.example"), secret_key=SecretStr("0123456789abcdef" * 2), data_dir=tmp_path / "none"
    )
    with embedded.provide(settings) as complete:
        assert complete is settings
    assert not settings.data_dir.exists()


def test_the_port_of_last_time_is_kept_while_it_is_free(tmp_path: Path) -> None:
    memory = tmp_path / "port"
    first = embedded._port(memory)
    assert embedded._port(memory) == first
    with socket.create_server(("127.0.0.1", first)):
        assert embedded._port(memory) != first


@pytest.mark.parametrize("content", ["", "text", "-5", "99999999999", "0"])
def test_a_damaged_memory_of_the_port_is_no_obstacle(tmp_path: Path, content: str) -> None:
    memory = tmp_path / "port"
    memory.write_text(content)
    assert str(embedded._port(memory)) == memory.read_text()


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    embedded.make_folder(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "mongodb").stat().st_mode & 0o777 == 0o700

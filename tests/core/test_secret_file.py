"""The secrets of a data folder, and how they go with those that are given. Servers with both are in ``tests/server``."""

import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from taskapi.core import secret_file
from taskapi.core.errors import StartupError
from taskapi.core.settings import Settings
from taskapi.db import embedded
from taskapi.db.mongod_address import uri_of, write_uri
from tests.leaks import keep_secret

GIVEN, OTHER, OWN = (keep_secret(f"{letter}-secret-of-thirty-two-bytes-or-more", "secret key") for letter in "abc")


def settings(folder: Path, **changes: Any) -> Settings:
    return Settings(_env_file=None, data_dir=folder, **changes)


def test_secret_is_created_once_readable_by_its_owner(tmp_path: Path) -> None:
    (secret,) = secret_file.read_or_make(tmp_path)
    assert len(secret) == 64
    assert secret_file.read_or_make(tmp_path) == secret_file.read(tmp_path) == (secret,)
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


def test_secrets_are_added_after_those_that_are_there(tmp_path: Path) -> None:
    assert secret_file.read(tmp_path) == ()
    assert secret_file.add(tmp_path, [GIVEN])
    assert secret_file.add(tmp_path, [OTHER, GIVEN, OWN])
    assert not secret_file.add(tmp_path, [OWN])
    assert secret_file.read(tmp_path) == (GIVEN, OTHER, OWN)
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"short", b"0123456789abcdef0123456789abcdef\nshort", b"\xff" * 40])
def test_a_damaged_secret_is_not_used(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "secret_key").write_bytes(content)
    with pytest.raises(StartupError, match=r"secret_key (is damaged|cannot be read)"):
        secret_file.complete(settings(tmp_path), tmp_path, make=True)
    given = settings(tmp_path, secret_key=SecretStr(GIVEN))
    assert secret_file.complete(given, tmp_path, make=True) is given
    assert "only the secret that is set is used" in caplog.text


def test_configured_secrets_sign_and_stored_secrets_verify(tmp_path: Path) -> None:
    one, two = settings(tmp_path, secret_key=SecretStr(GIVEN)), settings(tmp_path, secret_keys=f"{GIVEN},{OTHER}")
    for given in (one, two):
        assert secret_file.complete(given, tmp_path, make=True) is given  # nothing is made beside a secret that is given
    secret_file.add(tmp_path, [OWN])
    assert secret_file.complete(settings(tmp_path), tmp_path).secrets == (OWN,)
    assert secret_file.complete(one, tmp_path).secrets == (GIVEN, OWN)
    assert secret_file.complete(two, tmp_path).secrets == (GIVEN, OTHER, OWN)
    same = settings(tmp_path, secret_key=SecretStr(OWN))
    assert secret_file.complete(same, tmp_path) is same


def test_embedded_server_worker_finds_secrets_of_its_folder(tmp_path: Path) -> None:
    secret_file.add(tmp_path, [OWN])
    own = uri_of(tmp_path / "mongod.sock")
    write_uri(tmp_path, own)
    for uri, secrets in [(own, (GIVEN, OWN)), ("mongodb://127.0.0.1:27999", (GIVEN,))]:
        with embedded.provide(settings(tmp_path, mongodb_uri=SecretStr(uri), secret_key=SecretStr(GIVEN))) as complete:
            assert complete.secrets == secrets

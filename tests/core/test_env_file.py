"""What values in ``.env`` mean."""

import os
from pathlib import Path

import pytest

from taskapi.core import env_file
from taskapi.core.settings import PREFIX, load_settings

USER = "TASKAPI_SMTP_USERNAME=me\nTASKAPI_SMTP_PASSWORD="


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)})
    os.environ["NAMED"] = "value"


def password() -> str | None:
    given = load_settings().smtp_password
    return given.get_secret_value() if given else None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("'a${NAMED}b'", "a${NAMED}b"),
        ("'${MISSING:-default}' # comment", "${MISSING:-default}"),
        (r"'it\'s ${NAMED}'", "it's ${NAMED}"),
        ('"a${NAMED}b"', "avalueb"),
        ("a${NAMED}b", "avalueb"),
        ("it's=${NAMED}'", "it's=value'"),
        ("'${NAMED}'\ntaskapi_smtp_password=${NAMED}", "value"),
        ("${NAMED}\nexport TASKAPI_SMTP_PASSWORD = '${NAMED}'", "${NAMED}"),
        ("x\nOTHER='a${NAMED}'\nTASKAPI_SMTP_PASSWORD=b${OTHER}", "ba${NAMED}"),
    ],
)
def test_value_in_single_quotes_is_literal(written: str, meant: str) -> None:
    Path(".env").write_text(USER + written)
    assert password() == meant
    env_file.hand_down(PREFIX)
    Path(".env").unlink()
    assert password() == meant


def test_environment_overrides_a_literal_value() -> None:
    Path(".env").write_text(f"{USER}'${{NAMED}}'")
    os.environ["TASKAPI_SMTP_PASSWORD"] = "other"
    assert password() == "other"

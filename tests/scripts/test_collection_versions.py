"""The version of the schema says how much has changed since the last release."""

import copy
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskapi.main import DOCUMENTS, VIEWS

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "scripts"))
docs = importlib.import_module("collection_docs")
versions = importlib.import_module("collection_versions")
Change = versions.Change

CONTRACT: dict[str, Any] = versions.contract(DOCUMENTS, VIEWS)
SESSION = "SessionDocument"


def fields(contract: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = contract["sessions"]["kinds"][SESSION]
    return found


def test_the_version_follows_the_released_one() -> None:
    assert list(docs.wrong_versions(ROOT)) == []


def test_the_contract_survives_being_stored(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    docs.release(tmp_path)
    assert json.loads((tmp_path / docs.RELEASED).read_text()) == {"version": docs.VERSION, "contract": CONTRACT}


def test_nothing_secret_is_promised() -> None:
    assert "idempotency_keys" not in CONTRACT
    assert "password_hash" not in CONTRACT["users"]["kinds"]["UserDocument"]


@pytest.mark.parametrize(
    ("expected", "edit"),
    [
        (Change.none, lambda new: None),
        (Change.major, lambda new: new.pop("sessions")),
        (Change.major, lambda new: new.pop("v_tasks")),
        (Change.major, lambda new: new["v_tasks"]["kinds"]["row"].pop("title")),
        (Change.major, lambda new: new["sessions"]["kinds"].pop(SESSION)),
        (Change.major, lambda new: new["sessions"]["kinds"].update(Other={})),
        (Change.major, lambda new: fields(new).pop("agent")),
        (Change.major, lambda new: fields(new)["agent"].update(types=["int"])),
        (Change.major, lambda new: fields(new)["agent"]["types"].append("null")),
        (Change.major, lambda new: fields(new)["agent"]["types"].append("absent")),
        (Change.minor, lambda new: fields(new)["agent"].update(limits=["at most 300 characters"])),
        (Change.minor, lambda new: fields(new).update(country={"types": ["string"], "limits": []})),
        (Change.minor, lambda new: new.update(teams={"kinds": {}, "indexes": {}})),
        (Change.minor, lambda new: new["sessions"]["indexes"].pop("session_expiry")),
        (Change.minor, lambda new: new["sessions"]["indexes"]["session_expiry"].append("sparse")),
    ],
)
def test_changes_are_ranked_by_what_scripts_notice(expected: Any, edit: Callable[[dict[str, Any]], object]) -> None:
    edit(edited := copy.deepcopy(CONTRACT))
    assert versions.change(CONTRACT, edited) is expected


def test_less_than_before_breaks_nothing() -> None:
    edited = copy.deepcopy(CONTRACT)
    fields(edited)["agent"]["types"] = ["string", "null"]
    assert versions.change(edited, CONTRACT) is Change.minor


@pytest.mark.parametrize(
    ("change", "right", "wrong"),
    [
        (Change.none, ["1.4.2", "1.4.3"], ["1.4.1", "1.5.0", "2.0.0"]),
        (Change.minor, ["1.5.0"], ["1.4.2", "1.4.3", "1.5.1", "1.6.0", "2.0.0"]),
        (Change.major, ["2.0.0"], ["1.4.2", "1.5.0", "2.1.0", "3.0.0"]),
    ],
)
def test_a_version_says_how_much_has_changed(change: Any, right: list[str], wrong: list[str]) -> None:
    assert [version for version in (*right, *wrong) if versions.is_right(version, "1.4.2", change)] == right


def test_what_is_wrong_with_the_version_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    docs.write({docs.CHANGELOG: "# Changes\n\n## 2.0.0\n\n- `country`\n\n## 1.9.0\n\n- `city`\n"}, tmp_path)
    docs.release(tmp_path)
    edited = copy.deepcopy(CONTRACT)
    fields(edited).update({name: {"types": ["object"], "limits": []} for name in ("country", "city", "city.name")})
    monkeypatch.setattr(docs, "VERSION", "2.0.1")
    monkeypatch.setattr(docs, "contract", lambda *_: edited)
    assert list(docs.wrong_versions(tmp_path)) == [
        "docs/collections/changelog.md begins with version 2.0.0, but taskapi/db/schema.py says 2.0.1",
        "docs/collections/changelog.md does not mention `city`, which is new",
        "version 2.0.1 of the schema cannot follow 2.0.0: the change is minor",
    ]

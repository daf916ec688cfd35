"""The pages of the collections say what a running API stores, and their examples are documents that it has stored.

``python -m tests.scripts.test_collection_examples`` records the examples anew.
"""

import asyncio
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from bson import Int64, ObjectId, json_util
from pymongo import DESCENDING

from taskapi.core.settings import Settings
from taskapi.db import embedded
from taskapi.main import DOCUMENTS, VIEWS, create_app
from tests.conftest import FOLDER_VARIABLE, URI_VARIABLE, make_settings, running
from tests.every_document import BSON, Written, types, use_everything
from tests.mailbox import Mailbox
from tests.stored import collection

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "scripts" / "collection_examples.json"
ROW = re.compile(r"^\| `(?P<path>[^`]+)` \| (?P<types>[^|]+) \|", re.MULTILINE)
INDEX_ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<keys>[^|]+) \| (?P<properties>[^|]*) \|", re.MULTILINE)
SHOWN: Mapping[str, list[Callable[[BSON], Any]]] = {
    "users": [lambda user: user["username"] == "Ada" and user.get("api_tokens")],
    "sessions": [lambda session: session["rotations"]],
    "tasks": [
        lambda task: task["state"] == "active" and task["title"] == "Write the report",
        lambda task: task["state"] == "trash",
        lambda task: task["state"] == "purged",
    ],
    "idempotency_keys": [lambda key: key["status"]],
    "security_events": [lambda event: event["kind"] == "sign_in", lambda event: event["kind"] == "token_created"],
    "throttles": [lambda counter: counter["blocked_until"]],
    "mail_jobs": [lambda job: job["kind"] == "verify_email"],
    "one_time_tokens": [lambda token: token["purpose"] == "verify_email"],
    "event_tickets": [lambda ticket: ticket["session"]],
    "task_days": [lambda day: day["owner_id"] and day["cycle_hours"], lambda day: day["owner_id"] is None and "stale" not in day],
    "service_state": [
        lambda state: state["_id"] == "signing_key",
        lambda state: state["_id"] == "migration",
        lambda state: state["_id"] == "refresh",
        lambda state: state["_id"] == "webhooks",
    ],
    "webhooks": [lambda hook: hook["version"] > 1],
    "webhook_deliveries": [lambda delivery: delivery["status"] == "delivered"],
    "migrations": [lambda migration: migration["_id"] == 1],
}
"""Which of the documents of a collection are its examples: of each kind the one that was written last."""
RECORDED_AT = datetime(2027, 1, 2, 9, 15, tzinfo=UTC)
HEX_ID, REQUEST_ID, SALT = re.compile("[0-9a-f]{24}"), re.compile("[0-9a-f]{32}"), re.compile(r"(?<=p=\d\$).*")


def documented(text: str) -> dict[str, set[str]]:
    """The types that a page of a collection, or the section of a view, gives each field, such as "array of string"."""
    found: dict[str, set[str]] = {}
    for row in ROW.finditer(text.partition("\n## Indexes\n")[0]):
        found.setdefault(row["path"], set()).update(re.split(r", (?![^[]*\])| or ", row["types"]))
    return found


def undocumented(written: set[tuple[str, str]], page: Mapping[str, set[str]]) -> Iterator[str]:
    """What the page of a collection does not say of these fields and types. The members of an object without rows are free."""
    for path, kind in sorted(written):
        given = page.get(path.replace("[]", ""), ())
        if path.endswith("[][]"):
            known = any(each.startswith("array of array") and kind in each.partition("[")[2] for each in given)
        elif path.endswith("[]"):
            known = any(each == "any" or each.startswith(f"array of {kind}") for each in given)
        else:
            known = any(each.split()[0] in (kind, "any") for each in given)
        if not known and not any(_is_free(ancestor, page) for ancestor in _ancestors(path)):
            yield f"{path}: {kind}"


def _ancestors(path: str) -> Iterator[str]:
    while "." in path:
        path = path.rpartition(".")[0]
        yield path.replace("[]", "")


def _is_free(path: str, page: Mapping[str, set[str]]) -> bool:
    return any(kind.startswith(("any", "object", "array of object")) for kind in page.get(path, ())) and not any(
        each.startswith(f"{path}.") for each in page
    )


def choose(written: Written) -> dict[str, list[BSON]]:
    """The examples of each collection."""
    return {
        name: [[each for each in written.documents[name] if is_shown(each)][-1] for is_shown in kinds]
        for name, kinds in SHOWN.items()
    }


@pytest.fixture
async def written(anonymous: httpx.AsyncClient, mailbox: Mailbox) -> Written:
    return await use_everything(anonymous, mailbox)


async def test_pages_say_what_a_running_api_stores(written: Written) -> None:
    for document in DOCUMENTS:
        name = document.Settings.name
        page = documented((ROOT / "docs" / "collections" / f"{name}.md").read_text())
        assert list(undocumented(written.types[name], page)) == [], name
        assert page.keys() - {path for path, _ in written.types[name]} == set(), f"{name} never has"
    assert written.documents.keys() == {document.Settings.name for document in DOCUMENTS}

    recorded = json_util.loads(EXAMPLES.read_text())
    assert {name: len(examples) for name, examples in recorded.items()} == {name: len(kinds) for name, kinds in SHOWN.items()}
    for name, examples in recorded.items():
        seen = {(path, kind.replace("long", "int")) for path, kind in written.types[name]}  # JSON does not tell them apart
        assert {each for example in examples for each in types(example)} - seen == set()


@pytest.mark.usefixtures("written")
async def test_the_page_of_views_says_what_they_show() -> None:
    _, *sections = (ROOT / "docs" / "views.md").read_text().split("\n## ")
    pages = {name.strip(): documented(rest) for name, _, rest in (section.partition("\n") for section in sections)}
    for view in VIEWS:
        rows = await collection(view.on).database[view.name].find().to_list(None)
        shown = {each for row in rows for each in types(row)}
        assert list(undocumented(shown, pages[view.name])) == [], view.name
        assert rows
        assert pages[view.name].keys() == {path for row in rows for path in row}, view.name


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"a": 1, "free": {"x": 1, "y": [{"z": b""}]}, "list": ["x"], "of": [{"at": None}], "long": Int64(5)}, []),
        ({"a": None}, ["a: null"]),
        ({"a": Int64(1)}, ["a: long"]),
        ({"b": 1}, ["b: int"]),
        ({"list": [1]}, ["list[]: int"]),
        ({"of": [{"at": 1}]}, ["of.at: int"]),
        ({"of": [{"by": 1}]}, ["of.by: int"]),
        ({"of": {"at": None}}, ["of: object"]),
        ({"any": [{"at": 1}, "x"]}, []),
        ({"of.2": {"at": None}, "list.0": "x", "free.x.1": 5, "pairs": [["x", "y"]]}, []),
        ({"of.2": "x", "list.0": 1, "pairs": [["x", 1]]}, ["list[]: int", "of[]: string", "pairs[][]: int"]),
    ],
    ids=str,
)
def test_what_a_page_leaves_out_is_found(stored: BSON, expected: list[str]) -> None:
    page = {
        "a": {"int", "absent"},
        "free": {"object"},
        "list": {"array of string"},
        "of": {"array of object"},
        "of.at": {"date", "null"},
        "long": {"int", "long"},
        "any": {"any"},
        "pairs": {"array of array [string, string]"},
    }
    assert list(undocumented(set(types(stored)), page)) == expected


@pytest.mark.usefixtures("app")
async def test_pages_list_the_indexes_of_the_database() -> None:
    for document in DOCUMENTS:
        page = (ROOT / "docs" / "collections" / f"{document.Settings.name}.md").read_text().partition("\n## Indexes\n")[2]
        listed = {row["name"]: (row["keys"], row["properties"]) for row in INDEX_ROW.finditer(page)}
        found = await collection(document).index_information()
        del found["_id_"]
        assert listed.keys() == found.keys()
        for name, index in found.items():
            keys, properties = listed[name]
            shown = [
                f"`{path}`{' ↓' if order == DESCENDING else ''}" for path, order in index["key"] if not path.startswith("_fts")
            ]
            assert keys.split(", ")[: len(shown)] == shown
            assert (len(keys.split(", ")) == len(shown)) == ("weights" not in index)
            assert re.findall(r"TTL of (\d+) s", properties) == [
                str(index[name]) for name in ["expireAfterSeconds"] if name in index
            ]
            assert [name for name in ("unique", "sparse") if name in properties.split("; ")] == [
                name for name in ("unique", "sparse") if index.get(name)
            ]
            assert ("documents that match" in properties) == ("partialFilterExpression" in index)


def anonymize(value: Any, ids: dict[str, str], began: datetime) -> Any:
    """An example that is the same at each recording, but for milliseconds: ids are numbered, times begin at one time."""

    def numbered(found: str) -> str:
        return ids.setdefault(found, f"65f1a2b3c4d5e6f708192a{len(ids):02x}")

    match value:
        case dict():
            return {name: anonymize(member, ids, began) for name, member in value.items()}
        case list():
            return [anonymize(member, ids, began) for member in value]
        case ObjectId():
            return ObjectId(numbered(str(value)))
        case bytes():
            return bytes(number % 256 for number in range(len(value)))
        case datetime():
            is_day = value == value.replace(hour=0, minute=0, second=0, microsecond=0)
            return value if is_day else value + (RECORDED_AT - began)
        case str() if REQUEST_ID.fullmatch(value):
            return "0f8fad5bd9cb469fa16570867728950e"
        case str():
            return HEX_ID.sub(lambda found: numbered(found[0]), SALT.sub("…", value))
    return value


async def _record(settings: Settings) -> None:
    async with running(create_app(settings)) as client:
        began = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
        examples = anonymize(choose(await use_everything(client, Mailbox(settings.data_dir / "mailbox"))), {}, began)
    written = json_util.dumps(examples, json_options=json_util.RELAXED_JSON_OPTIONS)
    EXAMPLES.write_text(json.dumps(json.loads(written), indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    """Records the examples with a MongoDB of their own."""
    folder = os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="taskapi-examples-")
    try:
        with embedded.provide(Settings(_env_file=None, data_dir=Path(folder))) as server:
            os.environ[URI_VARIABLE] = server.mongodb_uri.get_secret_value()  # type: ignore[union-attr]
            defaults = Settings(_env_file=None)
            asyncio.run(
                _record(make_settings(argon2_memory_kib=defaults.argon2_memory_kib, argon2_rounds=defaults.argon2_rounds))
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

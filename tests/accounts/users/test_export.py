"""Taking along all that is kept of oneself."""

import asyncio
import io
import json
import logging
import zlib
from typing import Any
from zipfile import BadZipFile, ZipFile

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.accounts.deletion import export
from taskapi.accounts.deletion.export import AccountExporters
from taskapi.accounts.errors import ExportUnderWay
from taskapi.accounts.users.schemas import Account as Exporter
from taskapi.audit.documents import SecurityEventDocument
from taskapi.core.errors import DatabaseUnavailable
from taskapi.tasks.services.account_data import all_in_trash, all_present
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.scope import Scope
from tests.client import PASSWORD, Account, is_problem, stored, stored_user
from tests.plans import explain, found_in, stages
from tests.stored import collection, service
from tests.web.test_methods import raw

pytestmark = pytest.mark.real


def unpacked(content: bytes) -> dict[str, list[Any]]:
    """The lines of each file of a ZIP that is whole."""
    with ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        names = [name for name in archive.namelist() if name.endswith(".jsonl")]
        return {name: [json.loads(line) for line in archive.read(name).decode().split("\n")[:-1]] for name in names}


async def exported(account: Account) -> dict[str, list[Any]]:
    answer = await account.get("/users/me/export")
    assert answer.status_code == 200, answer.text
    return unpacked(answer.content)


async def exports(account: Account) -> int:
    return await collection(SecurityEventDocument).count_documents({"kind": "account_exported", "user": ObjectId(account.id)})


async def test_export_holds_all_data_of_the_caller_alone(ada: Account, bob: Account) -> None:
    await bob.make_task("not hers")
    kept = await ada.make_task("kept, “quoted”\u2028", tags=["a"], metadata={"a.b": [1.0, None]})
    await ada.patch(f"/tasks/{kept['id']}", json={"priority": 5})
    gone = await ada.make_task("gone")
    await ada.delete(f"/tasks/{gone['id']}")
    answer = await ada.get("/users/me/export")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="taskapi-ada.zip"'
    assert answer.headers["cache-control"] == "no-store"
    files = unpacked(answer.content)
    assert list(files) == list(service(AccountExporters))
    assert files["account.jsonl"] == [(await ada.get("/users/me")).json()]
    assert files["tasks.jsonl"] == [(await ada.get(f"/tasks/{kept['id']}")).json()]
    assert files["trash.jsonl"] == (await ada.get("/trash")).json()
    history = [{**entry, "task": kept["id"]} for entry in (await ada.get(f"/tasks/{kept['id']}/history")).json()]
    assert [entry for entry in files["history.jsonl"] if entry["task"] == kept["id"]] == history
    assert [entry["action"] for entry in files["history.jsonl"] if entry["task"] == gone["id"]] == ["delete", "create"]
    (session,) = (await ada.get("/users/me/sessions")).json()
    assert files["sessions.jsonl"] == [{name: value for name, value in session.items() if name != "current"}]
    assert [(event["kind"], event["outcome"], event["by"]) for event in files["events.jsonl"]] == [
        ("account_created", "success", None),
        ("sign_in", "success", None),
    ]
    assert await exports(ada) == 1


async def test_it_tells_what_is_in_it(ada: Account) -> None:
    content = (await ada.get("/users/me/export")).content
    with ZipFile(io.BytesIO(content)) as archive:
        text = archive.read("README.txt").decode()
    assert "ada" in text
    assert [name for name in service(AccountExporters) if name not in text] == []


async def test_no_secret_is_in_it(ada: Account) -> None:
    user = await stored_user(ada.id)
    text = json.dumps(await exported(ada))
    for secret in (
        user["password_hash"],
        "argon2",
        "password_hash",
        "token_hash",
        "chain",
        ada.token,
        ada.refresh_token,
        PASSWORD,
    ):
        assert secret not in text


async def test_its_tasks_can_be_imported_again(ada: Account, bob: Account) -> None:
    for number in range(3):
        await ada.make_task(f"task {number}", checklist=[{"text": "one", "done": True}], metadata={"n": number})
    with ZipFile(io.BytesIO((await ada.get("/users/me/export")).content)) as archive:
        lines = archive.read("tasks.jsonl")
    report = await bob.post("/tasks/import", content=lines, headers={"Content-Type": "application/jsonl"})
    assert (report.json()["created"], report.json()["errors"]) == (3, [])


async def test_where_an_admin_was_is_not_told(ada: Account) -> None:
    event = await collection(SecurityEventDocument).find_one({"user": ObjectId(ada.id)})
    assert event
    admins = {"_id": ObjectId(), "by": ObjectId(), "address": "203.0.113.9", "agent": "an admin's"}
    await collection(SecurityEventDocument).insert_one({**event, **admins})
    shown = (await exported(ada))["events.jsonl"][-1]
    assert (shown["by"], shown["address"], shown["agent"]) == (str(admins["by"]), "", "")


async def test_head_tells_the_headers_and_takes_nothing_along(ada: Account) -> None:
    head = await ada.call("HEAD", "/users/me/export")
    assert (head.status_code, head.headers["content-type"], head.content) == (200, "application/zip", b"")
    assert await exports(ada) == 0
    assert (await ada.get("/users/me/export")).status_code == 200  # it did not stay under way


async def test_another_media_type_is_not_to_be_had(ada: Account) -> None:
    is_problem(await ada.get("/users/me/export", headers={"Accept": "application/json"}), 406, "not_acceptable")
    assert (await ada.get("/users/me/export", headers={"Accept": "application/*"})).status_code == 200
    assert await exports(ada) == 1


async def test_exporting_tasks_needs_more_than_the_account_scope(ada: Account, anonymous: httpx.AsyncClient) -> None:
    for scope in ("account", "tasks:read"):
        form = {"username": "ada", "password": PASSWORD, "scope": scope}
        token = (await anonymous.post("/token", data=form)).json()["access_token"]
        answer = await anonymous.get("/users/me/export", headers={"Authorization": f"Bearer {token}"})
        is_problem(answer, 403, "insufficient_scope")


async def exporter(account: Account) -> Exporter:
    return Exporter.model_validate(await stored_user(account.id))


async def seed(account: Account, count: int) -> None:
    """Tasks that no compression makes small."""
    made = await account.make_task()
    template = await stored(TaskDocument, made["id"]) or {}
    noise = [zlib.crc32(str(number).encode()) * 7919**25 for number in range(count)]
    many = [{**template, "_id": ObjectId(), "description": f"{number:x}" * 20} for number in noise]
    await collection(TaskDocument).insert_many(many)


async def test_a_large_one_comes_in_small_parts(ada: Account) -> None:
    await seed(ada, 2000)
    parts = [part async for part in export.parts(await exporter(ada), service(AccountExporters), None)]
    assert len(parts) > 5
    assert max(map(len, parts)) < 4 * export.PART_BYTES
    files = unpacked(b"".join(parts))
    assert len(files["tasks.jsonl"]) == len(files["history.jsonl"]) == 2001


async def test_of_several_at_once_one_goes_on(ada: Account, bob: Account) -> None:
    await seed(ada, 500)
    first = export.parts(await exporter(ada), service(AccountExporters), None)
    await anext(first)
    is_problem(await ada.get("/users/me/export"), 409, "export_under_way")
    assert (await bob.get("/users/me/export")).status_code == 200
    with pytest.raises(ExportUnderWay):
        await anext(export.parts(await exporter(ada), service(AccountExporters), None))
    await first.aclose()
    assert (await ada.get("/users/me/export")).status_code == 200
    assert await exports(ada) == 1


async def test_failure_before_the_first_byte_is_a_problem(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(service(AccountExporters), "tasks.jsonl", broken_after(0))
    is_problem(await ada.get("/users/me/export"), 503, "database_unavailable")
    assert await exports(ada) == 0
    monkeypatch.undo()
    assert (await ada.get("/users/me/export")).status_code == 200


def broken_after(lines: int) -> export.AccountExporter:
    async def broken(_: Exporter) -> Any:
        for number in range(lines):
            yield json.dumps([zlib.crc32(f"{number} {place}".encode()) for place in range(500)])
        raise DatabaseUnavailable

    return broken


async def test_a_fault_in_the_middle_cuts_it_off(
    app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(service(AccountExporters), "tasks.jsonl", broken_after(100))
    with caplog.at_level(logging.ERROR):
        start, *rest = await raw(app, "GET", "/users/me/export", ada.headers)
    assert start["status"] == 200
    assert len(rest) > 1
    assert all(message["more_body"] for message in rest)
    with pytest.raises(BadZipFile):
        unpacked(b"".join(message["body"] for message in rest))
    assert "DatabaseUnavailable" in caplog.text
    monkeypatch.undo()
    assert (await ada.get("/users/me/export")).status_code == 200


async def test_others_are_served_meanwhile(ada: Account, bob: Account) -> None:
    await seed(ada, 3000)
    running = asyncio.create_task(ada.get("/users/me/export"))
    answered = 0
    while not running.done():
        assert (await bob.get("/users/me")).status_code == 200
        answered += 1
    assert answered > 2
    assert len(unpacked((await running).content)["tasks.jsonl"]) == 3001


async def test_only_documents_of_the_caller_are_read(ada: Account, bob: Account) -> None:
    for account, number in ((ada, 3), (bob, 40)):
        made = [await account.make_task(f"Task {n}") for n in range(number)]
        for task in made[1:]:
            await account.delete(f"/tasks/{task['id']}")
    for pipeline, number in ((all_present(Scope(ObjectId(ada.id))), 1), (all_in_trash(Scope(ObjectId(ada.id))), 2)):
        explained = await explain(TaskDocument, pipeline)
        assert stages(explained).isdisjoint({"COLLSCAN", "SORT"})
        assert sum(each["totalDocsExamined"] for each in found_in(explained, "executionStats")) == number
    files = await exported(ada)
    assert (len(files["tasks.jsonl"]), len(files["trash.jsonl"]), len(files["history.jsonl"])) == (1, 2, 5)

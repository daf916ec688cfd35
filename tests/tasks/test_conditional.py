"""Conditional requests on tasks: nothing is sent twice, and no edit is lost."""

import asyncio

import pytest

from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, is_problem, make_account, stored_task
from tests.conftest import another
from tests.stored import collection

CHANGES = [("PATCH", {"priority": 5}), ("PUT", {"priority": 5}), ("PATCH", {}), ("DELETE", None)]


async def test_every_task_carries_its_version_as_a_tag(ada: Account) -> None:
    created = await ada.post("/tasks", json={"title": "Tagged"})
    path = created.headers["location"]
    assert created.headers["etag"] == '"1"'
    assert (await ada.get(path)).headers["etag"] == '"1"'
    for verb, expected in (("PATCH", '"2"'), ("PUT", '"3"')):
        assert (await ada.call(verb, path, json={"priority": 2})).headers["etag"] == expected
    assert (await ada.get(path)).headers["etag"] == '"3"'


@pytest.mark.parametrize(
    ("given", "current"),
    [
        ('"1"', True),
        ('W/"1"', True),
        ('"7", "1"', True),
        ("*", True),
        ('"2"', False),
        ('"11"', False),
        ("", False),
        ('"', False),
        ("é", False),
        ('"é"', False),
    ],
)
async def test_a_current_copy_is_not_sent_again(ada: Account, given: str, current: bool) -> None:
    task = await ada.make_task()
    answer = await ada.get(f"/tasks/{task['id']}", headers={b"If-None-Match": given.encode()})
    assert (answer.status_code, bool(answer.content)) == ((304, False) if current else (200, True))
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["cache-control"] == "private, no-cache"
    assert {part.strip() for part in answer.headers["vary"].split(",")} >= {"Authorization", "Origin"}


CODED = ["-gzip", "-br", "-zstd", "-deflate", "--gzip", "--br", ";gzip", "-bzip2"]
NOT_CODED = ["-7", "-gz", "gzip", "-gzip-", "-gzip ", "_gzip", "-", "-GZIPPED", "-gzip2"]


@pytest.mark.parametrize("form", ['"{}"', 'W/"{}"', '"9", W/"{}"'])
@pytest.mark.parametrize("suffix", CODED)
async def test_etag_marked_by_a_compressing_proxy_still_matches(ada: Account, suffix: str, form: str) -> None:
    task = await ada.make_task()
    path, alone = f"/tasks/{task['id']}", form.format(f"1{suffix}")
    for address in (path, "/tasks", "/tasks?fields=title&limit=1"):
        current = (await ada.get(address)).headers["etag"].strip('"')
        answer = await ada.get(address, headers={"If-None-Match": form.format(current + suffix)})
        assert (answer.status_code, answer.headers["etag"]) == (304, f'"{current}"')
        answer = await ada.get(address, headers={"If-None-Match": form.format(f"8{suffix}")})
        assert answer.status_code == 200
    assert (await ada.patch(path, json={"priority": 2}, headers={"If-Match": alone})).json()["version"] == 2
    for verb, body in CHANGES:
        is_problem(await ada.call(verb, path, json=body, headers={"If-Match": alone}), 412, "precondition_failed")
    assert (await ada.delete(path, headers={"If-Match": form.format(f"2{suffix}")})).status_code == 204


@pytest.mark.parametrize("suffix", NOT_CODED)
async def test_any_other_ending_makes_another_tag(ada: Account, suffix: str) -> None:
    task = await ada.make_task()
    path, tag = f"/tasks/{task['id']}", f'"1{suffix}"'
    assert (await ada.get(path, headers={"If-None-Match": tag})).status_code == 200
    is_problem(await ada.patch(path, json={"priority": 2}, headers={"If-Match": tag}), 412, "precondition_failed")


async def test_a_lists_tag_follows_its_tasks(ada: Account) -> None:
    tags = []

    async def tag(query: str = "") -> str:
        answer = await ada.get(f"/tasks{query}")
        again = await ada.get(f"/tasks{query}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        tags.append(answer.headers["etag"])
        return str(answer.headers["etag"])

    await tag()
    task = await ada.make_task()
    before = await tag()
    await ada.make_task("Another")
    await tag()
    await tag("?limit=1")
    await ada.patch(f"/tasks/{task['id']}", json={"priority": 3})
    await tag()
    assert len(set(tags)) == len(tags)
    assert (await ada.get("/tasks", headers={"If-None-Match": before})).status_code == 200


async def test_foreign_tag_reveals_nothing(ada: Account, bob: Account) -> None:
    task = await ada.make_task()
    for header in ({"If-None-Match": "*"}, {"If-Match": "*"}, {"If-Match": '"1"'}, {"If-Match": '"9"'}):
        is_problem(await bob.get(f"/tasks/{task['id']}", headers=header), 404, "not_found")
        for verb, body in CHANGES:
            is_problem(await bob.call(verb, f"/tasks/{task['id']}", json=body, headers=header), 404, "not_found")
    assert (await stored_task(task["id"]))["version"] == 1


@pytest.mark.parametrize("given", ['"2"', 'W/"2"', '"1", "2"', "*"])
@pytest.mark.parametrize(("verb", "body"), CHANGES)
async def test_the_expected_version_is_changed(ada: Account, verb: str, body: object, given: str) -> None:
    task = await ada.make_task()
    await ada.patch(f"/tasks/{task['id']}", json={"title": "Version two"})
    answer = await ada.call(verb, f"/tasks/{task['id']}", json=body, headers={"If-Match": given})
    assert answer.status_code == (204 if verb == "DELETE" else 200)


@pytest.mark.parametrize("given", ['"1"', '"3"', "2", "nonsense", '"', '"9999999999999999999999"', '"²"', '"-2"', '"2.0"'])
@pytest.mark.parametrize(("verb", "body"), CHANGES)
async def test_another_version_is_left_alone(ada: Account, verb: str, body: object, given: str) -> None:
    task = await ada.make_task()
    await ada.patch(f"/tasks/{task['id']}", json={"title": "Version two"})
    answer = await ada.call(verb, f"/tasks/{task['id']}", json=body, headers={b"If-Match": given.encode()})
    detail = 'The task is at version "2", not at the one you sent (in If-Match with its quotes). Read it again.'
    is_problem(answer, 412, "precondition_failed", detail)
    assert answer.headers["etag"] == '"2"'
    kept = await stored_task(task["id"])
    assert (kept["version"], kept["priority"]) == (2, 1)


@pytest.mark.real
async def test_of_fifty_who_change_one_version_one_wins(ada: Account) -> None:
    task = await ada.make_task()
    changes = [ada.patch(f"/tasks/{task['id']}", json={"title": f"By {n}"}, headers={"If-Match": '"1"'}) for n in range(50)]
    answers = await asyncio.gather(*changes)
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 49
    (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
    kept = await stored_task(task["id"])
    assert (kept["title"], kept["version"]) == (winner["title"], 2)


async def test_if_match_on_a_missing_task_is_404(ada: Account) -> None:
    task = await ada.make_task()
    await ada.delete(f"/tasks/{task['id']}", headers={"If-Match": '"1"'})
    assert "owner" not in await stored_task(task["id"])
    is_problem(await ada.patch(f"/tasks/{task['id']}", json={"priority": 2}, headers={"If-Match": '"1"'}), 404, "not_found")


@pytest.mark.real
@pytest.mark.usefixtures("anonymous")
async def test_a_service_can_insist_on_if_match() -> None:
    async with another(require_if_match=True) as client:
        carol = await make_account(client, "carol")
        task = await carol.make_task()
        for verb, body in CHANGES:
            is_problem(await carol.call(verb, f"/tasks/{task['id']}", json=body), 428, "precondition_required")
        assert (await carol.patch(f"/tasks/{task['id']}", json={"priority": 2}, headers={"If-Match": '"1"'})).status_code == 200
        assert await collection(TaskDocument).count_documents({}) == 1

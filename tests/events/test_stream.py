"""The stream of events: what is sent, in which order, and from where on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from bson import ObjectId, Timestamp
from fastapi import FastAPI

from taskapi.core.cooperative import activity
from taskapi.core.keys import Keyring
from taskapi.db.change_streams import HistoryLost
from taskapi.events import guard
from taskapi.events.documents import EventTicketDocument
from taskapi.events.feed import ChangeFeed
from taskapi.events.positions import Position, PositionCodec, PositionSigner
from taskapi.events.routes import stream as stream_route
from taskapi.main import create_app
from taskapi.tasks.services.changes import TaskChanges
from taskapi.web.admission import Admission
from tests.client import Account, is_problem, signed_in, wrong_fields
from tests.conftest import SECRET, make_settings, running
from tests.events.listening import Sent, listening
from tests.events.test_tickets import ticket_of
from tests.stored import collection, service

pytestmark = pytest.mark.real


def names(sent: list[Sent]) -> list[str]:
    return [each.name for each in sent]


async def test_without_a_token_there_is_no_stream(anonymous: httpx.AsyncClient) -> None:
    is_problem(await anonymous.get("/events/stream"), 401, "not_authenticated")
    is_problem(await anonymous.get("/events/stream", params={"ticket": "tkt_x"}), 401, "invalid_ticket")


async def test_a_token_needs_the_right_to_read_tasks(ada: Account) -> None:
    writer = await signed_in(ada.client, ada, scope="tasks:write")
    is_problem(await writer.get("/events/stream"), 403, "insufficient_scope")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"status": "lost"}, "status"),
        ({"tag": ""}, "tag"),
        ({"where": "{"}, "where"),
        ({"where": '{"$where": "1"}'}, "where.$where"),
        ({"where": '{"secret": 1}'}, "where.secret"),
        ({"q": "words"}, "q"),
        ({"since": "?"}, "since"),
        ({"since": "A" * 1000}, "since"),
        ({"heartbeat": "1"}, "heartbeat"),
    ],
)
async def test_a_wrong_parameter_is_named(ada: Account, query: dict[str, str], field: str) -> None:
    assert field in wrong_fields(await ada.get("/events/stream", params=query))


async def test_nothing_but_events_is_sent(ada: Account) -> None:
    is_problem(await ada.get("/events/stream", headers={"Accept": "application/json"}), 406, "not_acceptable")
    is_problem(await ada.post("/events/stream"), 405, "method_not_allowed")


async def test_a_head_is_answered_without_a_stream(ada: Account) -> None:
    answer = await ada.call("HEAD", "/events/stream")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert service(ChangeFeed)._followers == {}
    assert (await ada.call("HEAD", "/events/stream", headers={"Last-Event-ID": "x"})).status_code == 400


async def test_changes_are_sent_in_their_order(app: FastAPI, ada: Account) -> None:
    async with listening(app, ada.headers) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        hello = await stream.next()
        task = await ada.make_task("One")
        await ada.patch(f"/tasks/{task['id']}", json={"status": "done"})
        await ada.delete(f"/tasks/{task['id']}")
        await ada.post(f"/tasks/{task['id']}/restore")
        read = (await ada.get(f"/tasks/{task['id']}")).json()
        sent = await stream.take(4)
    assert stream.body.startswith(b"retry: 3000\n\nevent: hello\n")
    assert (hello.name, hello.id) == ("hello", hello.data["position"])
    assert names(sent) == ["task.created", "task.updated", "task.deleted", "task.restored"]
    assert [each.data["version"] for each in sent] == [1, 2, 3, 4]
    assert [each.id for each in sent] == [each.data["id"] for each in sent]
    assert len({each.id for each in sent}) == 4
    assert {each.data["task_id"] for each in sent} == {task["id"]}
    assert "status" in sent[1].data["changed"]
    assert sent[3].data["task"] == read
    assert "task" not in sent[2].data


async def test_nobody_hears_of_the_tasks_of_others(app: FastAPI, ada: Account, bob: Account) -> None:
    async with listening(app, ada.headers) as hers, listening(app, bob.headers) as his:
        await hers.next(), await his.next()
        await bob.make_task("Of Bob")
        await ada.make_task("Of Ada")
        assert (await hers.next()).data["task"]["title"] == "Of Ada"
        assert (await his.next()).data["task"]["title"] == "Of Bob"
    assert b"Of Bob" not in hers.body


@pytest.mark.parametrize("place", ["header", "query", "both"])
async def test_a_stream_goes_on_from_a_position(app: FastAPI, ada: Account, bob: Account, place: str) -> None:
    async with listening(app, ada.headers) as stream:
        hello = await stream.next()
        titles = [f"Task {number}" for number in range(5)]
        for title in titles:
            await ada.make_task(title)
        first = await stream.take(5)
    assert hello.id
    assert first[1].id
    query = {"query": first[1].id, "both": first[3].id or ""}
    header = {} if place == "query" else {"Last-Event-ID": first[1].id}
    async with listening(app, ada.headers | header, **({"since": query[place]} if place in query else {})) as stream:
        begun = await stream.next()
        rest = await stream.take(3)
    assert (begun.name, begun.id) == ("hello", first[1].id)
    assert rest == first[2:]
    async with listening(app, bob.headers, since=hello.id) as foreign:
        assert foreign.status == 400
        assert b"invalid_position" in foreign.body


async def test_a_position_ahead_of_the_database_resets(app: FastAPI, ada: Account) -> None:
    task = await ada.make_task("Before")
    ahead = service(PositionCodec).write(Position(Timestamp(4_000_000_000, 1)), ObjectId(ada.id))
    async with listening(app, ada.headers, since=ahead, status="todo", tag="a b") as stream:
        reset = await stream.next()
        await ada.patch(f"/tasks/{task['id']}", json={"tags": ["a b"]})
        assert (await stream.next()).name == "task.updated"
    assert (reset.name, reset.data["reason"], reset.id) == ("reset", "ahead", reset.data["position"])
    assert reset.data["list"] == "/tasks?tag=a+b&status=todo"


async def test_a_position_of_another_database_resets(app: FastAPI, ada: Account) -> None:
    codec = PositionCodec(PositionSigner(Keyring([SECRET]).derived("positions")), b"elsewhere")
    since = codec.write(Position(Timestamp(1_700_000_000, 1)), ObjectId(ada.id))
    async with listening(app, ada.headers, since=since) as stream:
        reset = await stream.next()
    assert (reset.name, reset.data["reason"]) == ("reset", "other_database")


async def test_a_reader_who_comes_back_too_late_resets(app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    old = service(PositionCodec).write(Position(Timestamp(1_000_000_000, 1)), ObjectId(ada.id))

    @asynccontextmanager
    async def lost(*_: Any, **__: Any) -> AsyncIterator[Any]:
        raise HistoryLost
        yield

    async with listening(app, ada.headers) as other:  # which opens the feed
        await other.next()
        monkeypatch.setattr(TaskChanges, "watch", lost)
        async with listening(app, ada.headers, since=old) as stream:
            hello, reset = await stream.take(2)
            await ada.make_task("Afterwards")
            assert (await stream.next()).data["task"]["title"] == "Afterwards"
    assert (hello.name, hello.id) == ("hello", old)
    assert (reset.name, reset.data["reason"], reset.id) == ("reset", "expired", reset.data["position"])


async def test_a_heartbeat_moves_the_position_on(
    app: FastAPI, ada: Account, bob: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_route, "HEARTBEAT_SECONDS", 0.1)
    async with listening(app, ada.headers, status="done") as stream:
        hello = await stream.next()
        await ada.make_task("Not done")
        await bob.make_task("Of Bob")
        place = await stream.heartbeat_after(hello.id)
        await ada.make_task("Done", status="done")
        assert (await stream.next()).data["task"]["title"] == "Done"
    async with listening(app, ada.headers, since=place) as stream:
        assert (await stream.next()).id == place
        assert (await stream.next()).data["task"]["title"] == "Done"


async def test_an_open_stream_is_no_load(app: FastAPI, ada: Account) -> None:
    load = service(Admission).load
    reads, requests = load.reads, activity.requests
    async with listening(app, ada.headers) as stream:
        await stream.next()
        assert (load.reads, activity.requests) == (reads, requests)
    assert (load.reads, activity.requests) == (reads, requests)


async def test_a_client_that_goes_away_leaves_nothing(app: FastAPI, ada: Account) -> None:
    feed, listeners = service(ChangeFeed), service(guard.ListenerGuard)
    async with listening(app, ada.headers), listening(app, ada.headers):
        assert len(feed._followers[ObjectId(ada.id)]) == len(listeners._listeners) == 2
    assert feed._followers == {}
    assert (listeners._listeners, listeners._of_account) == (set(), {})


async def test_an_account_has_so_many_streams(app: FastAPI, ada: Account, bob: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_OF_ACCOUNT", 2)
    async with listening(app, ada.headers), listening(app, ada.headers):
        answer = await ada.call("HEAD", "/events/stream")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
        is_problem(await ada.get("/events/stream"), 429, "too_many_listeners")
        async with listening(app, bob.headers) as stream:
            assert stream.status == 200
    async with listening(app, ada.headers) as stream:
        assert stream.status == 200
    monkeypatch.setattr(guard, "MAX_SHARE", 0)
    is_problem(await ada.get("/events/stream"), 503, "server_busy")


async def test_a_stream_is_one_request_of_the_quota(ada: Account) -> None:
    application = create_app(make_settings(requests_per_minute=9))
    async with running(application), listening(application, ada.headers) as stream:
        assert stream.headers["ratelimit-remaining"] == "8"


async def test_a_page_of_an_allowed_origin_may_read(ada: Account) -> None:
    application = create_app(make_settings(cors_origins=["https://tasks.example"]))
    headers = ada.headers | {"Origin": "https://tasks.example"}
    async with running(application), listening(application, headers) as stream:
        assert stream.headers["access-control-allow-origin"] == "https://tasks.example"
        assert (await stream.next()).name == "hello"


async def test_a_ticket_opens_one_stream(app: FastAPI, ada: Account) -> None:
    ticket: Any = (await ada.post("/events/tickets")).json()["ticket"]
    async with listening(app, {}, ticket=ticket) as stream:
        await stream.next()
        await ada.make_task("Heard of")
        assert (await stream.next()).data["task"]["title"] == "Heard of"
    async with listening(app, {}, ticket=ticket) as stream:
        assert stream.status == 401


async def test_ticket_outlasts_requests_that_open_no_stream(app: FastAPI, anonymous: httpx.AsyncClient, ada: Account) -> None:
    ticket = await ticket_of(ada)
    refused = await anonymous.get("/events/stream", params={"ticket": ticket, "where": "{"})
    assert refused.status_code == 422, refused.text
    assert (await anonymous.head("/events/stream", params={"ticket": ticket})).status_code == 200
    is_problem(await anonymous.get("/events/stream", params={"ticket": ticket, "since": "x"}), 400, "invalid_position")
    assert await collection(EventTicketDocument).count_documents({}) == 1
    async with listening(app, {}, ticket=ticket) as stream:
        assert (await stream.next()).name == "hello"
        assert await collection(EventTicketDocument).count_documents({}) == 0

"""A thousand clients that come at once, as after a restart of the server: all begin, and no other request is refused."""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.server.process import Server, serving
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real

CLIENTS = 1000
ACCOUNTS = 20
MISSED = 3  # events of each account
HEAD = "GET /events/{} HTTP/1.1\r\nHost: a\r\n{}\r\n"
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Client(NamedTuple):
    """A connection of a client, and the status that it got."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int


@pytest.fixture(autouse=True)
def enough_files() -> Iterator[None]:
    """For the clients here, and for the server, which inherits it."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


async def begin(server: Server, path: str, headers: dict[str, str]) -> Client:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HEAD.format(path, "".join(f"{name}: {value}\r\n" for name, value in headers.items())).encode())
    return Client(reader, writer, int((await reader.readuntil(b"\r\n\r\n")).split()[1]))


async def begin_all(
    server: Server, path: str, accounts: list[dict[str, str]], told: Callable[[Client], Awaitable[object]]
) -> list[int]:
    """The statuses that clients get who come at once, and the other statuses that a client gets who reads tasks meanwhile."""
    refused: list[int] = []
    have_begun = asyncio.Event()

    async def read_tasks() -> None:
        async with httpx.AsyncClient(base_url=server.url, headers=accounts[0], timeout=PATIENCE_SECONDS) as client:
            while not have_begun.is_set():
                if (status := (await client.get("/tasks")).status_code) != 200:
                    refused.append(status)

    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as others:
        others.create_task(read_tasks())
        clients = await asyncio.gather(*(begin(server, path, accounts[number % ACCOUNTS]) for number in range(CLIENTS)))
        await asyncio.gather(*(told(client) for client in clients if client.status in (101, 200)))
        have_begun.set()
    for client in clients:
        client.writer.close()
    return [client.status for client in clients] + refused


async def is_ready(client: Client) -> None:
    await client.reader.readuntil(b'{"type":"ready"}')


async def knows_all(client: Client) -> None:
    """Reads the place where the client goes on, and what it has missed."""
    await client.reader.readuntil(b"event: hello\n")
    for _ in range(MISSED):
        await client.reader.readuntil(b"event: task.created\n")


async def position_of(server: Server, account: dict[str, str]) -> str:
    client = await begin(server, "stream", account)
    await client.reader.readuntil(b"event: hello\nid: ")
    position = (await client.reader.readline()).decode().strip()
    client.writer.close()
    return position


def test_streams_after_a_restart(folder: Path) -> None:
    with serving(folder, REGISTRATIONS_PER_ADDRESS="1000") as server:
        accounts = [server.account() for _ in range(ACCOUNTS)]
        with server.client() as client:
            for account in accounts:
                account["Last-Event-ID"] = asyncio.run(position_of(server, account))
                for number in range(MISSED):
                    assert client.post("/tasks", json={"title": f"Task {number}"}, headers=account).status_code == 201
    with serving(folder) as server:
        assert asyncio.run(begin_all(server, "stream", accounts, knows_all)) == [200] * CLIENTS
        assert "Traceback" not in server.output


def test_sockets(folder: Path) -> None:
    with serving(folder, REGISTRATIONS_PER_ADDRESS="1000") as server:
        accounts = [server.account() | UPGRADE for _ in range(ACCOUNTS)]
        assert asyncio.run(begin_all(server, "ws", accounts, is_ready)) == [101] * CLIENTS
        assert "Traceback" not in server.output

#!/usr/bin/env python3
"""Shows how the links of one account affect the others: its names belong to a name server that never answers, or its pages hang.

It starts a server on an empty database, with a name server, a web server and an SMTP server of its own, and fails when
another account waits longer for its links or a mail than twice the idle time and a second, or when SIGTERM takes more than
five seconds meanwhile.
"""

import argparse
import asyncio
import os
import secrets
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httpx
from bench_load import answers, free_port

START_SECONDS = 60
PATIENCE_SECONDS = 300
STOP_BAR = 5.0
LINKS_OF_A_TASK = 10
A, HEADER = 1, struct.Struct("!6H")  # RFC 1035, section 4.1
PAGE = b"<title>A page</title>"


class Resolving(asyncio.DatagramProtocol):
    """A name server: names below quick.example are on loopback, for others it is silent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(b"\0", HEADER.size) + 5
        if b"\x05quick\x07example\0" not in data[:end].lower():
            return
        number, wants_address = HEADER.unpack_from(data)[0], struct.unpack_from("!H", data, end - 4)[0] == A
        answer = struct.pack("!3HIH4B", 0xC00C, A, 1, 60, 4, 127, 0, 0, 1) if wants_address else b""
        self.transport.sendto(HEADER.pack(number, 0x8180, 1, bool(answer), 0, 0) + data[HEADER.size : end] + answer, addr)


@dataclass
class Peers:
    """The servers that taskapi talks to."""

    dns: int = 0
    web: int = 0
    smtp: int = 0
    mails: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    async def serve_page(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while b" /hang " not in (await reader.readuntil(b"\r\n\r\n")):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n%b" % (len(PAGE), PAGE))
            await reader.read()
        writer.close()

    async def take_mail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        while line := await reader.readline():
            if line == b"DATA\r\n":
                writer.write(b"354 go on\r\n")
                mail = await reader.readuntil(b"\r\n.\r\n")
                self.mails.put_nowait(mail.decode())
            writer.write(b"250 OK\r\n")
        writer.close()


@asynccontextmanager
async def peers() -> AsyncIterator[Peers]:
    here, loop = Peers(), asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Resolving, local_addr=("127.0.0.1", 0))
    web = await asyncio.start_server(here.serve_page, "127.0.0.1", 0)
    smtp = await asyncio.start_server(here.take_mail, "127.0.0.1", 0)
    here.dns = transport.get_extra_info("sockname")[1]
    here.web, here.smtp = (server.sockets[0].getsockname()[1] for server in (web, smtp))
    yield here
    transport.close()
    web.close()
    smtp.close()


@contextmanager
def served(here: Peers) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A server on an empty database: its URL and process."""
    with tempfile.TemporaryDirectory(prefix="taskapi-dns-") as folder:
        port = free_port()
        command = [str(Path(sys.executable).with_name("taskapi")), "serve", "--port", str(port)]
        settings = {
            "MONGODB_URI": "",
            "DATA_DIR": folder,
            "LOG_LEVEL": "error",
            "DNS_SERVERS": f"127.0.0.1:{here.dns}",
            "LINKS_ALLOW_PRIVATE": "true",
            "SMTP_HOST": "mail.quick.example",
            "SMTP_PORT": str(here.smtp),
            "SMTP_SECURITY": "none",
            "MAIL_FROM": "tasks@example.com",
        }
        environment = {**os.environ, **{f"TASKAPI_{name}": value for name, value in settings.items()}}
        with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL) as process:
            try:
                url = f"http://127.0.0.1:{port}"
                if not answers(url, process, START_SECONDS):
                    sys.exit("slow_dns: the server did not start")
                yield url, process
            finally:
                process.kill()


class Caller:
    """An account with tasks."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def sign_up(self) -> None:
        who = {"username": f"caller-{secrets.token_hex(6)}", "password": secrets.token_urlsafe(15)}
        (await self.client.post("/register", json=who)).raise_for_status()
        answer = (await self.client.post("/token", data=who)).raise_for_status()
        self.headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    async def make_task(self, *links: str) -> str:
        task = await self.client.post("/tasks", json={"title": "Ten links", "links": links}, headers=self.headers)
        return f"/tasks/{task.raise_for_status().json()['id']}/links"

    async def read(self, path: str) -> httpx.Response:
        return await self.client.get(path, headers=self.headers)

    async def read_for_ever(self, path: str) -> None:
        with suppress(httpx.HTTPError):
            while True:
                if (await self.read(path)).status_code >= 400:
                    await asyncio.sleep(0.1)


async def slowest_links(caller: Caller, path: str) -> float:
    """Seconds of the slowest of five previews, none of which may fail."""
    slowest = 0.0
    for _ in range(5):
        start = time.monotonic()
        answer = (await caller.read(path)).raise_for_status().json()
        slowest = max(slowest, time.monotonic() - start)
        if [link["outcome"] for link in answer] != ["ok"] * LINKS_OF_A_TASK:
            print(f"slow_dns: links of another account failed: {answer[0]}")
            slowest = float("inf")
    return slowest


async def slowest_mail(client: httpx.AsyncClient, here: Peers) -> float:
    """Seconds from the request to the mail, the slowest of three."""
    slowest = 0.0
    for _ in range(3):
        name = f"reader-{secrets.token_hex(6)}"
        body = {"username": name, "password": secrets.token_urlsafe(15), "email": f"{name}@example.com"}
        start = time.monotonic()
        (await client.post("/register", json=body)).raise_for_status()
        while f"{name}@example.com" not in await here.mails.get():
            pass
        slowest = max(slowest, time.monotonic() - start)
    return slowest


async def stop(process: "subprocess.Popen[bytes]") -> float:
    start = time.monotonic()
    process.terminate()
    await asyncio.to_thread(process.wait)
    return time.monotonic() - start


async def attack(kind: str, connections: int) -> bool:
    """Prints a line for each figure of one attack. Returns whether all are within their bars."""
    async with peers() as here:
        with served(here) as (url, process):
            limits = httpx.Limits(max_connections=None)
            async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS, limits=limits) as client:
                other, attacker = Caller(client), Caller(client)
                await other.sign_up()
                await attacker.sign_up()
                quick = await other.make_task(*(f"http://page.quick.example:{here.web}/{n}" for n in range(LINKS_OF_A_TASK)))
                if kind == "dns":
                    links = [f"http://n{n}.silent.example/" for n in range(LINKS_OF_A_TASK)]
                else:
                    links = [f"http://n{n}.quick.example:{here.web}/hang" for n in range(LINKS_OF_A_TASK)]
                bad = await attacker.make_task(*links)
                idle = {"links": await slowest_links(other, quick), "mail": await slowest_mail(client, here)}
                calls = [asyncio.create_task(attacker.read_for_ever(bad)) for _ in range(connections)]
                await asyncio.sleep(1)
                under = {"links": await slowest_links(other, quick), "mail": await slowest_mail(client, here)}
                stopping = await stop(process)
                await asyncio.gather(*calls)
    held = [report(kind, name, idle[name], under[name], 2 * idle[name] + 1) for name in idle]
    return all([*held, report(kind, "SIGTERM", None, stopping, STOP_BAR)])


def report(kind: str, name: str, idle: float | None, seconds: float, bar: float) -> bool:
    shown = "-" if idle is None else f"{idle:.2f}"
    print(f"| {kind} | {name} | {shown} | {seconds:.2f} | {bar:.2f} | {'yes' if seconds <= bar else 'NO'} |", flush=True)
    return seconds <= bar


async def show(connections: int) -> bool:
    print("| attack | what | idle s | under attack s | bar s | held |")
    print("| --- | --- | ---: | ---: | ---: | --- |")
    return all([await attack(kind, connections) for kind in ("dns", "pages")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=30, help="of the account that attacks (default %(default)s)")
    options = parser.parse_args()
    try:
        held = asyncio.run(show(options.connections))
    except (httpx.HTTPError, socket.gaierror) as error:
        sys.exit(f"slow_dns: {type(error).__name__}: {error}")
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()

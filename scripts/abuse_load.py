"""What the attacks of abuse.py share: two accounts, raw HTTP over many connections, a measuring caller, the memory.

An attack is a coroutine that one of its connections runs again and again; it runs in a process of its own, so that it
slows the measuring caller through the server alone.
"""

import asyncio
import contextlib
import http.client
import json
import multiprocessing
import os
import statistics
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from bson import ObjectId
from pymongo import MongoClient

CONNECTIONS = 100
CALL_SECONDS = 60  # the measuring caller waits at most this long for an answer
SETTLE_SECONDS = 20  # in which the memory of an attack must be released
SAMPLE_PAUSE = 0.005
PASSWORD = "correct horse battery"  # noqa: S105
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]


@dataclass(frozen=True)
class World:
    """The server under attack, the account that attacks, and another one that only wants to read its task."""

    url: str
    pid: int
    attacker: str  # an access token
    victim: str
    task: str  # of the victim
    owned: tuple[str, ...]  # tasks of the attacker
    uri: str = ""  # of MongoDB

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 80)

    def request(self, method: str, target: str, body: bytes = b"", token: str | None = None, **headers: str) -> bytes:
        """The bytes of a request with ``token``, the attacker's by default; an empty token is not sent."""
        token = self.attacker if token is None else token
        lines = [f"{method} {target} HTTP/1.1", "Host: taskapi"]
        lines += [f"Authorization: Bearer {token}"] if token else []
        named = {"Content-Type": "application/json", "Content-Length": str(len(body))} if body else {}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines += [f"{name}: {value}" for name, value in named.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body


Connection = Callable[[World, int, "Counter[str]"], Awaitable[None]]


@dataclass(frozen=True)
class Attack:
    """What one connection repeats until stopped, and which bars must hold meanwhile."""

    run: Connection
    connections: int = CONNECTIONS
    times_idle: float = 5.0  # the p95 of the other caller's GET, at most
    least_ms: float = 0.0  # … but this much is fine in any case
    errors: int = 0  # of the other caller, at most
    mib: float | None = None  # above idle, at most, and released afterwards; None: not checked
    quick: tuple[str, ...] = ()  # addresses that must answer, each within ``quick_seconds``
    quick_seconds: float = 2.0
    refused: str = ""  # what an answer to the attacker must not begin with: "4" and "5" mean that none is refused
    before: Callable[[str], None] | None = None  # what is done to the MongoDB at this URI before the attack
    settings: Mapping[str, str] = field(default_factory=dict)  # of the server, beside the defaults


def repeat(*requests: Callable[[World, int], bytes]) -> Connection:
    """A connection that sends these requests in turn, each after the complete answer to the previous one."""

    async def run(world: World, number: int, statuses: "Counter[str]") -> None:
        payloads = [request(world, number) for request in requests]
        reader, writer = await asyncio.open_connection(*world.address)
        try:
            while True:
                for payload in payloads:
                    writer.write(payload)
                    statuses[await read_answer(reader)] += 1
        finally:
            writer.close()

    return run


async def read_answer(reader: asyncio.StreamReader) -> str:
    """Reads one complete answer, discards the body, and returns the status."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = head.split(b" ", 2)[1].decode()
    if b"\r\ntransfer-encoding: chunked" in head:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await skip(reader, size + 2)
        await reader.readuntil(b"\r\n")
    else:
        for line in head.split(b"\r\n"):
            if line.startswith(b"content-length:"):
                await skip(reader, int(line.partition(b":")[2]))
    return status


async def skip(reader: asyncio.StreamReader, size: int) -> None:
    while size:
        size -= len(await reader.readexactly(min(size, 65_536)))


def attack(world: World, attacks: Mapping[str, Attack], name: str, stop: Any, results: Any) -> None:
    """Runs all connections of an attack in its process until ``stop``, and puts their statuses into ``results``."""
    statuses: Counter[str] = Counter()

    async def connection(number: int) -> None:
        while True:
            try:
                await attacks[name].run(world, number, statuses)
            except (OSError, EOFError, asyncio.LimitOverrunError) as error:
                statuses[type(error).__name__] += 1
                await asyncio.sleep(0.05)

    async def main() -> None:
        running = [asyncio.create_task(connection(number)) for number in range(attacks[name].connections)]
        await asyncio.to_thread(stop.wait)
        for task in running:
            task.cancel()

    asyncio.run(main())
    results.put(dict(statuses))


@contextlib.contextmanager
def attacked(world: World, attacks: Mapping[str, Attack], name: str) -> Iterator["Counter[str]"]:
    """Runs the attack during the block; afterwards the yielded object holds the statuses it received."""
    context = multiprocessing.get_context("fork")
    stop, results, statuses = context.Event(), context.Queue(), Counter[str]()
    process = context.Process(target=attack, args=(world, attacks, name, stop, results), daemon=True)
    process.start()
    try:
        yield statuses
    finally:
        stop.set()
        statuses.update(results.get())
        process.join()


class Caller:
    """A caller that repeats one request over one connection, and records how long each took."""

    def __init__(self, world: World, path: str, token: str) -> None:
        self._world, self._path, self._token = world, path, token
        self.milliseconds: list[float] = []
        self.statuses: Counter[str] = Counter()

    def call_for(self, seconds: float) -> None:
        """Repeats the request for that many seconds, at least until the first answer."""
        connection = http.client.HTTPConnection(*self._world.address, timeout=CALL_SECONDS)
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or not self.milliseconds:
            started = time.perf_counter()
            try:
                connection.request("GET", self._path, headers=headers)
                answer = connection.getresponse()
                answer.read()
                self.statuses[str(answer.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.statuses[type(error).__name__] += 1
                connection.close()
            self.milliseconds.append((time.perf_counter() - started) * 1000)
            time.sleep(SAMPLE_PAUSE)
        connection.close()

    @property
    def p95(self) -> float:
        return statistics.quantiles(self.milliseconds, n=20, method="inclusive")[-1] if len(self.milliseconds) > 1 else 0.0

    @property
    def errors(self) -> int:
        return sum(count for status, count in self.statuses.items() if status != "200")


class Memory(threading.Thread):
    """Peak resident memory of a process and its children, without MongoDB, in MiB."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._ended = pid, threading.Event()
        self.largest = 0.0

    def run(self) -> None:
        while not self._ended.wait(0.05):
            self.largest = max(self.largest, self.now())

    def now(self) -> float:
        pages = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def end(self) -> None:
        self._ended.set()
        self.join()


def prepare(url: str, pid: int, uri: str, database: str, tasks: int) -> World:
    """Creates the two accounts through the API, and ``tasks`` tasks of the attacker, of common words and with metadata."""
    with httpx.Client(base_url=url, timeout=60) as client:

        def account(name: str) -> str:
            form = {"username": name, "password": PASSWORD}
            client.post("/register", json=form).raise_for_status()
            return str(client.post("/token", data=form).raise_for_status().json()["access_token"])

        def task(token: str) -> str:
            body = {"title": "A task", "description": " ".join(WORDS), "metadata": {"n": 1}, "due_date": "2027-01-31"}
            created = client.post("/tasks", json=body, headers={"Authorization": f"Bearer {token}"}).raise_for_status()
            return str(created.json()["id"])

        attacker, victim = account("attacker"), account("victim")
        world = World(url, pid, attacker, victim, task(victim), tuple(task(attacker) for _ in range(10)), uri)
    with MongoClient[dict[str, Any]](uri) as mongo:
        stored = mongo[database]["tasks"]
        template = stored.find_one({"_id": ObjectId(world.owned[0])}) or {}
        for start in range(0, tasks, 5000):
            stored.insert_many([_copy(template, number) for number in range(start, min(start + 5000, tasks))], ordered=False)
    return world


def _copy(template: dict[str, Any], number: int) -> dict[str, Any]:
    word = WORDS[number % len(WORDS)]
    metadata = {"n": number, "group": {"name": word, "part": number % 7}, "list": [number % 11, number % 13]}
    changes = {"title": f"Task {number} {word}", "priority": number % 5 + 1, "metadata": metadata, "tags": [word]}
    return {**template, **changes, "_id": ObjectId()}


def encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()

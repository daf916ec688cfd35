"""Measures what streams of events cost: idle ones in memory and for other requests, busy ones in delay."""

import asyncio
import contextlib
import itertools
import json
import socket
import statistics
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
from bench_load import READS, Bench, Caller
from bench_page import Result, Table
from bench_soak import resident_mib

IDLE = 2000
CONNECTIONS = 32  # of the requests beside them
BUSY = 200
CHANGES_PER_SECOND = 200
SETTLE_SECONDS = 20  # in which each stream has had a heartbeat
MAX_KIB = 15.0  # of an idle stream, with its connection
MAX_SLOWER = 1.2  # p99 of a GET beside idle streams
MAX_DELAY_MS = 250.0  # p99, from the request that changes a task to the event
HEAD = "GET /events/stream HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\r\n"
MEANING = (
    f"Idle: {IDLE:,} streams of {{accounts}} accounts on one worker; beside them and without, requests with {CONNECTIONS} "
    "connections. Each value is the median of {rounds} rounds of {seconds} s, the ratio that within each round. "
    f"A stream may take {MAX_KIB:.0f} KiB with its connection, and the p99 of a GET grow by {MAX_SLOWER - 1:.0%}. "
    f"Busy: {BUSY} streams, five of each account, while {CHANGES_PER_SECOND} tasks a second are changed. The delay is from the "
    f"request to the event; its p99 may be {MAX_DELAY_MS:.0f} ms. The clients share a core with MongoDB."
)


def measure_streams(bench: Bench, rounds: int, seconds: int) -> Result:
    """Fails if streams take too much memory, slow other requests down, or are late."""
    callers = [*bench.readers, *bench.writers]
    alone, beside = [], []
    with bench.server("taskapi", patience=60) as (url, pid):
        with following(url, callers, len(callers)):  # whatever the first streams need
            bench.load(url, READS["get"], CONNECTIONS, seconds)
        before = resident_mib(pid)
        for number in range(rounds):
            alone.append(bench.load(url, READS["get"], CONNECTIONS, seconds))
            with following(url, callers, IDLE):
                if number == 0:
                    time.sleep(SETTLE_SECONDS)
                    kib = (resident_mib(pid) - before) * 1024 / IDLE
                beside.append(bench.load(url, READS["get"], CONNECTIONS, seconds))
        delays = asyncio.run(follow_changes(url, callers, seconds * rounds))
    ratio = statistics.median(b.p99 / a.p99 for a, b in zip(alone, beside, strict=True))
    p50, p99 = statistics.median(delays), statistics.quantiles(delays, n=100)[98]
    idle = Table(("idle streams", "KiB each", "req/s of a GET", "p50 ms", "p99 ms", "p99 / p99 without"))
    for name, size, measures, compared in (("none", "", alone, ""), (f"{IDLE:,}", f"{kib:.1f}", beside, f"{ratio:.2f}")):
        values = [statistics.median(getattr(each, kind) for each in measures) for kind in ("rate", "p50", "p99")]
        idle.rows.append((name, size, f"{values[0]:.0f}", f"{values[1]:.1f}", f"{values[2]:.1f}", compared))
    busy = Table(("busy streams", "changes", "events", "p50 ms", "p99 ms", "longest ms"))
    busy.rows.append(
        (str(BUSY), seconds * rounds * CHANGES_PER_SECOND, len(delays), f"{p50:.0f}", f"{p99:.0f}", f"{max(delays):.0f}")
    )
    result = Result([idle, busy], [MEANING.format(accounts=len(callers), rounds=rounds, seconds=seconds)])
    if kib > MAX_KIB:
        result.failures.append(f"an idle stream takes {kib:.1f} KiB")
    if ratio > MAX_SLOWER:
        result.failures.append(f"the p99 of a GET beside idle streams is {ratio:.2f} times that without")
    if p99 > MAX_DELAY_MS:
        result.failures.append(f"the p99 of the delay of events is {p99:.0f} ms")
    return result


@contextlib.contextmanager
def following(url: str, callers: list[Caller], count: int) -> Iterator[None]:
    """So many open streams, whose events nobody reads."""
    with contextlib.ExitStack() as opened:
        for number in range(count):
            address = urlsplit(url)
            stream = opened.enter_context(socket.create_connection((address.hostname, address.port), 30))
            stream.sendall(HEAD.format(callers[number % len(callers)].token).encode())
            said = b""
            while b"event: hello" not in said:
                part = stream.recv(4096)
                assert part, said
                said += part
        yield


async def follow_changes(url: str, callers: list[Caller], seconds: int) -> list[float]:
    """The delays of events, in ms, while tasks are changed; each account has as many streams as the others."""
    address, sent = urlsplit(url), dict[str, float]()
    delays: list[float] = []
    streams = []
    for number in range(BUSY):
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**20)
        writer.write(HEAD.format(callers[number % len(callers)].token).encode())
        await reader.readuntil(b"event: hello")
        streams.append((asyncio.create_task(note(reader, sent, delays)), writer))
    changes = (
        (caller, task)
        for number in itertools.count()
        for caller in callers
        for task in [caller.tasks[number % len(caller.tasks)]]
    )
    async with httpx.AsyncClient(base_url=url, limits=httpx.Limits(max_connections=32), timeout=30) as client:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as running:
            for number in range(seconds * CHANGES_PER_SECOND):
                await asyncio.sleep(began + number / CHANGES_PER_SECOND - time.perf_counter())
                caller, task = next(changes)
                sent[str(task)] = time.perf_counter()
                headers = {"Authorization": f"Bearer {caller.token}"}
                running.create_task(client.patch(f"/tasks/{task}", json={"priority": number % 5 + 1}, headers=headers))
    expected = seconds * CHANGES_PER_SECOND * BUSY // len(callers)
    async with asyncio.timeout(30):
        while len(delays) < expected:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    for reading, writer in streams:
        reading.cancel()
        writer.close()
    return delays


async def note(reader: asyncio.StreamReader, sent: dict[str, float], delays: list[float]) -> None:
    """Notes the delay of each event of a stream."""
    while line := await reader.readline():
        if line.startswith(b'data: {"id"'):
            delays.append((time.perf_counter() - sent[json.loads(line[6:])["task_id"]]) * 1000)

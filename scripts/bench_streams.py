"""Measures what streams of events cost: idle ones in memory and for other requests, busy ones in delay."""

import asyncio
import contextlib
import itertools
import re
import resource
import socket
import statistics
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from bench_load import READS, Bench, Caller, Measure
from bench_page import Result, Table
from bench_soak import resident_mib

IDLE = 2000
CONNECTIONS = 32  # of the requests beside them
BUSY = 200
CHANGES_PER_SECOND = 200
FIRST = 1000  # which take what memory is left of the start
SETTLE_SECONDS = 20  # in which each stream has had a heartbeat
CALM_SECONDS = 2  # after thousands of connections were opened or closed
MAX_KIB = 15.0  # of an idle stream, with its connection
MAX_SLOWER = 1.2  # p99 of a GET beside idle streams
MAX_DELAY_MS = 250.0  # p99, from the request that changes a task to the event
HEAD = "GET /events/stream HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\r\n"
PATCH = (
    "PATCH /tasks/{} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n"
    "Content-Length: {}\r\n\r\n{}"
)
TASK_ID = re.compile(rb'"task_id":"(\w+)"')
WRITERS = 32  # connections
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
    alone: list[Measure] = []
    beside: list[Measure] = []
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the servers as well
    kib = measure_memory(bench, callers)
    with bench.server("taskapi", patience=60) as (url, _):
        with following(url, callers, len(callers)):  # whatever the first streams need
            bench.load(url, READS["get"], CONNECTIONS, seconds)
        for _ in range(rounds):
            alone.append(bench.load(url, READS["get"], CONNECTIONS, seconds))
            with following(url, callers, IDLE):
                time.sleep(CALM_SECONDS)
                beside.append(bench.load(url, READS["get"], CONNECTIONS, seconds))
            time.sleep(CALM_SECONDS)
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


def measure_memory(bench: Bench, callers: list[Caller]) -> float:
    """The KiB that each further idle stream takes, once there are some."""
    with bench.server("taskapi", patience=60) as (url, pid), following(url, callers, FIRST):
        time.sleep(SETTLE_SECONDS)
        before = resident_mib(pid)
        with following(url, callers, IDLE):
            time.sleep(SETTLE_SECONDS)
            return (resident_mib(pid) - before) * 1024 / IDLE


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
    changes = ((caller, caller.tasks[number % len(caller.tasks)]) for number in itertools.count() for caller in callers)
    writers = [await asyncio.open_connection(address.hostname, address.port) for _ in range(WRITERS)]
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for connection in writers:
        free.put_nowait(connection)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as running:
        for number in range(seconds * CHANGES_PER_SECOND):
            await asyncio.sleep(began + number / CHANGES_PER_SECOND - time.perf_counter())
            caller, task = next(changes)
            sent[str(task)] = time.perf_counter()
            running.create_task(change(free, caller, str(task), number))
    expected = seconds * CHANGES_PER_SECOND * BUSY // len(callers)
    async with asyncio.timeout(30):
        while len(delays) < expected:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    for reading, stream in streams:
        reading.cancel()
        stream.close()
    for _, writer in writers:
        writer.close()
    return delays


async def change(
    free: "asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]", caller: Caller, task: str, number: int
) -> None:
    """Changes a task, with as little of the client's time as can be."""
    reader, writer = connection = await free.get()
    body = f'{{"priority":{number % 5 + 1}}}'
    writer.write(PATCH.format(task, caller.token, len(body), body).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
    free.put_nowait(connection)


async def note(reader: asyncio.StreamReader, sent: dict[str, float], delays: list[float]) -> None:
    """Notes the delay of each event of a stream."""
    while line := await reader.readline():
        if found := TASK_ID.search(line):
            delays.append((time.perf_counter() - sent[found[1].decode()]) * 1000)

"""Measures what streams and WebSockets of events cost: idle ones in memory and for other requests, busy ones in delay."""

import asyncio
import contextlib
import itertools
import resource
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from bench_followers import add_followers
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
BARS = {"stream": ("server-sent events", 15.0), "socket": ("WebSocket", 25.0)}  # the KiB of an idle one, with its connection
MAX_SLOWER = 1.2  # p99 of a GET beside idle streams
MAX_DELAY_MS = 250.0  # p99, from the request that changes a task to the event
HEADS = {
    "stream": "GET /events/stream HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\r\n",
    "socket": "GET /events/ws HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
}
BEGUN = {"stream": b"event: hello", "socket": b'{"type":"subscribed"'}
MESSAGE = b'{"type":"subscribe","id":"all"}'
SUBSCRIBE = b"\x81%c" % (0x80 | len(MESSAGE)) + bytes(4) + MESSAGE  # a text of a client, whose mask changes nothing
PATCH = (
    "PATCH /tasks/{} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n"
    "Content-Length: {}\r\n\r\n{}"
)
WRITERS = 32  # connections
MEANING = (
    f"Idle: {IDLE:,} on one worker, each of an account of its own, with a subscription for a WebSocket. A stream of server-sent "
    f"events may take {BARS['stream'][1]:.0f} KiB with its connection, a WebSocket {BARS['socket'][1]:.0f}. Beside idle streams "
    f"and without, requests with {CONNECTIONS} connections: each value is the median of {{rounds}} rounds of {{seconds}} s, the "
    f"ratio that within each round. The p99 of a GET may grow by {MAX_SLOWER - 1:.0%}. Busy: {BUSY}, five of each account, while "
    f"{CHANGES_PER_SECOND} tasks a second are changed. The delay is from the request to the event; its p99 may be "
    f"{MAX_DELAY_MS:.0f} ms. The clients share a core with MongoDB."
)


def measure_streams(bench: Bench, rounds: int, seconds: int) -> Result:
    """Fails if streams take too much memory, slow other requests down, or are late."""
    callers = [*bench.readers, *bench.writers]
    alone: list[Measure] = []
    beside: list[Measure] = []
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the servers as well
    tokens = add_followers(bench, FIRST + IDLE)
    kib = {kind: measure_memory(bench, tokens, kind) for kind in BARS}
    with bench.server("taskapi", patience=60) as (url, _):
        with following(url, tokens[:FIRST]):  # whatever the first streams need
            bench.load(url, READS["get"], CONNECTIONS, seconds)
        for _ in range(rounds):
            alone.append(bench.load(url, READS["get"], CONNECTIONS, seconds))
            with following(url, tokens[FIRST:]):
                time.sleep(CALM_SECONDS)
                beside.append(bench.load(url, READS["get"], CONNECTIONS, seconds))
            time.sleep(CALM_SECONDS)
        delays = {kind: asyncio.run(follow_changes(url, callers, kind, seconds * rounds)) for kind in BARS}
    ratio = statistics.median(b.p99 / a.p99 for a, b in zip(alone, beside, strict=True))
    idle = Table(("idle streams", "req/s of a GET", "p50 ms", "p99 ms", "p99 / p99 without"))
    for name, measures, compared in (("none", alone, ""), (f"{IDLE:,}", beside, f"{ratio:.2f}")):
        values = [statistics.median(getattr(each, kind) for each in measures) for kind in ("rate", "p50", "p99")]
        idle.rows.append((name, f"{values[0]:.0f}", f"{values[1]:.1f}", f"{values[2]:.1f}", compared))
    each = Table(("", "KiB each, idle", "changes", "events", "p50 ms", "p99 ms", "longest ms"))
    result = Result([each, idle], [MEANING.format(rounds=rounds, seconds=seconds)])
    for kind, (name, max_kib) in BARS.items():
        late = delays[kind]
        p50, p99 = statistics.median(late), statistics.quantiles(late, n=100)[98]
        changes = seconds * rounds * CHANGES_PER_SECOND
        each.rows.append((name, f"{kib[kind]:.1f}", changes, len(late), f"{p50:.0f}", f"{p99:.0f}", f"{max(late):.0f}"))
        if kib[kind] > max_kib:
            result.failures.append(f"{name}: an idle one takes {kib[kind]:.1f} KiB")
        if p99 > MAX_DELAY_MS:
            result.failures.append(f"{name}: the p99 of the delay of events is {p99:.0f} ms")
    if ratio > MAX_SLOWER:
        result.failures.append(f"the p99 of a GET beside idle streams is {ratio:.2f} times that without")
    return result


def measure_memory(bench: Bench, tokens: Sequence[str], kind: str) -> float:
    """The KiB that each further idle one takes, once there are some."""
    with bench.server("taskapi", patience=60) as (url, pid), following(url, tokens[:FIRST], kind):
        time.sleep(SETTLE_SECONDS)
        before = resident_mib(pid)
        with following(url, tokens[FIRST:], kind):
            time.sleep(SETTLE_SECONDS)
            return (resident_mib(pid) - before) * 1024 / IDLE


@contextlib.contextmanager
def following(url: str, tokens: Sequence[str], kind: str = "stream") -> Iterator[None]:
    """An open stream, or WebSocket with a subscription, for each of the tokens, whose events nobody reads."""
    address = urlsplit(url)
    with contextlib.ExitStack() as opened:
        for token in tokens:
            connection = opened.enter_context(socket.create_connection((address.hostname, address.port), 30))
            connection.sendall(HEADS[kind].format(token).encode())
            if kind == "socket":
                read_until(connection, b'{"type":"ready"}')
                connection.sendall(SUBSCRIBE)
            read_until(connection, BEGUN[kind])
        yield


def read_until(connection: socket.socket, expected: bytes) -> None:
    said = b""
    while expected not in said:
        part = connection.recv(4096)
        assert part, said
        said += part


async def follow_changes(url: str, callers: list[Caller], kind: str, seconds: int) -> list[float]:
    """The delays of events, in ms, while tasks are changed; each account has as many streams as the others."""
    address, sent = urlsplit(url), dict[str, float]()
    delays: list[float] = []
    streams = []
    for number in range(BUSY):
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**20)
        writer.write(HEADS[kind].format(callers[number % len(callers)].token).encode())
        if kind == "socket":
            await reader.readuntil(b'{"type":"ready"}')
            writer.write(SUBSCRIBE)
        await reader.readuntil(BEGUN[kind])
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
    while await reader.readuntil(b'"task_id":"'):
        task = await reader.readexactly(24)
        delays.append((time.perf_counter() - sent[task.decode()]) * 1000)

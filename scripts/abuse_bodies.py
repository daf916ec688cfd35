"""Attacks with request bodies: unauthenticated, nested JSON, long and deep lines, bulk."""

import asyncio
from collections import Counter

from abuse_load import Attack, Connection, World, encode, read_answer, repeat

MIB = 2**20
NESTED = b"[%b]" % b",".join([b"[]"] * (MIB // 3 - 1))
DEEP = b"[%b]" % b",".join([b"[" * 30 + b"]" * 30] * (MIB // 61 - 1))
METADATA = b'{"title":"a","metadata":{"a":[%b]}}' % b",".join([b"[]"] * (MIB // 3 - 20))
AMPERSANDS = b"&" * MIB
FORM, LINES, CSV = "application/x-www-form-urlencoded", "application/jsonl", "text/csv"
CREATES = encode({"operations": [{"op": "create", "task": {"title": f"Task {n}", "tags": ["a", "b"]}} for n in range(1000)]})
WRONG = encode({"operations": [{"op": "create", "task": {f"unknown{n}": n for n in range(30)}} for _ in range(1000)]})
MANY = b'{"operations":[%b]}' % b",".join([b"{}"] * (MIB // 3 - 10))
PATCH = encode([{"op": "add", "path": "/metadata", "value": {"list": list(range(250))}}] * 100)
WHERE = encode({"where": {"$or": [{"metadata.n": {"$in": list(range(100))}} for _ in range(100)]}})
DEEP_LINE = b'{"title":"a","metadata":{"a":[%b]}}\n' % b",".join([b"[" * 20 + b"]" * 20] * 6000)
ENDLESS_BYTES = 200_000_000  # of one line
STRANGER = ""  # instead of a token: none is sent


def post(target: str, body: bytes, content_type: str = "application/json", token: str | None = None) -> Connection:
    """A connection that posts the body, without a token when ``token`` is ``STRANGER``."""
    return repeat(lambda world, _: world.request("POST", target, body, token, Content_Type=content_type))


def stream(target: str, content_type: str, start: bytes, piece: bytes, size: int) -> Connection:
    """A connection that posts ``start`` and then ``piece`` again and again, ``size`` bytes in all."""

    async def run(world: World, _: int, statuses: Counter[str]) -> None:
        reader, writer = await asyncio.open_connection(*world.address)
        length = str(len(start) + size // len(piece) * len(piece))
        try:
            while True:
                writer.write(world.request("POST", target, Content_Type=content_type, Content_Length=length) + start)
                for _ in range(size // len(piece)):
                    writer.write(piece)
                    await writer.drain()
                statuses[await read_answer(reader)] += 1
        finally:
            writer.close()

    return run


def patch(body: bytes) -> Connection:
    """A connection that sends a JSON Patch to one of the account's tasks."""
    kind = "application/json-patch+json"
    return repeat(lambda world, n: world.request("PATCH", f"/tasks/{world.owned[n % 10]}", body, Content_Type=kind))


ATTACKS = {
    "stranger-json": Attack(post("/tasks", NESTED, token=STRANGER), connections=16),
    "stranger-register": Attack(post("/register", NESTED, token=STRANGER), connections=16),
    "stranger-form": Attack(post("/token", AMPERSANDS, FORM, token=STRANGER), connections=16),
    "nested-flat": Attack(post("/tasks", NESTED), connections=16),
    "nested-deep": Attack(post("/tasks", DEEP), connections=16),
    "metadata": Attack(post("/tasks", METADATA), connections=16),
    "bulk-many": Attack(post("/tasks/bulk", MANY), connections=16),
    "bulk-wrong": Attack(post("/tasks/bulk", WRONG), connections=8),
    "bulk-creates": Attack(post("/tasks/bulk", CREATES), connections=8),
    "patch": Attack(patch(PATCH), connections=8),
    "where": Attack(post("/tasks/search", WHERE), connections=8),
    "import-deep": Attack(post("/tasks/import", DEEP_LINE * 20, LINES), connections=4),
    "import-line": Attack(stream("/tasks/import", LINES, b'{"title":"', b"x" * 65_536, ENDLESS_BYTES), connections=4, mib=100),
    "import-cell": Attack(stream("/tasks/import", CSV, b'title\r\n"', b"x" * 65_536, ENDLESS_BYTES), connections=4, mib=100),
}

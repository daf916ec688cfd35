"""Attacks on the database and on memory: expensive queries, exports, bulk, and very many connections."""

from dataclasses import replace
from typing import Any
from urllib.parse import quote

from abuse_load import WORDS, Attack, World, encode, repeat
from pymongo import MongoClient

BULK = encode({"operations": [{"op": "create", "task": {"title": f"Task {n}"}} for n in range(1000)]})
ITEMS = [{"text": f"Item {n}"} for n in range(50)]
LARGE_BULK = encode({"operations": [{"op": "create", "task": {"title": f"Task {n}", "checklist": ITEMS}} for n in range(1000)]})
NOR = {"$nor": [{"metadata.n": {"$gt": n}, "metadata.group.part": n} for n in range(12)]}
OR = {"$or": [{"metadata.group.name": {"$ne": word}, "metadata.list": {"$gte": 5}} for word in WORDS]}


def get(target: str) -> Attack:
    """An attack that requests one path."""
    return Attack(repeat(lambda world, _: world.request("GET", target)))


def post(target: str, body: bytes, connections: int = 100, mib: float | None = None) -> Attack:
    """An attack that posts one body."""
    return Attack(repeat(lambda world, _: world.request("POST", target, body)), connections=connections, mib=mib)


def _light(world: World, number: int) -> bytes:
    return world.request("GET", f"/tasks/{world.owned[number % len(world.owned)]}")


def lose_majority(uri: str) -> None:
    """Adds two members that do not exist; the primary does not step down for an hour, and no write reaches a majority."""
    with MongoClient[dict[str, Any]](uri) as mongo:
        config = mongo.admin.command("replSetGetConfig")["config"]
        config["members"] += [{"_id": number, "host": f"127.0.0.1:{number}"} for number in (1, 2)]
        config["settings"]["electionTimeoutMillis"] = 3_600_000
        config["version"] += 1
        mongo.admin.command({"replSetReconfig": config, "force": True})


FLOOD = Attack(repeat(_light), 2000, times_idle=0, least_ms=1500, errors=10**9, quick=("/health", "/ready"), quick_seconds=1.5)

ATTACKS = {
    "words": get(f"/tasks?q={'+'.join(WORDS)}&limit=100"),
    "nor": get(f"/tasks?where={quote(encode(NOR))}&limit=100"),
    "or": post("/tasks/search", encode({"where": OR, "limit": 100, "sort": "title"})),
    "deep": get("/tasks?sort=priority,title&offset=15000&limit=100"),
    "lists": get("/tasks?limit=100"),
    "exports": get("/tasks/export?sort=priority,title"),
    "account": get("/users/me/export"),
    "by-filter": Attack(
        repeat(lambda world, _: world.request("PATCH", f"/tasks?where={quote(encode(NOR))}", encode({"priority": 3})))
    ),
    "bulk": post("/tasks/bulk", BULK, 200),
    "bulk-memory": post("/tasks/bulk", LARGE_BULK, mib=400),
    "majority": Attack(
        repeat(lambda world, _: world.request("POST", "/tasks", encode({"title": "A task"}))), 64, before=lose_majority
    ),
    "ordinary": Attack(
        repeat(
            _light,
            lambda world, _: world.request("GET", "/tasks"),
            lambda world, _: world.request("POST", "/tasks", encode({"title": "A task"})),
            lambda world, number: world.request(
                "PATCH", f"/tasks/{world.owned[number % 10]}", encode({"priority": number % 5 + 1})
            ),
        ),
        128,
        times_idle=0,
        least_ms=5000,
        refused="45",
    ),
    "flood": FLOOD,
    "flood-many": replace(FLOOD, settings={"TASKAPI_REQUESTS_PER_MINUTE": "0"}),  # as if many accounts sent it
}

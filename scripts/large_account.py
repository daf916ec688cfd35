"""Renames, exports and removes an account of 200,000 tasks while others work, and prints how that affects them.

Fails when a request fails, when another account's p95 rises above --ratio times its value without that work, when a change
of the owner takes longer than --most seconds, or when a copy of the name, or a document of the account, is left.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from bench_load import Bench, own_bench
from large_owner import PASSWORD, fill
from pymongo import MongoClient
from pymongo.database import Database

OTHER = {"username": "somebody", "password": PASSWORD}
IDLE_SECONDS = 10
PATIENCE_SECONDS = 900
POLL_SECONDS = 2  # each check reads many tasks
PAUSE_SECONDS = 0.02  # between two requests of one caller


class Caller(threading.Thread):
    """Repeats a request, and records how long each took."""

    def __init__(self, send: Callable[[], httpx.Response]) -> None:
        super().__init__(daemon=True)
        self.send, self.seconds, self.failed = send, list[float](), 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(PAUSE_SECONDS):
            began = time.monotonic()
            self.failed += self.send().status_code != httpx.codes.OK
            self.seconds.append(time.monotonic() - began)

    def at(self, part: float) -> float:
        """The quantile of the request times, in seconds."""
        found = sorted(self.seconds)
        return found[min(int(len(found) * part), len(found) - 1)]


@contextmanager
def calling(*sends: Callable[[], httpx.Response]) -> Iterator[list[Caller]]:
    callers = [Caller(send) for send in sends]
    for caller in callers:
        caller.start()
    try:
        yield callers
    finally:
        for caller in callers:
            caller.ended.set()
            caller.join()


@contextmanager
def signed_in(url: str, form: dict[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=120) as client:
        token = client.post("/token", data=form).raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def wait_until(is_done: Callable[[], bool]) -> float:
    """Waits until ``is_done`` holds. Returns how many seconds that took."""
    began = time.monotonic()
    while not is_done():
        if time.monotonic() - began > PATIENCE_SECONDS:
            sys.exit("large_account: not done in time")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - began


def row(what: str, seconds: float, other: Caller, owner: Caller | None = None) -> None:
    cells = [f"{seconds:.1f}", f"{other.at(0.95) * 1000:.0f}", f"{other.at(1) * 1000:.0f}"]
    cells.append(f"{owner.at(1) * 1000:.0f}" if owner else "")
    print(f"| {what} | {' | '.join(cells)} | {other.failed + (owner.failed if owner else 0)} |", flush=True)


def measure(bench: Bench, database: Database[dict[str, Any]], username: str, ratio: float, most: float) -> list[str]:
    """Prints the table. Returns the bars that were missed."""
    wrong = []
    user = database["users"].find_one({"username": username})
    assert user
    theirs = {"owner_id": user["_id"]}
    present = "countess" if username != "countess" else "ada"
    earlier = {"$ne": present}
    stale = {
        **theirs,
        "$or": [
            {"state": "active", "owner.username": earlier},
            {"state": "trash", "trash.owner.username": earlier},
            {"history.by.username": earlier},
        ],
    }
    print("| work | seconds | another's GET, p95 ms | slowest ms | the owner's PATCH, slowest ms | failed |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    with bench.server("taskapi", patience=600) as (url, _), httpx.Client(base_url=url) as anonymous:
        anonymous.post("/register", json=OTHER)
        with signed_in(url, OTHER) as other, signed_in(url, {"username": username, "password": PASSWORD}) as owner:
            task = other.post("/tasks", json={"title": "A task"}).raise_for_status().json()["id"]
            mine = owner.get("/tasks?limit=1").raise_for_status().json()[0]["id"]
            get = lambda: other.get(f"/tasks/{task}")  # noqa: E731
            patch = lambda: owner.patch(f"/tasks/{mine}", json={"priority": 1 + time.monotonic_ns() % 5})  # noqa: E731
            with calling(get, patch) as callers:
                time.sleep(IDLE_SECONDS)
            row("none", IDLE_SECONDS, *callers)
            idle, failed = callers[0].at(0.95), sum(caller.failed for caller in callers)
            with calling(get, patch) as callers:
                began = time.monotonic()
                with signed_in(url, {"username": username, "password": PASSWORD}) as renaming:
                    renaming.patch("/users/me", json={"username": present}).raise_for_status()
                row("the renaming itself", time.monotonic() - began, *callers)
                seconds = wait_until(lambda: not database["tasks"].find_one(stale))
            row("copies of the name", seconds, *callers)
            wrong += ["a change of the owner was held"] if callers[1].at(1) > most else []
            wrong += ["renaming slowed others"] if callers[0].at(0.95) > ratio * idle else []
            failed += sum(caller.failed for caller in callers)
            with calling(get) as callers:
                began = time.monotonic()
                size = len(owner.get("/users/me/export").raise_for_status().content)
            row(f"export of {size / 2**20:.0f} MiB", time.monotonic() - began, *callers)
            failed += callers[0].failed
    past = datetime.now(UTC) - timedelta(seconds=1)
    database["users"].update_one({"_id": user["_id"]}, {"$set": {"leaving": {"requested_at": past, "due_at": past}}})
    with bench.server("taskapi", patience=600) as (url, _), signed_in(url, OTHER) as other:
        with calling(lambda: other.get(f"/tasks/{task}")) as callers:
            seconds = wait_until(lambda: not database["users"].find_one({"_id": user["_id"]}))
        row("removal", seconds, *callers)
    wrong += ["removal slowed others"] if callers[0].at(0.95) > ratio * idle else []
    wrong += ["a request failed"] if failed + callers[0].failed else []
    wrong += ["tasks were left"] if database["tasks"].find_one(theirs) else []
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=200_000, help="how many tasks (default %(default)s)")
    parser.add_argument("--ratio", type=float, default=5, help="how much slower others may be (default %(default)s)")
    parser.add_argument("--most", type=float, default=1, help="seconds for a change of the owner (default %(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with own_bench("large") as bench:
        username = fill(bench.uri, bench.database, options.tasks)
        with MongoClient[dict[str, Any]](bench.uri) as client:
            wrong = measure(bench, client[bench.database], username, options.ratio, options.most)
    if wrong:
        sys.exit(f"large_account: {', '.join(wrong)}")


if __name__ == "__main__":
    main()

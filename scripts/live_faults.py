"""Follows accounts in four ways while their tasks change and everything that can die does, and counts what went missing.

Each of many accounts is followed by its event stream, a WebSocket, delta sync and a webhook, through nginx, while writers
change tasks and, every few seconds, a worker is killed, MongoDB's primary is killed, stepped down or frozen, or nginx is
reloaded. In the end, each change that was acknowledged must have reached each of the four, in order for each task; each copy
must equal what is stored; and nobody may have been told of another's task.
"""

import argparse
import asyncio
import itertools
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from live_clients import Client, DeltaClient, SocketClient, StreamClient
from live_copy import SAMPLES, Copy
from live_service import DATABASE, FAULTS, Service, running
from live_webhooks import Hooks
from live_writers import Owner, Writers
from pymongo import MongoClient
from pymongo.read_concern import ReadConcern
from replica_callers import PASSWORD

WAYS: dict[str, type[Client]] = {"stream": StreamClient, "socket": SocketClient, "delta": DeltaClient}
WEBHOOK = "webhook"
HEADING = ("way", "events", "repeated", "missing", "out of order", "copies that differ", "foreign", "resets", "failures",
           "delay p50 s", "p99 s")  # fmt: skip
# Statuses of writes. 0: the connection broke; 404: nginx has repeated a DELETE that a worker had done before it died.
EXPECTED = {0, 200, 201, 204, 404, 502, 503, 504}
SETTLE_STEP = 1.0
NOTHING = "nothing"


@dataclass
class Check:
    """All copies, and what is to be found in them."""

    service: Service
    owners: list[Owner]
    writers: Writers
    copies: dict[str, dict[str, Copy]] = field(default_factory=dict)  # by way and owner

    def missing(self) -> dict[str, int]:
        """By way, the number of acknowledged changes that have not arrived yet."""
        return {
            way: sum(len(copy.lacks(self.writers.written[owner_id])) for owner_id, copy in copies.items())
            for way, copies in self.copies.items()
        }

    async def stored(self, http: httpx.AsyncClient) -> dict[str, dict[str, Mapping[str, Any]]]:
        """The tasks of each owner as the API shows them."""
        found = {}
        for owner in self.owners:
            tasks: dict[str, Mapping[str, Any]] = {}
            query = {"limit": "100"}
            while True:
                answer = (await http.get("/tasks", params=query, headers=owner.headers, timeout=30)).raise_for_status()
                tasks |= {task["id"]: task for task in answer.json()}
                if "x-next-cursor" not in answer.headers:
                    break
                query["cursor"] = answer.headers["x-next-cursor"]
            found[owner.id] = tasks
        return found

    def owners_of_tasks(self) -> dict[str, str]:
        """The owner's id of each task, also of those that are gone."""
        with MongoClient[dict[str, Any]](self.service.members.uri) as client:
            tasks = client[DATABASE].get_collection("tasks", read_concern=ReadConcern("majority"))
            return {str(task["_id"]): str(task["owner_id"]) for task in tasks.find({}, {"owner_id": 1})}

    def report(self, stored: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> int:
        """Prints the table and samples of what is wrong. Returns the number of violations."""
        wrong, owners = 0, self.owners_of_tasks()
        print(f"| {' | '.join(HEADING)} |\n| --- |{' ---: |' * (len(HEADING) - 1)}")
        samples = list[str]()
        for way, copies in self.copies.items():
            lacks = {owner_id: copy.lacks(self.writers.written[owner_id]) for owner_id, copy in copies.items()}
            differs = {owner_id: copy.differs(stored[owner_id]) for owner_id, copy in copies.items()}
            disordered = [text for copy in copies.values() for text in copy.disordered]
            foreign = sum(copy.count_foreign(owners) for copy in copies.values())
            delays = sorted(d for owner_id, copy in copies.items() for d in copy.delays(self.writers.written[owner_id]))
            p50, p99 = (statistics.quantiles(delays, n=100)[place] for place in (49, 98)) if len(delays) > 1 else (0, 0)
            missing, different = sum(map(len, lacks.values())), sum(map(len, differs.values()))
            events, repeated, failures = (
                sum(getattr(copy, name) for copy in copies.values()) for name in ("events", "repeated", "failures")
            )
            resets = [reason for copy in copies.values() for reason in copy.resets]
            row = (events, repeated, missing, len(disordered), different, foreign, len(resets), failures)
            print(f"| {way} | {' | '.join(map(str, row))} | {p50:.2f} | {p99:.2f} |")
            wrong += missing + len(disordered) + different + foreign
            samples += [f"{way}: missing {write}" for writes in lacks.values() for write in writes[:1]][:SAMPLES]
            samples += [f"{way}: out of order {text}" for text in disordered[:SAMPLES]]
            samples += [f"{way}: differs {ids[0]}" for ids in differs.values() if ids][:SAMPLES]
            samples += [f"{way}: reset {reason}" for reason in sorted(set(resets))]
        print(*samples, sep="\n")
        return wrong


async def sign_up(url: str, number: int) -> list[Owner]:
    """New accounts that are signed in."""
    owners = []
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        for each in range(number):
            account = {"username": f"owner-{each}", "password": PASSWORD}
            made = (await http.post("/register", json=account)).raise_for_status()
            token = (await http.post("/token", data=account)).raise_for_status()
            owners.append(Owner(each, made.json()["id"], token.json()["access_token"]))
    return owners


async def disturb(service: Service, writers: Writers, kinds: list[str], every: float, seconds: float) -> None:
    """One fault after another, every so many seconds."""
    began = time.monotonic()
    print("| second | fault | changes acknowledged so far | seconds until whole again |\n| ---: | --- | ---: | ---: |")
    for number, kind in enumerate(itertools.cycle(kinds or [NOTHING]), 1):
        await asyncio.sleep(max(0.0, began + min(number * every, seconds) - time.monotonic()))
        if number * every >= seconds:
            return
        if kind == NOTHING:
            continue
        at = time.monotonic()
        await asyncio.to_thread(FAULTS[kind], service)
        while not await asyncio.to_thread(service.is_whole):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        print(f"| {at - began:.0f} | {kind} | {writers.acknowledged} | {time.monotonic() - at:.1f} |", flush=True)


async def run(options: argparse.Namespace, service: Service) -> bool:
    """Runs everything. Returns whether all was well."""
    owners = await sign_up(service.direct, options.owners)
    writers = Writers(service.url, owners, options.pause, options.seed)
    check = Check(service, owners, writers)
    async with AsyncExitStack() as stack:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=service.url, timeout=30, limits=limits))
        tasks = list[asyncio.Task[None]]()
        ways = options.ways.split(",")
        for way, kind in WAYS.items():
            if way in ways:
                copies = check.copies[way] = {owner.id: Copy(owner.id, skips=way == "delta") for owner in owners}
                tasks += [asyncio.create_task(kind(service.url, owner, copies[owner.id], http).follow()) for owner in owners]
        if WEBHOOK in ways:
            check.copies[WEBHOOK] = {owner.id: Copy(owner.id) for owner in owners}
            await stack.enter_async_context(Hooks(owners, check.copies[WEBHOOK]).receiving(http))
        writing = [asyncio.create_task(writers.write(number)) for number in range(options.writers)]
        faults = [kind.strip() for kind in options.faults.split(",") if kind.strip()]
        await disturb(service, writers, faults, options.every, options.seconds)
        writers.stopping = True
        await asyncio.gather(*writing)
        stopped = time.monotonic()
        while any(check.missing().values()) and time.monotonic() - stopped < options.settle:  # noqa: ASYNC110
            await asyncio.sleep(SETTLE_STEP)
        settled = time.monotonic() - stopped
        await asyncio.sleep(2 * DeltaClient.pause)  # what was not acknowledged may still arrive
        stored = await check.stored(http)
        if broken := [task for task in tasks if task.done()]:
            await broken[0]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        faulty = {status: count for status, count in writers.statuses.items() if status not in EXPECTED}
        print(f"{writers.acknowledged} changes of {sum(map(len, stored.values()))} tasks and more acknowledged to ", end="")
        print(f"{options.writers} writers, {writers.abandoned} tasks left alone; all were told {settled:.1f} s after the last")
        print(f"Statuses: {dict(sorted(writers.statuses.items()))}; unexpected: {faulty or 'none'}")
        return not check.report(stored) and not faulty and writers.acknowledged > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180, help="how long tasks change (default %(default)s)")
    parser.add_argument("--every", type=float, default=10, help="seconds from one fault to the next (default %(default)s)")
    parser.add_argument("--faults", default=",".join(FAULTS), help="which, in turn (default %(default)s)")
    parser.add_argument("--ways", default=",".join([*WAYS, WEBHOOK]), help="to follow (default %(default)s)")
    parser.add_argument("--owners", type=int, default=100, help="accounts (default %(default)s)")
    parser.add_argument("--writers", type=int, default=32, help="that change tasks (default %(default)s)")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two changes of one (default %(default)s)")
    parser.add_argument("--settle", type=float, default=60, help="seconds for the last to arrive (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what the writers choose (default %(default)s)")
    parser.add_argument("--keep-log", type=Path, help="file for what the service has logged")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="taskapi-live-") as name:
        folder = Path(name)
        settings = {"WEBHOOKS_ALLOW_PRIVATE": "true"} if WEBHOOK in options.ways else {}
        with running(folder, 2, REGISTRATIONS_PER_ADDRESS="100000", REQUESTS_PER_MINUTE="0", **settings) as service:
            well = asyncio.run(run(options, service))
        if options.keep_log:
            options.keep_log.write_text((folder / "service.log").read_text())
    if not well:
        sys.exit("live_faults: below its bar")


if __name__ == "__main__":
    main()

"""Runs the service on a replica set of three members, injects faults, and counts what callers notice.

Writers create tasks with and without an Idempotency-Key, add to checklists with If-Match, and make many changes at a time,
while readers read. Each fault is a row: how long until a member took writes, and the longest time in which no write
succeeded, from the fault on (without a majority: from when it is back). Fails when an acknowledged write is lost or applied
twice, when an answer is a 500, or when no write succeeded for longer than the election time-out and three seconds.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench_load import SECRET, answers, free_port
from pymongo import MongoClient
from pymongo.read_concern import ReadConcern
from replica_callers import EXPECTED, Callers
from replica_set import FAULTS, ReplicaSet, replica_set, wait_until

PAUSE = 0.2  # the longest between two writes when all is well
SETTLE_SECONDS = 2  # in which writes go through before the next fault
DATABASE = "taskapi_faults"
HEADER = "| fault | primary after s | longest gap s | writes | 503 |\n| --- | ---: | ---: | ---: | ---: |"


@contextmanager
def service(uri: str, folder: Path) -> Iterator[str]:
    """``taskapi serve`` with one worker on that database; its URL."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKAPI_")}
    environment |= {"TASKAPI_MONGODB_URI": uri, "TASKAPI_MONGODB_DATABASE": DATABASE, "TASKAPI_SECRET_KEY": SECRET}
    environment |= {"TASKAPI_LOG_LEVEL": "warning", "TASKAPI_DATA_DIR": str(folder / "service")}
    command = [str(Path(sys.executable).with_name("taskapi")), "serve", "--port", str(port)]
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        if not answers(url, process, 60):
            sys.exit(f"the service did not start:\n{(folder / 'service.log').read_text()}")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def disturb(found: ReplicaSet, callers: Callers, kind: str, seconds: float) -> float:
    """Injects one fault, heals it after ``seconds``, and prints its row after recovery; the longest gap."""
    wait_until(lambda: callers.wrote_since(time.monotonic() - PAUSE), "writes to go through")
    primary = found.primary()
    assert primary, "no primary though writes go through"
    before, busy = len(callers.written), callers.statuses[503]
    counted = began = time.monotonic()
    heal = FAULTS[kind](found, primary, seconds)
    took = 0.0
    while (passed := time.monotonic() - began) < seconds:
        if not took and kind != "no majority" and found.primary() not in (None, primary if kind != "kill" else None):
            took = time.monotonic() - began
        time.sleep(min(0.1, seconds - passed))
    healed = time.monotonic()
    heal()
    if kind == "no majority":
        counted = healed
    wait_until(found.is_whole, "the replica set to be whole again")
    took = took or time.monotonic() - counted
    wait_until(lambda: callers.wrote_since(time.monotonic() - PAUSE), "writes to go through again")
    time.sleep(SETTLE_SECONDS)  # the gap may be a later one
    times = [moment for moment in callers.written[before:] if moment >= counted]
    gap = max(later - earlier for earlier, later in pairwise([counted, *times]))
    print(f"| {kind} | {took:.1f} | {gap:.1f} | {len(callers.written) - before} | {callers.statuses[503] - busy} |", flush=True)
    return gap


def compare(uri: str, callers: Callers) -> tuple[int, int]:
    """The numbers of acknowledged writes that are missing, and of writes stored twice."""
    with MongoClient[dict[str, Any]](uri) as client:
        tasks = client[DATABASE].get_collection("tasks", read_concern=ReadConcern("majority"))
        stored = list(tasks.find({}, {"title": 1, "checklist.text": 1, "description": 1, "history.before": 1}))
    texts = [task["title"] for task in stored]
    texts += [item["text"] for task in stored for item in task["checklist"]]
    texts += [task["description"] for task in stored if task["description"]]
    former = (entry["before"].get("description") for task in stored for entry in task["history"])
    texts += [text for text in former if text]
    distinct = set(texts)
    return len(callers.acknowledged - distinct), len(texts) - len(distinct)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=20, help="how many faults (default %(default)s)")
    parser.add_argument("--kinds", default=",".join(FAULTS), help="which, in turn, separated by commas (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=8, help="how long each lasts (default %(default)s)")
    parser.add_argument("--election", type=float, default=2, help="the election time-out in seconds (default %(default)s)")
    parser.add_argument("--allowed", type=float, default=3, help="seconds beyond it without a write (default %(default)s)")
    parser.add_argument("--writers", type=int, default=4, help="writers of each kind (default %(default)s)")
    parser.add_argument("--plain", action="store_true", help="MongoDB's own settings but for the election time-out")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    if not set(kinds) <= set(FAULTS):
        parser.error(f"--kinds: of {', '.join(FAULTS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    most = options.election + options.allowed
    with tempfile.TemporaryDirectory(prefix="taskapi-faults-") as name:
        folder = Path(name)
        with (
            replica_set(folder, int(options.election * 1000), quick=not options.plain) as found,
            service(found.uri, folder) as url,
        ):
            with Callers(url, options.writers) as callers:
                print(HEADER, flush=True)
                gaps = [disturb(found, callers, kinds[n % len(kinds)], options.seconds) for n in range(options.faults)]
            lost, doubled = compare(found.uri, callers)
    faulty = {status: count for status, count in callers.statuses.items() if status not in EXPECTED}
    print(f"{len(callers.acknowledged)} writes acknowledged, {lost} lost, {doubled} doubled; {callers.reads} reads")
    print(f"Statuses: {dict(sorted(callers.statuses.items()))}; unexpected: {faulty or 'none'}")
    print(f"The longest gap was {max(gaps):.1f} s; {most:g} s are allowed.")
    if lost or doubled or faulty or max(gaps) > most:
        sys.exit("replica_faults: below its bar")


if __name__ == "__main__":
    main()

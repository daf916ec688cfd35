"""Exports a million tasks of one owner from a real server, and prints the memory and time it took.

Fails when a line is missing, or when peak memory exceeds the level before by more than --most MiB.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from bench_load import own_bench
from bson import ObjectId
from pymongo import MongoClient
from pymongo.collection import Collection
from tqdm import tqdm

BATCH = 5000
ACCOUNT = {"username": "ada", "password": "correct horse battery"}
TASK = {
    "title": "A task of a large export",
    "description": "lorem ipsum dolor sit amet " * 8,
    "priority": 2,
    "due_date": "2027-01-31",
    "tags": ["work", "writing"],
    "checklist": [{"text": "one", "done": True}, {"text": "two"}],
    "metadata": {"project": "Apollo", "estimate": {"hours": 12, "rate": 80.5}},
}


def fill(url: str, tasks: Collection[dict[str, Any]], count: int) -> str:
    """Creates an account with ``count`` tasks, each a copy of one created through the API; its token."""
    with httpx.Client(base_url=url) as client:
        client.post("/register", json=ACCOUNT).raise_for_status()
        token = str(client.post("/token", data=ACCOUNT).raise_for_status().json()["access_token"])
        client.post("/tasks", json=TASK, headers={"Authorization": f"Bearer {token}"}).raise_for_status()
    template = tasks.find_one_and_delete({})
    assert template
    with tqdm(total=count, desc="seeding", unit=" tasks", unit_scale=True, disable=None) as bar:
        for start in range(0, count, BATCH):
            numbers = range(start, min(start + BATCH, count))
            times = (template["created_at"] - timedelta(seconds=number) for number in numbers)
            copies = [{**template, "_id": ObjectId(), "created_at": moment} for moment in times]
            tasks.insert_many(copies, ordered=False)
            bar.update(len(copies))
    return token


def mebibytes(pid: int, name: str) -> float:
    """A value of the process's status: VmRSS is its resident memory, VmHWM its peak."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) / 1024


def download(url: str, token: str, kind: str) -> Iterator[bytes]:
    """The lines of an export. Raises httpx.RemoteProtocolError when it is cut off."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.stream("GET", f"{url}/tasks/export?format={kind}", headers=headers, timeout=60) as answer:
        answer.raise_for_status()
        rest = b""
        for chunk in answer.iter_raw(1024 * 1024):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
    assert not rest


def measure(url: str, pid: int, token: str, kind: str, count: int, most: float) -> bool:
    """Exports everything once, and prints a row. Returns whether it was complete and within the limit."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets VmHWM to VmRSS
    before, began = mebibytes(pid, "VmRSS"), time.monotonic()
    lines, ids, size = 0, set[bytes](), 0
    for line in download(url, token, kind):
        lines += 1
        size += len(line) + 1
        ids.add(line[7:31] if kind == "jsonl" else line[:24])
    seconds, peak = time.monotonic() - began, mebibytes(pid, "VmHWM")
    header = kind == "csv"
    print(
        f"| {kind} | {lines:,} | {size / 2**20:,.0f} | {seconds:.1f} | {lines / seconds:,.0f} | {before:.1f} | {peak:.1f} "
        f"| {peak - before:.1f} |",
        flush=True,
    )
    return lines == len(ids) == count + header and peak - before <= most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1_000_000, help="how many tasks (default %(default)s)")
    parser.add_argument("--most", type=float, default=64, help="MiB that an export may take (default %(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with own_bench("export") as bench, bench.server("taskapi") as (url, pid), MongoClient[dict[str, Any]](bench.uri) as client:
        token = fill(url, client[bench.database]["tasks"], options.tasks)
        print("| format | lines | MiB | seconds | lines/s | MiB before | MiB peak | MiB more |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
        good = [measure(url, pid, token, kind, options.tasks, options.most) for kind in ("jsonl", "csv")]
    print(f"{os.cpu_count()} cores; the server had one of them.")
    if not all(good):
        sys.exit("export_memory: a line is missing, or an export took too much memory")


if __name__ == "__main__":
    main()

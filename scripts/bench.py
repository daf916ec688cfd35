"""Measures the API on this machine, on a MongoDB of its own: one server process on one core, the rest on the other.

Without an option, it compares the API with the floor: a hand-written Starlette + Motor + orjson handler that answers the same
requests. With one of the five others, it puts the results into docs/performance.md as well. It fails when a bar is missed.
Single numbers of a busy machine mean little; the ratios are medians over the rounds, each taken within its round.
"""

import argparse
import json
import platform
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import bench_page
import bench_peers
from bench_compare import compare
from bench_load import Bench, own_bench, pin_mongod, prepare
from bench_page import PAGE, Result
from bench_scale import require_space, scale
from bench_soak import soak
from bench_streams import measure_streams
from bench_workers import compare_workers
from pymongo import MongoClient

CACHE_GIB = 4  # of MongoDB: with a small one, it evicts what is written, on the core that it shares with the load


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--peers", action="store_true", help="also compare with Fastify, Go and a first FastAPI + Beanie application"
    )
    kind.add_argument(
        "--scale",
        nargs="?",
        type=numbers,
        const=[10_000, 1_000_000],
        metavar="TASKS,…",
        help="compare collections of so many tasks (default 10000,1000000)",
    )
    kind.add_argument("--workers", type=int, metavar="N", help="compare the cost of a request with N workers and with one: 2")
    kind.add_argument("--soak", type=int, metavar="SECONDS", help="watch latency and memory under 128 connections: 60")
    kind.add_argument("--streams", action="store_true", help="measure what streams of events cost")
    parser.add_argument("--connections", type=numbers, default=[1, 32, 128], help="numbers of connections (default 1,32,128)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default %(default)s)")
    parser.add_argument("--seconds", type=int, default=4, help="length of one measurement (default %(default)s)")
    parser.add_argument("--page", default=str(PAGE), help='where the results go (default docs/performance.md; "-": nowhere)')
    parser.add_argument("--json", type=Path, help="also write the rows here")
    return parser.parse_args()


def choose_peers() -> list[str]:
    """The servers that can run here; prints what the others need."""
    missing = {name: bench_peers.find_missing(name) for name in bench_peers.TITLES}
    for name, needs in missing.items():
        if needs:
            print(f"{name} is left out: it {needs}", file=sys.stderr)
    return [name for name, needs in missing.items() if not needs]


def describe_versions(bench: Bench, names: Sequence[str]) -> list[str]:
    """The versions of what took part."""
    with MongoClient[dict[str, object]](bench.uri) as mongo:
        mongodb = f"MongoDB {mongo.server_info()['version']}"
    of_servers = [version for name in names for version in bench_peers.find_versions(name, bench.folder)]
    return [f"Python {platform.python_version()}", *of_servers, mongodb, bench_peers.find_wrk_version()]


def measure(options: argparse.Namespace, bench: Bench, names: Sequence[str]) -> Result:
    if options.scale:
        return scale(bench, options.scale, options.rounds, options.seconds)
    prepare(bench)
    if options.workers:
        return compare_workers(bench, options.workers, options.rounds, options.seconds)
    if options.soak:
        return soak(bench, options.soak)
    if options.streams:
        return measure_streams(bench, options.rounds, options.seconds)
    return compare(bench, names, options.connections, options.rounds, options.seconds)


def main() -> None:
    options = parse()
    if not shutil.which("wrk"):
        sys.exit("wrk is missing; install it (Debian, Ubuntu: apt-get install wrk)")
    section = next((name for name in ("peers", "scale", "workers", "soak", "streams") if getattr(options, name)), None)
    page = Path(options.page) if section and options.page != "-" else None
    if page and section:
        bench_page.require_section(page, section)
    if options.scale:
        require_space(options.scale)
    names = choose_peers() if options.peers else ["floor", "taskapi"] if section is None else ["taskapi"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with own_bench("bench", mongod_cache_gb=CACHE_GIB) as bench:
        pin_mongod(bench.folder)
        result = measure(options, bench, names)
        text = bench_page.render(result, f"./scripts/bench {shlex.join(sys.argv[1:])}".strip(), describe_versions(bench, names))
    print(text)
    if page and section:
        bench_page.write(page, section, text)
    if options.json:
        rows = [dict(zip(table.headings, row, strict=True)) for table in result.tables for row in table.rows]
        options.json.write_text(json.dumps(rows, indent=1))
    if result.failures:
        sys.exit("\n".join(result.failures))


if __name__ == "__main__":
    main()

"""Attacks the API by one account with many connections, and measures what another account notices.

Each attack runs on a server of its own with an embedded MongoDB. Another account reads one of its tasks again and again,
first alone, then during the attack. The script fails when an attack makes that slower than its bar, or fail, or takes more
memory than it may. Without names it runs all attacks.
"""

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from unittest.mock import patch

import abuse_bodies
import abuse_queries
from abuse_load import SETTLE_SECONDS, Attack, Caller, Memory, World, attacked, prepare
from bench_load import SMALL, own_bench

ATTACKS: dict[str, Attack] = {**abuse_queries.ATTACKS, **abuse_bodies.ATTACKS}
IDLE_SECONDS = 3


def measure(world: World, name: str, seconds: float) -> bool:
    """Runs an attack and prints its row. Returns whether it stayed within its bars."""
    chosen = ATTACKS[name]
    idle, during = (Caller(world, f"/tasks/{world.task}", world.victim) for _ in range(2))
    idle.call_for(IDLE_SECONDS)
    quick = [Caller(world, path, "") for path in chosen.quick]
    if chosen.before:
        chosen.before(world.uri)
    memory = Memory(world.pid)
    before = memory.now()
    memory.start()
    with attacked(world, ATTACKS, name) as statuses, ThreadPoolExecutor() as threads:
        list(threads.map(lambda caller: caller.call_for(seconds), [during, *quick]))
    bar = max(idle.p95 * chosen.times_idle, chosen.least_ms)
    failures = [f"p95 over {bar:.0f} ms"] if during.p95 > bar else []
    failures += [f"errors {dict(during.statuses)}"] if during.errors > chosen.errors else []
    for caller, path in zip(quick, chosen.quick, strict=True):
        if caller.errors or max(caller.milliseconds) > chosen.quick_seconds * 1000:
            failures.append(f"{path}: {max(caller.milliseconds):.0f} ms, {dict(caller.statuses)}")
    if any(status[0] in chosen.refused for status in statuses):
        failures.append("refused what it must not")
    left = wait_until_settled(memory, before) if chosen.mib else memory.now()
    memory.end()
    if chosen.mib and memory.largest - before > chosen.mib:
        failures.append(f"memory over {chosen.mib:.0f} MiB")
    if chosen.mib and left - before > chosen.mib / 4:
        failures.append("memory not given back")
    print(
        f"| {name} | {chosen.connections} | {idle.p95:.1f} | {during.p95:.1f} | {max(during.milliseconds):.0f} "
        f"| {during.errors} of {len(during.milliseconds)} | {before:.0f} | {memory.largest:.0f} | {left:.0f} "
        f"| {' '.join(f'{count} x {status}' for status, count in statuses.most_common(4))} | {'; '.join(failures) or 'ok'} |",
        flush=True,
    )
    return not failures


def wait_until_settled(memory: Memory, before: float) -> float:
    """Waits until most of the memory is released, or ``SETTLE_SECONDS`` have passed; its size then."""
    end = monotonic() + SETTLE_SECONDS
    while memory.now() - before > 50 and monotonic() < end:
        sleep(0.2)
    return memory.now()


@contextlib.contextmanager
def world_of(name: str, tasks: int) -> Iterator[World]:
    """Starts a server with its own MongoDB and two accounts."""
    with own_bench("abuse") as bench, patch.dict("os.environ", ATTACKS[name].settings), bench.server("taskapi") as (url, pid):
        yield prepare(url, pid, bench.uri, SMALL, tasks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ATTACKS)}")
    parser.add_argument("--seconds", type=float, default=10, help="length of one attack (default %(default)g)")
    parser.add_argument("--tasks", type=int, default=20_000, help="that the attacker has (default %(default)s)")
    options = parser.parse_args()
    if unknown := set(options.names) - set(ATTACKS):
        parser.error(f"there is no attack {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print("| attack | connections | idle p95 ms | p95 ms | longest | errors | MiB before | largest | after | attacker | result |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |", flush=True)
    held = True
    for name in options.names or ATTACKS:
        with world_of(name, options.tasks) as world:
            held = measure(world, name, options.seconds) and held
    if not held:
        sys.exit("At least one attack was not held off.")


if __name__ == "__main__":
    main()

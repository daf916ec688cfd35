#!/usr/bin/env python3
"""Fills a database with realistic users and tasks, for trying things out and for measuring.

Tasks are begun, paused, completed, reopened, edited, deleted and restored; some accounts have been renamed. All is stored as the
API would have stored it. Every document follows from the seed, its number and the last day: the same command gives the same
documents, with the same _id. What is there already is left as it is, so a run that was cut short can be started again.
"""

import argparse
import asyncio
import hashlib
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from functools import partial
from typing import Any

try:
    from passlib.hash import argon2
    from pydantic import SecretStr, ValidationError
    from pymongo import MongoClient, WriteConcern
    from pymongo.collection import Collection
    from pymongo.errors import BulkWriteError, PyMongoError
    from seed_documents import Generator
    from tqdm import tqdm

    from taskapi.accounts.users.documents import UserDocument
    from taskapi.accounts.users.schemas import UserCreate
    from taskapi.core.clock import today
    from taskapi.core.errors import StartupError
    from taskapi.core.settings import Settings
    from taskapi.db.codes import DUPLICATE_KEY
    from taskapi.db.connection import open_database
    from taskapi.db.migrations.startup import OnStart
    from taskapi.db.mongod_address import read_uri
    from taskapi.db.shapes import validate
    from taskapi.main import prepare as prepare_database
    from taskapi.tasks.storage.documents import TaskDocument
    from taskapi.tasks.storage.indexes import ALL_OF_OWNER
    from taskapi.tasks.storage.scope import PURGED
except ModuleNotFoundError as error:
    sys.exit(f"seed: needs {error.name}: run ./scripts/setup dev, then .venv/bin/python scripts/seed.py")

BSON = dict[str, Any]
BATCH = 5000
SAMPLE = 100  # documents that are validated before any is written
DEFERRED_INDEX_TASKS = 50_000  # from this many tasks on, indexes are built at the end
MAX_COUNT = 50_000_000


class Stop(Exception):
    """The database could not be filled; the message says why, in one line."""


async def prepare(settings: Settings, generator: Generator) -> None:
    """Creates the collections with the indexes of the service, and validates a sample of what will be written."""
    async with open_database(settings, partial(prepare_database, OnStart.check)):
        for number in range(SAMPLE):
            validate(UserDocument, generator.user(number))
            if (task := generator.task(number))["state"] != PURGED:
                validate(TaskDocument, task)


def fill(collection: Collection[BSON], generator: Generator, make: Callable[[int], BSON], wanted: int) -> int:
    """Writes the missing ones of the ``wanted`` documents, and returns their number. Builds the next batch meanwhile."""
    first, end = generator.id(collection.name, 0), generator.id(collection.name, wanted)
    if collection.count_documents({"_id": {"$gte": first, "$lt": end}}) >= wanted:
        return 0
    added = 0
    bar = tqdm(total=wanted, desc=collection.name, unit=" documents", unit_scale=True, disable=None)
    with bar, ThreadPoolExecutor(1) as writer:
        waiting: deque[Future[int]] = deque()
        for start in range(0, wanted, BATCH):
            batch = [make(number) for number in range(start, min(start + BATCH, wanted))]
            waiting.append(writer.submit(_insert, collection, batch))
            if len(waiting) > 1:
                added += waiting.popleft().result()
            bar.update(len(batch))
        return added + sum(result.result() for result in waiting)


def drop_most_indexes(tasks: Collection[BSON]) -> None:
    """Drops all indexes but the one that lists need: building them once at the end is faster than maintaining them."""
    for name in set(tasks.index_information()) - {"_id_", ALL_OF_OWNER}:
        tasks.drop_index(name)


def _insert(collection: Collection[BSON], batch: list[BSON]) -> int:
    try:
        return len(collection.insert_many(batch, ordered=False).inserted_ids)
    except BulkWriteError as error:
        for fault in error.details["writeErrors"]:
            if fault["code"] != DUPLICATE_KEY:
                raise Stop(f"MongoDB refused a document of {collection.name}: {fault['errmsg']}") from None
            if "_id" not in fault["keyPattern"]:
                field, value = next(iter(fault["keyValue"].items()))
                raise Stop(
                    f"{field} {value!r} belongs to an account that is not of this seed; choose another --database"
                ) from None
        return int(error.details["nInserted"])


def seed(options: argparse.Namespace, settings: Settings) -> str:
    """Fills the database, and returns a summary."""
    assert settings.mongodb_uri
    try:
        UserCreate.model_validate({"username": "somebody", "password": options.password})
    except ValidationError as error:
        raise Stop(f"--password: {error.errors(include_input=False)[0]['msg']}") from None
    salt = hashlib.sha256(f"salt {options.seed}".encode()).digest()[:16]  # fixed, so that every run creates identical users
    hasher = argon2.using(  # type: ignore[no-untyped-call]
        type="ID", memory_cost=settings.argon2_memory_kib, rounds=settings.argon2_rounds, parallelism=1, salt=salt
    )
    generator = Generator(options.seed, options.users, hasher.hash(options.password), options.last_day)
    asyncio.run(prepare(settings, generator))
    began = time.monotonic()
    with MongoClient[BSON](settings.mongodb_uri.get_secret_value(), appname="taskapi-seed") as client:
        durable = WriteConcern(w="majority", j=True)
        into = {name: client[options.database].get_collection(name, write_concern=durable) for name in ("users", "tasks")}
        users = fill(into["users"], generator, generator.user, options.users)
        at_the_end = options.tasks >= DEFERRED_INDEX_TASKS and not into["tasks"].find_one({}, {"_id": 1})
        if at_the_end:
            drop_most_indexes(into["tasks"])
        try:
            tasks = fill(into["tasks"], generator, generator.task, options.tasks)
        finally:
            if at_the_end:  # also after Ctrl-C: the service may be running on this database
                asyncio.run(prepare(settings, generator))
    place = f"{options.database} of seed {options.seed}"
    if not users and not tasks:
        return f"Nothing added: {place} holds its {options.users} users and {options.tasks} tasks already"
    there = options.users + options.tasks - users - tasks
    kept = f" ({there} documents were there already)" if there else ""
    first, last, _ = generator.name(0)
    return (
        f"Added {users} users and {tasks} tasks{kept} to {place} in {time.monotonic() - began:.1f} s\n"
        f"Sign in as {first}.{last}, or any other user, with the password of --password"
    )


def count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MAX_COUNT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MAX_COUNT}")
    return int(text)


def day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date written as YYYY-MM-DD") from None


def settings_of(options: argparse.Namespace) -> Settings:
    """The service's settings with this address and database. Raises Stop."""
    # A random secret that signs nothing, so that the one of the service is not needed.
    own = {"secret_key": SecretStr(secrets.token_hex(32)), "secret_keys": ()}
    given: BSON = {**own, "mongodb_database": options.database}
    try:
        settings = Settings(**given, **({"mongodb_uri": options.uri} if options.uri else {}))
        if settings.mongodb_uri:
            return settings
        uri = read_uri(settings.data_dir)
        if not uri:
            raise Stop("--uri is missing, and so are TASKAPI_MONGODB_URI and an embedded server in .taskapi")
        return Settings(**given, mongodb_uri=SecretStr(uri))
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        raise Stop(": ".join(filter(None, ("_".join(map(str, fault["loc"])), fault["msg"])))) from None


def main() -> None:
    parser = argparse.ArgumentParser(prog="seed", description=(__doc__ or "").strip())
    parser.add_argument("--uri", help="MongoDB to fill (default TASKAPI_MONGODB_URI, else the embedded one of .taskapi)")
    parser.add_argument("--database", default="taskapi", help="name of the database (default %(default)s)")
    parser.add_argument("--users", type=count, default=50, help="how many users (default %(default)s)")
    parser.add_argument("--tasks", type=count, default=10_000, help="how many tasks (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another number gives other documents (default %(default)s)")
    parser.add_argument(
        "--last-day", type=day, default=today().date(), help="day (UTC) the year of tasks ends before (default today)"
    )
    parser.add_argument("--password", default="correct horse battery", help="password of all users (default %(default)r)")
    options = parser.parse_args()
    try:
        print(seed(options, settings_of(options)))
    except (Stop, StartupError) as error:
        sys.exit(f"seed: {error}")
    except PyMongoError as error:
        sys.exit(f"seed: MongoDB: {str(error).split(', full error')[0]}")
    except KeyboardInterrupt:
        print("seed: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Prints the tasks that have changed since its last run, one JSON object a line, and misses none of them.

docs/changes.md explains the rule that it follows. A task may come again in a later run although it has not changed: replace
yours, by ``_id``, if its ``changed_at`` is later. It needs PyMongo alone.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bson import json_util
from pymongo import ASCENDING, MongoClient
from pymongo.collection import Collection
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

BSON = Mapping[str, Any]
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
OVERLAP = timedelta(minutes=5)  # at least the longest write and the difference of two clocks together


@contextmanager
def changes(
    tasks: Collection[Any], since: datetime = BEGINNING, overlap: timedelta = OVERLAP
) -> Iterator[tuple[Iterator[BSON], datetime]]:
    """The tasks that have changed ``since`` then, oldest change first, and from when on to read in the next run.

    Store that time once you have stored all of the tasks.
    """
    acknowledged = tasks.with_options(read_concern=ReadConcern("majority"))
    with tasks.database.client.start_session(causal_consistency=True) as session:
        hello = tasks.database.command("hello", session=session)
        # What follows in this session sees all writes up to this time; a standalone server has its clock alone.
        seen = session.operation_time.as_datetime() if session.operation_time else hello["localTime"].replace(tzinfo=UTC)
        found = acknowledged.find({"changed_at": {"$gte": since}}, {"history": 0}, session=session)
        yield found.sort([("changed_at", ASCENDING), ("_id", ASCENDING)]), seen - overlap


def read_time(state: Path) -> datetime:
    return datetime.fromisoformat(state.read_text()) if state.exists() else BEGINNING


def write_time(state: Path, since: datetime) -> None:
    draft = state.with_suffix(".new")
    draft.write_text(since.isoformat())
    draft.replace(state)


def main() -> None:
    parser = argparse.ArgumentParser(prog="changed_tasks", description=(__doc__ or "").strip())
    parser.add_argument("--uri", default=os.environ.get("TASKAPI_MONGODB_URI"), help="MongoDB (default TASKAPI_MONGODB_URI)")
    parser.add_argument("--database", default="taskapi", help="name of the database (default %(default)s)")
    parser.add_argument("--state", type=Path, required=True, help="file that keeps from when on to read in the next run")
    options = parser.parse_args()
    if not options.uri:
        sys.exit("changed_tasks: --uri is missing, and so is TASKAPI_MONGODB_URI")
    try:
        with MongoClient[Any](options.uri, appname="changed-tasks") as client:
            tasks = client[options.database]["tasks"]
            with changes(tasks, read_time(options.state)) as (found, since):
                for task in found:
                    print(json_util.dumps(task, json_options=json_util.RELAXED_JSON_OPTIONS))
            sys.stdout.flush()
            write_time(options.state, since)
    except PyMongoError as error:
        sys.exit(f"changed_tasks: MongoDB: {str(error).split(', full error')[0]}")


if __name__ == "__main__":
    main()

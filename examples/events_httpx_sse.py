"""Keeps a copy of your tasks in SQLite: first what has changed since the last time, then each change as it happens."""

import json
import os
import random
import sqlite3
import time

import httpx
from httpx_sse import connect_sse

TOKEN = {"Authorization": f"Bearer {os.environ['TASKAPI_TOKEN']}"}  # an API token with the scope tasks:read
API = httpx.Client(base_url=os.environ["TASKAPI_URL"], headers=TOKEN, timeout=60)  # there is a heartbeat every 15 s
COPY = sqlite3.connect(os.environ["COPY"])
COPY.execute("PRAGMA journal_mode = wal")
COPY.executescript("CREATE TABLE IF NOT EXISTS tasks (id PRIMARY KEY, version, task); CREATE TABLE IF NOT EXISTS place (since)")


def since():
    place = COPY.execute("SELECT since FROM place").fetchone()
    return {"since": place[0]} if place else {}


def store(events, place):
    with COPY:  # the changes and the place that is reached are stored together
        for event in events:  # they come at least once: what is newer in the copy stays
            COPY.execute("DELETE FROM tasks WHERE id = ? AND version <= ?", (event["task_id"], event["version"]))
            if task := event.get("task"):
                COPY.execute("INSERT OR IGNORE INTO tasks VALUES (?, ?, ?)", (task["id"], task["version"], json.dumps(task)))
        COPY.execute("DELETE FROM place")
        COPY.execute("INSERT INTO place VALUES (?)", (place,))


def begin_anew(reason):
    print("begins anew:", reason)
    with COPY:
        COPY.execute("DELETE FROM tasks")
        COPY.execute("DELETE FROM place")


while True:
    pause = 1 + random.random()  # not everybody comes back at the same moment
    try:
        page = {"more": True}
        while page["more"]:
            page = API.get("/tasks/changes", params={"limit": 1000} | since()).raise_for_status().json()
            store(page["changes"], page["next"])
        with connect_sse(API, "GET", "/events/stream", params=since()) as stream:
            stream.response.raise_for_status()
            for message in stream.iter_sse():
                if message.event == "reset":
                    begin_anew(message.json()["message"])
                    break
                events = [message.json()] if message.event.startswith("task.") else []
                if message.id:
                    store(events, message.id)
    except httpx.HTTPStatusError as error:
        if error.response.status_code == 410:
            begin_anew(error.response.json()["detail"])
        elif error.response.status_code < 500 and error.response.status_code != 429:
            raise
        pause += int(error.response.headers.get("Retry-After", 0))
    except httpx.TransportError as error:
        print("tries again:", error)
    time.sleep(pause)

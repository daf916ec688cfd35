"""Callers that write and read continuously, and record what was acknowledged."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from itertools import count
from typing import Any, Self
from urllib.parse import urlencode

PASSWORD = "correct horse battery"  # noqa: S105
CALL_SECONDS = 60
PAUSE_SECONDS = 0.05  # between the calls of one caller
ITEMS = 90  # of one checklist; 100 are allowed
CHANGES = 40  # of one task, so that its history keeps them all
CHANGERS = 4  # for one of the others: their changes arrive together
LAST_SECONDS = 30  # for the callers to finish pending calls
BROKEN = 0  # stands for a call without an answer
EXPECTED = {200, 201, 409, 412, 503}


class Caller:
    """One connection of one account."""

    def __init__(self, url: str, statuses: Counter[int]) -> None:
        self.connection = HTTPConnection(url.removeprefix("http://"), timeout=CALL_SECONDS)
        self.statuses = statuses
        self.headers: dict[str, str] = {}

    def call(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, Any]:
        """The status and the decoded body; 599 stands for a 503 without Retry-After."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self.connection.request(method, path, body, {"Content-Type": "application/json", **self.headers, **named})
            answer = self.connection.getresponse()
            status, data = answer.status, json.loads(answer.read() or b"null")
        except (OSError, HTTPException):
            self.connection.close()
            self.statuses[BROKEN] += 1
            return BROKEN, None
        if status == 503 and not answer.headers["Retry-After"]:
            status = 599
        self.statuses[status] += 1
        time.sleep(PAUSE_SECONDS)
        return status, data

    def sign_in(self, name: str) -> None:
        """Creates an account and authenticates as it from now on."""
        account = {"username": name, "password": PASSWORD}
        self.call("POST", "/register", json.dumps(account))
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        _, token = self.call("POST", "/token", urlencode(account), **form)
        self.headers["Authorization"] = f"Bearer {token['access_token']}"


class Callers:
    """Four kinds of writers and one of readers, ``each`` of every kind and more that change; which call during the block."""

    def __init__(self, url: str, each: int) -> None:
        self.statuses: Counter[int] = Counter()
        self.written: list[float] = []  # when each was acknowledged
        self.acknowledged: set[str] = set()
        self.reads = 0
        self._url = url
        account = Caller(url, self.statuses)
        account.sign_in("writer")
        self._headers = account.headers
        self._stop = threading.Event()
        self._give_up = float("inf")
        roles = {self._create: 1, self._create_once: 1, self._patch: 1, self._change: CHANGERS, self._read: 1}
        self._threads = [
            threading.Thread(target=role, args=(f"{role.__name__.strip('_')}-{number}",), daemon=True)
            for role, share in roles.items()
            for number in range(share * each)
        ]

    def wrote_since(self, moment: float) -> bool:
        """Whether a write was acknowledged after ``moment``."""
        return bool(self.written) and self.written[-1] > moment

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_up = time.monotonic() + LAST_SECONDS
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _caller(self) -> Caller:
        caller = Caller(self._url, self.statuses)
        caller.headers = self._headers
        return caller

    def _texts(self, name: str) -> Iterator[str]:
        for number in count():
            if self._stop.is_set():
                return
            yield f"{name}-{number}"

    def _note(self, text: str) -> None:
        self.written.append(time.monotonic())
        self.acknowledged.add(text)

    def _until(self, status: int, call: Callable[[], tuple[int, Any]]) -> Any:
        """What is answered with ``status``, retried until it is; None when it never was."""
        while time.monotonic() < self._give_up:
            given, data = call()
            if given == status:
                return data
        return None

    def _make(self, caller: Caller, title: str) -> Any:
        body = json.dumps({"title": title})
        return self._until(201, lambda: caller.call("POST", "/tasks", body, Idempotency_Key=title))

    def _create(self, name: str) -> None:
        caller = self._caller()
        for text in self._texts(name):
            if caller.call("POST", "/tasks", json.dumps({"title": text}))[0] == 201:
                self._note(text)

    def _create_once(self, name: str) -> None:
        caller = self._caller()
        for text in self._texts(name):
            if self._make(caller, text):
                self._note(text)

    def _patch(self, name: str) -> None:
        caller = self._caller()
        task: Any = None
        for text in self._texts(name):
            if not task or len(task["checklist"]) >= ITEMS:
                task = self._make(caller, f"list-of-{text}")
            if not task:
                return
            path = f"/tasks/{task['id']}"
            patch = json.dumps([{"op": "add", "path": "/checklist/-", "value": {"text": text}}])
            kind = {"Content_Type": "application/json-patch+json"}
            while task and all(item["text"] != text for item in task["checklist"]):
                status, changed = caller.call("PATCH", path, patch, If_Match=f'"{task["version"]}"', **kind)
                task = changed if status == 200 else self._until(200, lambda: caller.call("GET", path))  # noqa: B023
            if not task:
                return
            self._note(text)

    def _change(self, name: str) -> None:
        """Adds to a checklist and sets the description in turn, without a version; an unanswered change is not repeated."""
        caller = self._caller()
        task: Any = None
        for number, text in enumerate(self._texts(name)):
            if number % CHANGES == 0:
                task = self._make(caller, f"changed-{text}")
            if not task:
                return
            method, path, field = ("PATCH", "", "description") if number % 2 else ("POST", "/checklist", "text")
            if caller.call(method, f"/tasks/{task['id']}{path}", json.dumps({field: text}))[0] in (200, 201):
                self._note(text)

    def _read(self, name: str) -> None:
        caller = self._caller()
        created = self._make(caller, name)
        while created and not self._stop.is_set():
            with suppress(KeyError):
                self.reads += caller.call("GET", f"/tasks/{created['id']}")[0] == 200
                self.reads += caller.call("GET", "/tasks?limit=5")[0] == 200

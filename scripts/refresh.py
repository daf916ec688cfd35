#!/usr/bin/env python3
"""Shows how a session survives retries and detects theft.

It refreshes the session repeatedly, each time with two concurrent requests, which the session survives; then it steals a
refresh token, and the session ends as soon as both thief and owner have used it.

It uses a running server, or starts its own with two workers on an empty database. On a running server it creates an account
with a random name, which stays there.
"""

import argparse
import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
from bench_load import answers, free_port

START_SECONDS = 60
OWNER, THIEF = {"User-Agent": "the owner's browser"}, {"User-Agent": "the thief's script"}


class Stop(Exception):
    """A check failed; the message says which, in one line."""


class Caller:
    """An account on the server."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.credentials = {"username": f"refresh-{secrets.token_hex(6)}", "password": secrets.token_urlsafe(15)}

    async def register(self) -> None:
        answer = await self.client.post("/register", json=self.credentials)
        if answer.status_code != 201:
            raise Stop(f"no account could be created: {answer.text}")

    async def sign_in(self) -> dict[str, Any]:
        return await self._token(OWNER, self.credentials)

    async def refresh(self, token: str, who: dict[str, str]) -> dict[str, Any]:
        return await self._token(who, {"grant_type": "refresh_token", "refresh_token": token})

    async def get(self, path: str, given: dict[str, Any]) -> httpx.Response:
        return await self.client.get(path, headers={"Authorization": f"Bearer {given['access_token']}"})

    async def _token(self, who: dict[str, str], form: dict[str, str]) -> dict[str, Any]:
        answer = await self.client.post("/token", data=form, headers=who)
        found: dict[str, Any] = answer.json()
        return found


async def live(caller: Caller, rounds: int) -> dict[str, Any]:
    """Refreshes one session ``rounds`` times, by two requests at once. Raises Stop when it is lost."""
    given = await caller.sign_in()
    for number in range(1, rounds + 1):
        pair = await asyncio.gather(*(caller.refresh(given["refresh_token"], OWNER) for _ in range(2)))
        if len({answer.get("refresh_token") for answer in pair}) != 1 or "refresh_token" not in pair[0]:
            raise Stop(f"refresh {number} was not answered alike: {[answer.get('error', 'a token') for answer in pair]}")
        given = pair[number % 2]
        if (status := (await caller.get("/users/me", given)).status_code) != 200:
            raise Stop(f"the access token of refresh {number} is answered {status}")
    return given


async def steal(caller: Caller, given: dict[str, Any]) -> None:
    """A thief uses the refresh token that the owner uses after them. Raises Stop when the theft goes unnoticed."""
    stolen = await caller.refresh(given["refresh_token"], THIEF)
    if (await caller.get("/users/me", stolen)).status_code != 200:
        raise Stop("the stolen token was of no use, so there is nothing to catch")
    if (await caller.refresh(given["refresh_token"], OWNER)).get("error") != "invalid_grant":
        raise Stop("the owner was not told")
    if (await caller.get("/users/me", stolen)).status_code != 401:
        raise Stop("the thief's access token still works")
    if (await caller.refresh(stolen["refresh_token"], THIEF)).get("error") != "invalid_grant":
        raise Stop("the thief's refresh token still works")
    events = (await caller.get("/users/me/events?kind=refresh_token_reused", await caller.sign_in())).json()
    if [event["outcome"] for event in events] != ["failure"]:
        raise Stop("there is no security event about it")


async def show(url: str, rounds: int) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        caller = Caller(client)
        await caller.register()
        start = time.monotonic()
        given = await live(caller, rounds)
        print(f"{rounds} refreshes, each by two requests at once, in {time.monotonic() - start:.1f} s: the session lives.")
        await steal(caller, given)
        print("A stolen refresh token was used: the session ended for thief and owner, and a security event says so.")


@contextmanager
def own_server() -> Iterator[str]:
    """The URL of a server with two workers, on a temporary database."""
    with tempfile.TemporaryDirectory(prefix="taskapi-refresh-") as folder:
        port = free_port()
        command = [str(Path(sys.executable).with_name("taskapi")), "serve", "--workers", "2", "--port", str(port)]
        environment = {**os.environ, "TASKAPI_MONGODB_URI": "", "TASKAPI_DATA_DIR": folder, "TASKAPI_LOG_LEVEL": "warning"}
        with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL) as process:
            try:
                url = f"http://127.0.0.1:{port}"
                if not answers(url, process, START_SECONDS):
                    raise Stop("the server did not start")
                yield url
            finally:
                process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a server that runs (default: one that is started for this)")
    parser.add_argument("--rounds", type=int, default=1000, help="how often the session is refreshed (default %(default)s)")
    options = parser.parse_args()
    try:
        with nullcontext(options.url) if options.url else own_server() as url:
            asyncio.run(show(url, options.rounds))
    except (Stop, httpx.HTTPError, ValueError) as error:
        sys.exit(f"refresh: {error or type(error).__name__}")


if __name__ == "__main__":
    main()

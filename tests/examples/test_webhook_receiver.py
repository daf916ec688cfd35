"""The receiver of the documentation takes what is genuine, once, and nothing else."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from taskapi.core.clock import utc_now
from taskapi.webhooks.signing import new_secret, signature_headers
from tests.client import Account
from tests.tools import PATIENCE_SECONDS, free_port

EXAMPLE = Path(__file__).parents[2] / "examples" / "webhook_receiver.py"
MAX_LINES = 35
BODY = b'{"type":"webhook.ping","data":{"webhook_id":"1"}}'


@asynccontextmanager
async def receiving(secret: str, port: int) -> AsyncIterator[asyncio.StreamReader]:
    """What the example prints, while it runs."""
    environment = {**os.environ, "WEBHOOK_SECRET": secret}
    process = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLE, str(port), env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _until_it_listens(port)
        assert process.stdout
        yield process.stdout
    finally:
        process.kill()
        await process.communicate()


async def _until_it_listens(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


async def line(printed: asyncio.StreamReader) -> str:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return (await printed.readline()).decode()


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= MAX_LINES


async def test_it_takes_what_is_genuine_once() -> None:
    secret, port, now = new_secret(), free_port(), int(utc_now().timestamp())
    genuine = signature_headers("msg_1", now, BODY, [new_secret(), secret])
    async with receiving(secret, port) as printed, httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        forged = (
            signature_headers("msg_2", now, BODY, [new_secret()]),
            {**genuine, "webhook-id": "msg_3"},
            signature_headers("msg_4", now - 3600, BODY, [secret]),
        )
        for headers in forged:
            assert (await client.post(f"http://127.0.0.1:{port}/", content=BODY, headers=headers)).status_code == 401
        for _ in range(2):
            assert (await client.post(f"http://127.0.0.1:{port}/", content=BODY, headers=genuine)).status_code == 204
        other = signature_headers("msg_5", now, BODY, [secret])
        assert (await client.post(f"http://127.0.0.1:{port}/", content=BODY, headers=other)).status_code == 204
        assert [await line(printed) for _ in range(2)] == ["webhook.ping {'webhook_id': '1'}\n"] * 2


@pytest.mark.real
async def test_it_takes_what_the_api_sends(ada: Account) -> None:
    port = free_port()
    hook = (await ada.post("/webhooks", json={"url": f"http://127.0.0.1:{port}/"})).json()
    async with receiving(hook["secret"], port) as printed:
        await ada.make_task("Call back")
        told = await line(printed)
    assert told.startswith("task.created {")
    assert "Call back" in told

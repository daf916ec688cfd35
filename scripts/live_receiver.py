"""A receiver of webhooks, which checks the signature of each delivery (Standard Webhooks) and answers 204."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from bench_load import free_port

HOSTS = [f"127.0.0.{number}" for number in range(1, 101)]  # the service sends little at a time to each host
Handler = Callable[[str, Mapping[str, Any]], None]  # takes the path and the payload


class Receiver:
    """A server for the hooks of many accounts, each at a path of its own."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self.secrets: dict[str, str] = {}  # by path
        self.forged = 0
        self.delivered = 0
        self._port = free_port()

    def url(self, number: int) -> str:
        """The URL of one of its hosts."""
        return f"http://{HOSTS[number % len(HOSTS)]}:{self._port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, HOSTS, self._port, backlog=1024)
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                path = head[0].split(" ")[1]
                lines = (line.partition(":") for line in head[1:] if line)
                headers = {name.lower(): value.strip() for name, _, value in lines}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                status = self._receive(path, headers, body)
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    def _receive(self, path: str, headers: Mapping[str, str], body: bytes) -> str:
        if not self._is_genuine(path, headers, body):
            self.forged += 1
            return "401 Unauthorized"
        self.delivered += 1
        self._handle(path, json.loads(body))
        return "204 No Content"

    def _is_genuine(self, path: str, headers: Mapping[str, str], body: bytes) -> bool:
        secret = self.secrets.get(path)
        if secret is None:
            return False
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{headers.get('webhook-id')}.{headers.get('webhook-timestamp')}.".encode() + body
        expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        return any(hmac.compare_digest(expected, given) for given in headers.get("webhook-signature", "").split(" "))

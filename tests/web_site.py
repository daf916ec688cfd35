"""A web server on loopback, good and bad, for what fetches pages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


def page(body: str, status: str = "200 OK", kind: str = "text/html; charset=utf-8", extra: str = "") -> bytes:
    content = body.encode()
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\n{extra}\r\n".encode() + content


class Site:
    """A small web server: answers by path, and can wait until several requests are open at once."""

    def __init__(self) -> None:
        self.together = asyncio.Barrier(3)
        self.base = ""
        self.connections = 0
        self.hanging = asyncio.Semaphore(0)
        self.heads: list[bytes] = []
        self.open: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.serve(reader, writer))
        self.open.add(task)
        await asyncio.wait([task])
        writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while request := await reader.readline():
            head = request
            while (line := await reader.readline()).strip():
                head += line
            self.heads.append(head)
            path = request.split()[1].decode()
            if path.startswith("/together"):
                await self.together.wait()
            if path == "/hang":
                self.hanging.release()
                await asyncio.Event().wait()
            elif path == "/cut":
                break
            elif path == "/endless":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<title>Endless</title>")
                while not writer.is_closing():
                    writer.write(b"x" * 65536)
                    await writer.drain()
            else:
                writer.write(self.answer(path))
                await writer.drain()

    def answer(self, path: str) -> bytes:
        answers = {
            "/moved": page("", "302 Found", extra="location: /final\r\n"),
            "/loop": page("", "302 Found", extra="location: /loop\r\n"),
            "/to-file": page("", "302 Found", extra="location: file:///etc/passwd\r\n"),
            "/to-port": page("", "302 Found", extra="location: http://127.0.0.1:65536/\r\n"),
            "/missing": page("<title>Not here</title>", "404 Not Found"),
            "/text": page("<title>Not a title</title>", kind="text/plain"),
            "/loud": page("<title>Loud</title>", kind="TEXT/HTML", extra="content-encoding: Identity\r\n"),
            "/untitled": page("<p>nothing</p>"),
            "/zipped": page("<title>never unpacked</title>", extra="content-encoding: gzip\r\n"),
            "/interim": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100 + page("<title>late</title>"),
            "/hinted": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10 + page("<title>hinted</title>"),
            "/wide": page("<title>behind</title>", extra=f"x: {'y' * 90_000}\r\n"),
            "/long": page("<title>behind</title>", extra="x: y\r\n" * 12_000),
            "/crumbs": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\n<title>\r\n" + b"1\r\na\r\n" * 20_000,
        }
        return answers.get(path, page(f"<html><title>\n Page  {path[1:]} &amp; more </title>"))


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    here = Site()
    server = await asyncio.start_server(here.accept, "127.0.0.1", 0)
    here.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield here
    finally:
        for task in here.open:
            task.cancel()
        await asyncio.gather(*here.open, return_exceptions=True)
        server.close()

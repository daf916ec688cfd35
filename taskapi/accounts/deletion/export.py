"""The export of an account: everything stored about it, as a ZIP of JSON Lines that is streamed while it is created."""

import io
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from bson import ObjectId

from taskapi.accounts.errors import ExportUnderWay
from taskapi.accounts.users.schemas import Account
from taskapi.audit.recorder import AuditLog
from taskapi.core.clock import utc_now
from taskapi.core.cooperative import CooperativeYield
from taskapi.web.admission import Work

PART_BYTES = 16 * 1024
ACCOUNT_EXPORTS = Work("exports of accounts", 1, 4, 1, ExportUnderWay)
README = """\
Everything stored about the account {username}, as JSON Lines: one JSON object per line, in UTF-8.

account.jsonl    the account, without its password
tasks.jsonl      the tasks, in the format of POST /tasks/import
trash.jsonl      the tasks in the trash
history.jsonl    the history of both, newest first for each task
sessions.jsonl   the sign-ins that have not ended
tokens.jsonl     the API tokens, without their secrets
webhooks.jsonl   the webhooks, without their secrets
webhook_deliveries.jsonl  what was sent to them in the last 30 days
events.jsonl     what was done to the account

Each file shows the data at the time when its export started. Data read more than five minutes later may be from a later
time. No entry appears twice, and none is missing that existed all the time.
"""

AccountExporter = Callable[[Account], AsyncGenerator[str, None]]  # yields the lines of one file


class AccountExporters(dict[str, AccountExporter]):
    """The exporters of an account's data, by file name; and the accounts that are being exported."""

    def __init__(self, files: Mapping[str, AccountExporter]) -> None:
        super().__init__(files)
        self.running: set[ObjectId] = set()


class _Pipe(io.RawIOBase):
    """Buffers what is written until ``take``. It cannot seek, so the ZIP stores each size after the data."""

    def __init__(self) -> None:
        self._written = bytearray()

    def __len__(self) -> int:
        return len(self._written)

    def writable(self) -> bool:
        """Always true: ``ZipFile`` asks."""
        return True

    def write(self, data: Any) -> int:
        """Appends ``data`` to the buffer."""
        self._written += data
        return len(data)

    def take(self) -> bytes:
        """Returns the buffer, and empties it."""
        taken = bytes(self._written)
        self._written.clear()
        return taken


async def parts(user: Account, files: AccountExporters, audit_log: AuditLog | None) -> AsyncGenerator[bytes, None]:
    """The export in small parts; close the generator if you stop early. The event is recorded before the first part is sent.

    Raises:
        ExportUnderWay: this worker is already exporting the account.
    """
    with _alone(user.object_id, files.running):
        async with aclosing(_pack(user, files)) as packed:
            first = await anext(packed)
            if audit_log:
                await audit_log.record("account_exported", user.object_id)
            yield first
            async for part in packed:
                yield part


@contextmanager
def _alone(user_id: ObjectId, running: set[ObjectId]) -> Iterator[None]:
    if user_id in running:
        raise ExportUnderWay
    running.add(user_id)
    try:
        yield
    finally:
        running.remove(user_id)


async def _pack(user: Account, files: AccountExporters) -> AsyncGenerator[bytes, None]:
    pipe, turns, now = _Pipe(), CooperativeYield(), utc_now().timetuple()[:6]
    with ZipFile(pipe, "w", ZIP_DEFLATED) as archive:
        archive.writestr(ZipInfo("README.txt", now), README.format(username=user.username))
        for name, exported in files.items():
            entry = ZipInfo(name, now)
            entry.compress_type = ZIP_DEFLATED
            # The length is not known in advance, and may exceed 4 GiB.
            with archive.open(entry, "w", force_zip64=True) as file:
                async with aclosing(exported(user)) as lines:
                    async for line in lines:
                        file.write(f"{line}\n".encode())
                        if len(pipe) >= PART_BYTES:
                            yield pipe.take()
                        await turns.checkpoint()
    yield pipe.take()

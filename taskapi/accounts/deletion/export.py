"""All that the service keeps of an account, as a ZIP of JSON Lines that is made while it is sent."""

import io
from collections.abc import AsyncGenerator, Callable, Iterator
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
All that is kept of the account {username}, as JSON Lines: one JSON object a line, in UTF-8.

account.jsonl    the account, without its password
tasks.jsonl      the tasks, as POST /tasks/import takes them
trash.jsonl      the tasks in the trash
history.jsonl    the writes of both, the newest of each task first
sessions.jsonl   the sign-ins that have not ended
tokens.jsonl     the API tokens, without their secrets
events.jsonl     what was done to the account

Each file is as of the moment at which it was begun. What was read later than five minutes after that may be as of a later
moment: nothing is in it twice, and nothing is missing that was there all the time.
"""

AccountExporter = Callable[[Account], AsyncGenerator[str, None]]  # what one file holds of an account, line by line


class AccountExporters(dict[str, AccountExporter]):
    """What an account's export holds, by the names of its files."""


_running: set[ObjectId] = set()


class _Pipe(io.RawIOBase):
    """What is written, until it is taken. It cannot seek, so the ZIP says each size after the data."""

    def __init__(self) -> None:
        self._written = bytearray()

    def __len__(self) -> int:
        return len(self._written)

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any) -> int:
        """Keeps ``data``."""
        self._written += data
        return len(data)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self._written)
        self._written.clear()
        return taken


async def parts(user: Account, files: AccountExporters, audit_log: AuditLog | None) -> AsyncGenerator[bytes, None]:
    """The export in small parts; close it when you leave early. The event is recorded before the first leaves.

    Raises:
        ExportUnderWay: this worker is at another export of ``user``.
    """
    with _alone(user.object_id):
        async with aclosing(_packed(user, files)) as packed:
            first = await anext(packed)
            if audit_log:
                await audit_log.record("account_exported", user.object_id)
            yield first
            async for part in packed:
                yield part


@contextmanager
def _alone(user: ObjectId) -> Iterator[None]:
    if user in _running:
        raise ExportUnderWay
    _running.add(user)
    try:
        yield
    finally:
        _running.remove(user)


async def _packed(user: Account, files: AccountExporters) -> AsyncGenerator[bytes, None]:
    pipe, turns, now = _Pipe(), CooperativeYield(), utc_now().timetuple()[:6]
    with ZipFile(pipe, "w", ZIP_DEFLATED) as archive:
        archive.writestr(ZipInfo("README.txt", now), README.format(username=user.username))
        for name, exported in files.items():
            entry = ZipInfo(name, now)
            entry.compress_type = ZIP_DEFLATED
            # How long it will be is not known: more than 4 GiB must fit.
            with archive.open(entry, "w", force_zip64=True) as file:
                async with aclosing(exported(user)) as lines:
                    async for line in lines:
                        file.write(f"{line}\n".encode())
                        if len(pipe) >= PART_BYTES:
                            yield pipe.take()
                        await turns.checkpoint()
    yield pipe.take()

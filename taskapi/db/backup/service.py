"""``taskapi backup`` and ``taskapi restore``, on the configured MongoDB or the embedded one."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pymongo.database import Database
from pymongo.errors import PyMongoError

from taskapi import __version__
from taskapi.core import secret_file
from taskapi.core.clock import rfc3339, utc_now
from taskapi.core.errors import StartupError
from taskapi.core.keys import Keyring
from taskapi.core.settings import Settings
from taskapi.db import embedded
from taskapi.db.backup import dump, load
from taskapi.db.backup.dump import Progress
from taskapi.db.backup.format import BadFile, Header, Reader, Writer
from taskapi.db.blocking import connected, why
from taskapi.db.connection import BSON
from taskapi.db.service_state import SIGNING_KEY
from taskapi.db.transactions import is_standalone
from taskapi.db.validation import NO_RIGHT, REMEDY

READ_SECONDS = 60  # for one batch
WRITE_SECONDS = 3600  # for one batch, or the indexes of one collection
WITHOUT_KEY = "after a restore all sessions end and second factors cannot be checked"


@dataclass(frozen=True, slots=True)
class Report:
    """Where messages go, a line at a time, and the progress."""

    say: Callable[[str], None]
    progress: Progress


def back_up(settings: Settings, sink: BinaryIO, report: Report, *, with_keys: bool) -> list[str]:
    """Writes the whole database to ``sink``, with the secrets if ``with_keys``. Returns the lines to print once it is stored.

    Raises:
        StartupError: the backup failed or would be inconsistent; one line that says why.
    """
    embedded.require_data(settings)
    with embedded.provide(settings, join=True) as complete, connected(complete, READ_SECONDS) as source:
        if load.is_half_restored(source):
            raise StartupError(f"the database {source.name} is only partly restored")
        with nullcontext() if settings.mongodb_uri else dump.long_history(source.client, settings.data_dir):
            contents = dump.describe(source)
            if not contents:
                raise StartupError(f"the database {source.name} is empty")
            if is_standalone(source.client):
                report.say(
                    "MongoDB is a standalone server without snapshots: changes made during the backup may be in it only in part"
                )
            header = _header(complete, source, report, with_keys=with_keys)
            writer = Writer(sink, header)
            dump.dump(source, contents, writer, report.progress)
    amount = _amount(writer.documents, writer.collections, writer.bytes)
    return [f"{amount} as of {rfc3339(header['made_at'])}", _about_keys(settings, complete, with_keys=with_keys)]


def _about_keys(given: Settings, complete: Settings, *, with_keys: bool) -> str:
    if with_keys:
        return "The backup contains the secret key: keep it safe, since anyone who has it can sign in as any user"
    places = ["TASKAPI_SECRET_KEY"] if given.secrets else []
    if len(complete.secrets) > len(given.secrets):
        places.append(str(secret_file.path_in(given.data_dir.absolute())))
    kept = " and ".join(places) or "that key"
    return f"The backup does not contain the secret key (--with-keys): keep {kept} as well, or {WITHOUT_KEY}"


def _header(settings: Settings, source: "Database[BSON]", report: Report, *, with_keys: bool) -> dict[str, Any]:
    known = Keyring(settings.secrets).fingerprints()
    signing = (source[load.STATE].find_one({"_id": SIGNING_KEY}) or {}).get("fingerprint")
    fingerprints = list(dict.fromkeys((signing, *known) if signing else known))
    if len(fingerprints) > len(known) or not known:
        reason = f"the API signs with a secret key that is not set here; its fingerprint is {signing or 'not known'}"
        if with_keys:
            raise StartupError(reason)
        report.say(reason[0].upper() + reason[1:])
    return {
        "made_at": utc_now(),
        "taskapi": __version__,
        "mongodb": source.client.server_info()["version"],
        "database": source.name,
        "snapshot": not is_standalone(source.client),
        "fingerprints": fingerprints,
        **({"secrets": list(settings.secrets)} if with_keys else {}),
    }


def restore(settings: Settings, file: BinaryIO, report: Report, *, drop: bool) -> None:
    """Fills the database from ``file``, which is read twice: it is verified first.

    Raises:
        BadFile: the file cannot be used; nothing was written.
        StartupError: the restore failed; one line that says why, and how to start over if something was written.
    """
    verified = Reader(file)
    verified.verify()
    file.seek(0)
    header = verified.header
    report.say(f"Backup of {header['database']} by taskapi {header['taskapi']} at {rfc3339(header['made_at'])}, verified")
    folder, kept = settings.data_dir.absolute(), list(header.get("secrets", ()))
    if kept and embedded.is_new(settings):
        embedded.make_folder(folder)
        _keep(settings, folder, kept, report)  # before the server creates a secret of its own
    with embedded.provide(settings, join=True) as complete, connected(complete, WRITE_SECONDS) as target:
        if not drop:
            load.require_empty(target)
        if kept and not settings.mongodb_uri:
            complete = _keep(complete, folder, kept, report)
        _compare_keys(complete, header, report)
        load.mark(target)
        try:
            if drop:
                load.drop(target)
            unchecked = load.load(target, Reader(file), report.progress)
        except (StartupError, PyMongoError, OSError, KeyboardInterrupt) as error:
            half = f"The database {target.name} is only partly restored; {load.begin_again(target.name)}"
            raise StartupError(f"{why(error)}. {half}") from None
        report.say(f"{_amount(verified.documents, verified.collections, verified.bytes)} restored into {target.name}")
        if unchecked:
            report.say(f"{NO_RIGHT} ({', '.join(unchecked)}); {REMEDY}")
        report.say("If the API is running, restart it")


def _keep(settings: Settings, folder: Path, secrets: list[str], report: Report) -> Settings:
    missing = [secret for secret in secrets if secret not in settings.secrets]
    if missing and secret_file.add(folder, missing):
        report.say(f"The secret key of the backup is now in {secret_file.path_in(folder)}")
    return secret_file.complete(settings, folder)


def _compare_keys(settings: Settings, header: Header, report: Report) -> None:
    signing = next(iter(header["fingerprints"]), None)
    if signing in (None, *Keyring(settings.secrets).fingerprints()):
        return
    where = "--keys-to writes it to a file" if "secrets" in header else "it is not in the backup"
    report.say(
        f"The backup was created with another secret key (fingerprint {signing}): add that key after the current one in "
        f"TASKAPI_SECRET_KEYS ({where}), or {WITHOUT_KEY}"
    )


def secrets_in(file: BinaryIO) -> list[str]:
    """The secrets in a backup, the signing one first; the backup is verified. Raises BadFile when it contains none."""
    verified = Reader(file)
    verified.verify()
    if "secrets" not in verified.header:
        raise BadFile("contains no secret key: it was created without --with-keys")
    return list(verified.header["secrets"])


def _amount(documents: int, collections: int, size: int) -> str:
    return f"{documents:,} documents of {collections} collections, {size / 1024**2:,.1f} MiB,"

"""The ``taskapi`` command."""

import argparse
import errno
import gc
import importlib
import io
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from types import FrameType
from typing import NoReturn

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from taskapi import __version__
from taskapi.cli import analytics as cli_analytics
from taskapi.cli import backup as cli_backup
from taskapi.cli import extract as cli_extract
from taskapi.cli import migrate as cli_migrate
from taskapi.cli import report as cli_report
from taskapi.cli import server
from taskapi.cli import users as cli_users
from taskapi.cli.arguments import whole_number
from taskapi.cli.supervisor import Supervisor
from taskapi.core import env_file, logs
from taskapi.core.errors import StartupError
from taskapi.core.settings import PREFIX, Settings, load_settings
from taskapi.core.startup_warnings import find_warnings
from taskapi.db import embedded, uris

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
READER_GONE = 128 + signal.SIGPIPE  # the status of a command that this signal ends
RUN: dict[str, Callable[[argparse.Namespace], None]] = {  # all commands but serve
    "users": cli_users.run,
    **dict.fromkeys(cli_backup.COMMANDS, cli_backup.run),
    "migrate": cli_migrate.run,
    "extract": cli_extract.run,
    "report": cli_report.run,
    "analytics": cli_analytics.run,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command. Exits with 0 after a clean stop, 2 for wrong arguments, 141 if nobody reads its output any more,
    or another status and a line that says why.

    ``serve`` exits with 1 if a stop cut requests off, and with 3 if the application or a worker did not start or the port cannot
    be used.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # None if it was closed before
        sys.stdout.reconfigure(errors="replace")  # a terminal may lack letters of names
    parser = argparse.ArgumentParser(prog="taskapi", description="A task-management REST API on MongoDB.")
    parser.add_argument("--version", action="version", version=f"taskapi {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the API, and a MongoDB when TASKAPI_MONGODB_URI is not set")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    serve.add_argument("--port", type=whole_number("port", 65_535), default=8000, help="port to listen on (default %(default)s)")
    workers = whole_number("number of workers", 256)
    serve.add_argument("--workers", type=workers, default=1, help="number of worker processes (default %(default)s)")
    serve.add_argument("--reload", action="store_true", help="restart when the code changes")
    cli_users.add_to(commands)
    cli_backup.add_to(commands)
    cli_migrate.add_to(commands)
    cli_extract.add_to(commands)
    cli_report.add_to(commands)
    cli_analytics.add_to(commands)
    options = parser.parse_args(arguments)
    try:
        for warning in find_warnings(load_settings()):
            with suppress(OSError):  # a full disk
                print(f"taskapi: warning: {warning}", file=sys.stderr)
        if run := RUN.get(options.command):
            _let_signals_interrupt()
            try:
                run(options)
            finally:
                if sys.stdout:
                    sys.stdout.flush()
            return
        if options.reload and options.workers > 1:
            parser.error("--reload requires --workers 1")
        _serve(options.host, options.port, options.workers, options.reload)
    except StartupError as error:
        sys.exit(f"taskapi: {error}")
    except KeyboardInterrupt:
        sys.exit("taskapi: interrupted")
    except BrokenPipeError:  # whoever reads the output, such as head, has seen enough
        _drop_output()
        sys.exit(READER_GONE)
    except OSError as error:
        if error.filename or error.errno not in DISK_FULL:
            raise
        _drop_output()
        sys.exit(f"taskapi: standard output cannot be written: {error.strerror}")


def _let_signals_interrupt() -> None:
    """Lets what ends a command, the loss of its terminal too, end it as Ctrl-C does, so that it leaves everything in order."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # of nohup
            signal.signal(number, _interrupt)


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGHUP):  # a terminal that is closed may send it twice; MongoDB is to stop in order
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _drop_output() -> None:
    """Sends standard output nowhere, also what Python flushes at its exit."""
    if sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _serve(host: str, port: int, workers: int, reload: bool) -> None:
    env_file.hand_down(PREFIX)
    settings = load_settings()
    uris.require_valid(settings)
    _require_port(host, port)
    logs.configure(settings.log_level, settings.log_format)
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    signal.signal(signal.SIGHUP, _ignore_hangup)
    with ExitStack() as held:
        prepare = _import_app if workers == 1 and not reload else lambda: None
        complete = held.enter_context(embedded.provide(settings, prepare))
        _announce(complete, host, port, embedded_server=settings.mongodb_uri is None)
        _hand_down(settings, complete)
        options = server.options(settings, host, port)

        def cut(status: int) -> NoReturn:
            _ignore_signals()
            held.close()  # MongoDB still stops cleanly
            os._exit(status)

        status = 0
        if reload:
            with suppress(KeyboardInterrupt):
                uvicorn.run(**options, reload=True)
        elif workers > 1:
            status = Supervisor(uvicorn.Config(**options), workers).run()
        else:
            server.Server(uvicorn.Config(**options), cut).run()
        _ignore_signals()
    sys.exit(status)


def _require_port(host: str, port: int) -> None:
    """Exits with status 3 if the port cannot be listened on, before MongoDB is started."""
    unusable: list[OSError] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            try:
                with socket.socket(family, kind, protocol) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    if family == socket.AF_INET6:
                        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    probe.bind(address)
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                unusable.append(error)  # such as ::1 without IPv6; another address of the name may work
        if len(unusable) == len(found):
            raise unusable[0]
    except (OSError, UnicodeError) as error:
        is_taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        advice = "stop the process that uses it, or choose another port with --port" if is_taken else "see --host and --port"
        reason = (getattr(error, "strerror", None) or "not a valid host name").lower()
        print(f"taskapi: cannot listen on port {port} of {host}: {reason}; {advice}", file=sys.stderr)
        sys.exit(STARTUP_FAILURE)


def _stop(_: int, __: FrameType | None) -> NoReturn:
    _ignore_signals()
    raise SystemExit(0)


def _ignore_signals() -> None:
    """Ignores further stop signals, so that MongoDB can stop cleanly."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _ignore_hangup(_: int, __: FrameType | None) -> None:
    log.warning("SIGHUP is ignored: a reload needs at least two workers; restart the service instead")


def _import_app() -> None:
    """Imports the application early, while MongoDB starts: imports take most of the startup time."""
    gc.disable()  # it would scan all modules repeatedly, and find hardly any garbage
    importlib.import_module("taskapi.main")
    gc.freeze()
    gc.enable()


def _hand_down(settings: Settings, complete: Settings) -> None:
    """Passes the database and the secrets to the workers: the configured secrets and those in the data folder."""
    assert complete.mongodb_uri
    os.environ[f"{PREFIX}MONGODB_URI"] = complete.mongodb_uri.get_secret_value()
    if settings.secret_keys:
        # Version 1.4, which a reload may load after a way back, reads no JSON.
        is_plain = not any("," in secret or secret.startswith("[") for secret in settings.secrets)
        os.environ[f"{PREFIX}SECRET_KEYS"] = ",".join(settings.secrets) if is_plain else json.dumps(settings.secrets)
    else:
        os.environ[f"{PREFIX}SECRET_KEY"] = complete.secrets[0]


def _announce(settings: Settings, host: str, port: int, *, embedded_server: bool) -> None:
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    assert settings.mongodb_uri
    lines = [f"API       {address}"]
    if settings.docs:
        lines += [f"Docs      {address}/docs", f"Live      {address}/live"]
    if embedded_server:
        folder = settings.data_dir.absolute()
        uri = settings.mongodb_uri.get_secret_value()
        shown = uris.mask_secrets(uri)
        more = "" if shown == uri else f"\n          (with its password in {folder / 'mongodb_uri'})"
        lines += [f"MongoDB   {shown}{more}", f"Data      {folder}"]
    try:
        print("\n".join(lines), flush=True)
    except OSError:  # a full disk, or a reader that is gone; the service runs without them
        _drop_output()

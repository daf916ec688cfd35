"""Starting and stopping the real thing: signals, workers, a second server, what it says when it cannot start."""

import os
import signal
import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pymongo.uri_parser import parse_uri

from taskapi.cli import serve as cli
from tests.server.process import UVICORN, Server, run_to_end, serving, wait_until
from tests.tools import PATIENCE_SECONDS, free_port

pytestmark = pytest.mark.real


def test_it_says_where_everything_is(server: Server) -> None:
    for line in (
        f"API       {server.url}",
        f"Docs      {server.url}/docs",
        f"Live      {server.url}/live",
        f"Data      {server.folder}",
    ):
        assert line in server.output
    password = parse_uri(server.mongodb_uri)["password"]
    assert f"MongoDB   {server.mongodb_uri.replace(password, '***')}\n" in server.output
    assert os.getsid(server.mongod()) != os.getsid(server.process.pid)  # Ctrl-C is not for it


def test_restart_after_ctrl_c_keeps_data_and_tokens(folder: Path) -> None:
    with serving(folder) as server:
        headers = server.account()
        with server.client(headers=headers) as client:
            task = client.post("/tasks", json={"title": "Still here"}).json()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE_SECONDS) == 0
        assert server.members() == []
    assert "Traceback" not in server.output
    secret = folder / "secret_key"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(secret.read_text()) == 64
    with serving(folder, command=UVICORN) as server, server.client(headers=headers) as client:
        assert client.get("/tasks").json() == [task]


def test_a_stop_finishes_the_request_in_flight(folder: Path) -> None:
    asked, answer = threading.Event(), threading.Event()

    def slow_page(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            asked.set()
            answer.wait(PATIENCE_SECONDS)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<title>Slow</title>")

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        ThreadPoolExecutor(2) as threads,
        serving(folder, LINKS_ALLOW_PRIVATE="true", LINKS_TIMEOUT_SECONDS="30") as server,
        server.client(headers=server.account()) as client,
    ):
        page = threads.submit(slow_page, listener)
        link = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        task = client.post("/tasks", json={"title": "Slow link", "links": [link]}).json()
        pending = threads.submit(client.get, f"/tasks/{task['id']}/links")
        assert asked.wait(PATIENCE_SECONDS)
        server.process.terminate()
        wait_until(lambda: "Shutting down" in server.output, "the stop to begin")
        answer.set()
        found = pending.result(30)
        assert server.status() == 0  # nothing new is taken
        assert (found.status_code, found.json()[0]["title"]) == (200, "Slow")
        assert server.process.wait(PATIENCE_SECONDS) == 0
        page.result(30)


def test_two_workers_serve_64_callers_without_errors(folder: Path) -> None:
    with serving(folder, "--workers", "2") as server:
        headers = server.account()

        def call(number: int) -> tuple[int, int]:
            with server.client(headers=headers) as client:
                made = client.post("/tasks", json={"title": f"Task {number}"})
                return made.status_code, client.get(made.headers["location"]).status_code

        with ThreadPoolExecutor(64) as threads:
            assert set(threads.map(call, range(128))) == {(201, 200)}
        with server.client(headers=headers) as client:
            assert client.get("/tasks?limit=1").headers["x-total-count"] == "128"
        assert len(server.members("--dbpath")) == 1
        os.kill(server.process.pid, signal.SIGKILL)  # the workers and the database must not outlive it
        server.process.wait()
        wait_until(lambda: server.members() == [], "the workers and mongod to end")


@pytest.mark.parametrize("command", [None, UVICORN], ids=["serve", "uvicorn"])
def test_second_server_on_one_folder_is_refused(server: Server, command: list[str] | None) -> None:
    status, said = run_to_end(server.folder, command=command)
    assert status != 0
    assert f"{server.folder} is in use by another taskapi server (process {server.process.pid})" in said
    assert "Traceback" not in said
    assert server.status() == 200


@pytest.mark.parametrize(
    ("command", "workers"), [(None, 1), (None, 2), (UVICORN, 1)], ids=["serve", "serve with two workers", "uvicorn"]
)
def test_an_unreachable_database_is_one_clear_line(folder: Path, command: list[str] | None, workers: int) -> None:
    port = free_port()
    status, said = run_to_end(
        folder,
        "--workers",
        str(workers),
        command=command,
        MONGODB_URI=f"mongodb://me:hunter2@127.0.0.1:{port}/?appname=x",
        MONGODB_SELECTION_TIMEOUT_MS="300",
        SECRET_KEY="0123456789abcdef0123456789abcdef",
    )
    assert status == 3  # so that what supervises the service starts it again
    line, *others = [line for line in said.splitlines() if "TASKAPI_MONGODB_URI" in line]
    assert len(others) < workers
    assert f"mongodb://me:***@127.0.0.1:{port}" in line
    assert "no usable server within 0.3 s" in line
    assert "hunter2" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"MONGODB_URI": "mongodb://127.0.0.1"}, "TASKAPI_SECRET_KEY must be set"),
        ({"LOG_LEVEL": "loud"}, "TASKAPI_LOG_LEVEL: "),
        ({"MONGOD": "/nowhere/mongod"}, "TASKAPI_MONGOD: /nowhere/mongod is not an executable program"),
        ({"MONGOD": "/tmp"}, "TASKAPI_MONGOD: /tmp is not an executable program"),
        ({"MONGODB_URI": "mongodb://me:pa/ss@h:1/", "SECRET_KEY": "0123456789abcdef" * 2}, "percent-encode"),
        ({"MONGOD": "/bin/false"}, "mongod did not start: it ended with code 1"),
        ({"DATA_DIR": "/dev/null/data"}, "TASKAPI_DATA_DIR: "),
    ],
)
def test_what_is_missing_is_said_in_one_line(folder: Path, settings: dict[str, str], says: str) -> None:
    is_said_in_one_line(says, *run_to_end(folder, command=None, **settings))


@pytest.mark.parametrize(
    ("settings", "says"),
    [  # one for each place where it is noticed: the settings, the embedded server, the client
        ({"LOG_LEVEL": "loud"}, "TASKAPI_LOG_LEVEL: "),
        ({"MONGOD": "/bin/false"}, "mongod did not start: it ended with code 1"),
        ({"MONGODB_URI": "mongodb://me:pa/ss@h:1/", "SECRET_KEY": "0123456789abcdef" * 2}, "percent-encode"),
    ],
)
def test_uvicorn_reports_missing_settings_in_one_line(folder: Path, settings: dict[str, str], says: str) -> None:
    is_said_in_one_line(says, *run_to_end(folder, command=UVICORN, **settings))


def is_said_in_one_line(says: str, status: int, said: str) -> None:
    assert status != 0
    assert len([line for line in said.splitlines() if says in line]) == 1
    assert "Traceback" not in said


@pytest.mark.parametrize("workers", ["1", "2"])
def test_port_in_use_is_reported_before_anything_starts(folder: Path, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = run_to_end(folder, "--port", str(port), "--workers", workers)
    assert status == 3
    reason = "address already in use; stop the process that uses it, or choose another port with --port"
    assert said.splitlines() == [f"taskapi: cannot listen on port {port} of 127.0.0.1: {reason}"]
    assert not (folder / "mongodb").exists()


@pytest.mark.parametrize(
    ("host", "reason"), [("192.0.2.1", "cannot assign requested address"), ("a" * 64, "not a valid host name")]
)
def test_foreign_host_is_reported_in_one_line(folder: Path, host: str, reason: str) -> None:
    status, said = run_to_end(folder, "--host", host)
    assert status == 3
    (line,) = said.splitlines()
    assert line.startswith("taskapi: ")
    assert reason in line


@pytest.mark.parametrize("workers", ["1", "2"])
def test_missing_certificate_file_is_named(folder: Path, workers: str) -> None:
    missing = folder.parent / "ca.pem"
    uri = f"mongodb://127.0.0.1:1/?tls=true&tlsCAFile={missing}"
    status, said = run_to_end(folder, "--workers", workers, MONGODB_URI=uri, SECRET_KEY="0123456789abcdef" * 2)
    assert (status, said) == (1, f"taskapi: TASKAPI_MONGODB_URI: {missing} cannot be used: No such file or directory\n")


@pytest.mark.parametrize("arguments", [["--port", "0"], ["--port", "http"], ["--workers", "0"], ["--workers", "2", "--reload"]])
def test_wrong_arguments_are_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve", *arguments])
    assert stop.value.code == 2
    assert "usage: taskapi" in capsys.readouterr().err

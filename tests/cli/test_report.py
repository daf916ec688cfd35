"""The command ``taskapi report``."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from taskapi.cli.serve import main
from tests.analytics.daily.refreshing import refreshed
from tests.client import Account
from tests.conftest import SECRET, URI_VARIABLE, make_settings
from tests.tools import free_port

pytestmark = pytest.mark.real

Run = Callable[..., tuple[object, str]]


@pytest.fixture
def run(anonymous: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in an empty folder. Returns its status and what it says."""
    monkeypatch.chdir(tmp_path)
    uri, database = os.environ[URI_VARIABLE], make_settings().mongodb_database
    for name in [name for name in os.environ if name.startswith("TASKAPI_TEST_")]:
        monkeypatch.delenv(name)  # it would be warned of
    monkeypatch.setenv("TASKAPI_MONGODB_URI", uri)
    monkeypatch.setenv("TASKAPI_MONGODB_DATABASE", database)
    monkeypatch.setenv("TASKAPI_SECRET_KEY", SECRET)
    monkeypatch.setenv("TASKAPI_MONGODB_SELECTION_TIMEOUT_MS", "1000")
    monkeypatch.setenv("COLUMNS", "60")

    def call(*arguments: str) -> tuple[object, str]:
        status: object = 0
        try:
            main(["report", *arguments])
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        return status, f"{said.out}{said.err}{status if isinstance(status, str) else ''}"

    return call


async def test_report_is_printed_or_saved(run: Run, ada: Account, tmp_path: Path) -> None:
    await ada.make_task("First", tags=["<b>"], due_date="2020-01-31")
    status, said = run("--owner", "ADA", "--tz", "Europe/Berlin")
    assert (status, said.splitlines()[0]) == (0, "Tasks of ada")
    assert "1 task is overdue, tagged “<b>”" in said
    assert "(Europe/Berlin)" in said

    page = tmp_path / "report.html"
    page.write_text("an earlier one")
    assert run("--to", "report.html", "--weeks", "1") == (0, "Saved report.html\n")
    assert "tagged “&lt;b&gt;”" in page.read_text()
    assert not [each for each in tmp_path.glob("*") if each != page]  # noqa: ASYNC240 - a test of its own


@pytest.fixture
async def counted(ada: Account) -> None:
    """The daily figures have one task."""
    await ada.make_task("First")
    await refreshed()


async def test_daily_report_is_of_the_last_refresh(counted: None, ada: Account, run: Run) -> None:
    await ada.make_task("Second")
    status, said = run("--daily")
    assert (status, "1 task in " in said, said.splitlines()[0]) == (0, True, "Tasks of all users"), said


async def test_terminal_may_lack_letters_of_names(run: Run, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    await ada.make_task(tags=["été"], due_date="2020-01-31")
    terminal = io.TextIOWrapper(file := io.BytesIO(), "ascii")
    monkeypatch.setattr("sys.stdout", terminal)
    assert run() == (0, "")
    assert b"1 task is overdue, tagged ??t??" in file.getvalue()


def test_report_without_standard_output_succeeds(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)  # as after >&-
    assert run() == (0, "")


def test_an_empty_database_has_a_report(run: Run) -> None:
    status, said = run()
    assert (status, "No task is open" in said) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--to", "report.pdf"), "does not end in .html"),
        (("--to", "no/such/folder/report.html"), "cannot be written"),
        (("--weeks", "0"), "not a number of weeks"),
        (("--weeks", "105"), "not a number of weeks"),
        (("--tz", "Europe/Nowhere"), "no time zone"),
        (("--tz", "../etc/passwd"), "no time zone"),
        (("--daily", "--owner", "ada"), "leave out --owner and --tz"),
        (("--daily", "--tz", "Europe/Berlin"), "leave out --owner and --tz"),
        (("--daily",), "there are no daily figures yet"),
        (("--owner", "\udcff"), "argument --owner: not UTF-8"),
        (("--owner", "nobody"), "no account with the user name 'nobody'"),
        (("--owner", ""), "no account with the user name ''"),
    ],
)
def test_wrong_arguments_are_explained(run: Run, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    status, said = run(*arguments)
    assert status != 0
    assert says in said.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("mongodb://me:hun/ter2@h", "must be escaped"),
        ("mongodb://me:hunter2@127.0.0.1:{closed}/", "TASKAPI_MONGODB_URI"),
    ],
)
def test_unusable_database_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch, uri: str, says: str) -> None:
    monkeypatch.setenv("TASKAPI_MONGODB_URI", uri.replace("{closed}", str(free_port())))
    status, said = run()
    assert status != 0
    assert says in said
    assert len(said.splitlines()) == 1
    assert "ter2" not in said


def test_database_without_views_names_the_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKAPI_MONGODB_DATABASE", "nothing_here")
    status, said = run()
    assert status != 0
    assert "taskapi migrate up" in said

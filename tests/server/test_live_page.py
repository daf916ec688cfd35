"""The page /live in a real browser: two windows, other clients, and a server that is killed."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from taskapi.core.clock import utc_now
from tests.browser import chromium
from tests.client import PASSWORD
from tests.server.live_page import LivePage, open_page
from tests.server.process import Server, serving
from tests.tools import free_port

pytestmark = pytest.mark.real

EDITED = "li form:not([hidden]) input"
REQUESTS = "return performance.getEntriesByType('resource').map((each) => new URL(each.name).pathname)"


@pytest.fixture(scope="module")
def chromium_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("browser") / "profile") as driver:
        yield driver


@pytest.fixture
def browser(chromium_process: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """A browser whose windows are closed afterwards: it has six connections to a server, and each page holds one."""
    first = chromium_process.current_window_handle
    yield chromium_process
    for window in chromium_process.window_handles:
        if window != first:
            chromium_process.switch_to.window(window)
            chromium_process.close()
    chromium_process.switch_to.window(first)


@pytest.fixture
def name() -> str:
    return f"live-{secrets.token_hex(6)}"


@pytest.fixture
def client(server: Server, name: str) -> Iterator[httpx.Client]:
    """Another client of the same account."""
    with server.client(headers=server.account(name)) as client:
        yield client


def make(client: httpx.Client, title: str, **fields: Any) -> str:
    """The path of a new task."""
    return f"/tasks/{client.post('/tasks', json={'title': title, **fields}).json()['id']}"


def test_changes_appear_in_the_other_window(browser: webdriver.Chrome, server: Server, name: str, client: httpx.Client) -> None:
    make(client, "There before")
    one, other = open_page(browser, server.url, name), open_page(browser, server.url, name)
    other.shows("There before")
    asked = other.run(REQUESTS)
    one.type("#new-title", "Added there" + Keys.ENTER)
    for page in (one, other):
        page.shows("Added there", "There before")
    one.press(one.part("There before", "tick"))
    for page in (one, other):
        page.shows("Added there")
        page.shows("There before", of="done")
    one.press(one.part("Added there", "edit"))
    one.type(EDITED, "Renamed there" + Keys.ENTER)
    for page in (one, other):
        page.shows("Renamed there")
    one.press(one.part("There before", "delete"))
    for page in (one, other):
        page.shows(of="done")
    one.press("#notice button")
    for page in (one, other):
        page.shows("There before", of="done")
    assert other.run(REQUESTS) == asked  # it was told
    assert one.complaints() == other.complaints() == []
    assert [(task["title"], task["status"]) for task in client.get("/tasks?sort=title").json()] == [
        ("Renamed there", "todo"),
        ("There before", "done"),
    ]


def test_others_are_heard_and_the_focus_stays(browser: webdriver.Chrome, server: Server, name: str, client: httpx.Client) -> None:
    paths = [make(client, f"Task {number}") for number in range(3)]
    page = open_page(browser, server.url, name)
    page.shows("Task 2", "Task 1", "Task 0")
    page.run("document.querySelector(arguments[0]).focus()", page.part("Task 1", "tick"))
    held = page.focused()
    make(client, "Above them")
    page.shows("Above them", "Task 2", "Task 1", "Task 0")
    page.wait(lambda: page.text("#news") == "Added: Above them", "the news to be told")
    client.delete(paths[2])
    page.shows("Above them", "Task 1", "Task 0")
    page.wait(lambda: page.text("#news") == "Deleted: Task 2", "the news to be told")
    assert page.focused() == held
    client.patch(paths[1], json={"status": "done"})
    page.shows("Task 1", of="done")
    page.wait(lambda: page.text("#news") == "Done: Task 1", "the news to be told")
    assert page.focused() == held  # it went with its task
    client.delete(paths[1])
    page.shows(of="done")
    assert page.focused().get_attribute("id") == "new-title"  # there is no neighbour
    for number in range(5):
        make(client, f"One of many {number}")
    page.wait(lambda: page.text("#news").endswith("changes") or "One of many 4" in page.text("#news"), "the news to be told")


def test_the_keyboard_does_everything(browser: webdriver.Chrome, server: Server, name: str, client: httpx.Client) -> None:
    make(client, "Below")
    page = open_page(browser, server.url, name)
    page.keys("Above" + Keys.ENTER)
    page.shows("Above", "Below")
    page.keys(Keys.TAB, Keys.TAB)  # beyond the button that adds
    assert page.focused().accessible_name == "Above"
    page.keys(Keys.ARROW_DOWN)
    assert page.focused().accessible_name == "Below"
    page.keys(Keys.ARROW_UP, Keys.SPACE)
    page.shows("Above", of="done")
    assert page.focused().accessible_name == "Above"
    page.keys(Keys.TAB)
    assert page.focused().accessible_name == "Rename Above"
    page.keys(Keys.ENTER, "Nothing" + Keys.ESCAPE)
    assert page.focused().accessible_name == "Rename Above"
    page.keys(Keys.ENTER)
    assert page.focused().accessible_name == "New title of Above"
    page.keys("Renamed" + Keys.ENTER)
    page.shows("Renamed", of="done")
    assert page.focused().accessible_name == "Rename Renamed"
    page.keys(Keys.TAB)
    assert page.focused().accessible_name == "Delete Renamed"
    page.keys(Keys.ENTER)
    page.shows(of="done")
    page.wait(lambda: page.text("#notice").startswith("Deleted: Renamed"), "the way back to be offered")
    assert page.focused().accessible_name == "New task"
    assert [task["title"] for task in client.get("/tasks").json()] == ["Below"]


def test_text_of_others_stays_text(browser: webdriver.Chrome, server: Server, name: str, client: httpx.Client) -> None:
    titles = ["<script>document.title = 'taken'</script>", "<img src=x onerror=\"document.title = 'taken'\">", "{{7*7}} ${7*7}"]
    make(client, titles[0])
    page = open_page(browser, server.url, name)
    make(client, titles[1])
    make(client, titles[2])
    page.shows(*reversed(titles))
    page.wait(lambda: titles[2] in page.text("#news"), "the news to be told")
    page.press(page.part("<script>", "delete"))
    page.wait(lambda: page.text("#notice span") == f"Deleted: {titles[0]}", "the title in the notice")
    assert page.run("return document.querySelectorAll('main script, main img').length") == 0
    assert page.run("return document.title") == "(2) Tasks, live"
    with pytest.raises(Exception, match="TrustedHTML"):
        page.run("document.querySelector('main').innerHTML = '<b>x</b>'")
    assert [each for each in page.complaints() if "TrustedHTML" not in each] == []


def test_older_tasks_come_when_there_is_room(browser: webdriver.Chrome, server: Server, name: str, client: httpx.Client) -> None:
    """The page shows 500 open tasks, and asks for more when it has lost half of them."""
    for priority, count in ((1, 200), (5, 400)):
        lines = "\n".join(f'{{"title": "Task {number}", "priority": {priority}}}' for number in range(count))
        assert (
            client.post("/tasks/import", content=lines, headers={"Content-Type": "application/jsonl"}).json()["created"] == count
        )
    page = open_page(browser, server.url, name)
    assert len(page.titles()) == 500
    assert not page.run("return document.querySelector('#older').hidden")
    assert client.patch("/tasks?priority=5&expect=400", json={"status": "done"}).status_code == 200
    page.wait(lambda: len(page.titles()) == 200, "the older tasks")
    page.wait(lambda: len(page.titles("done")) == 50, "the last ones done")
    page.is_live()
    assert page.run("return document.querySelector('#older').hidden")


def test_conflicting_changes_are_refused_and_explained(
    browser: webdriver.Chrome, server: Server, name: str, client: httpx.Client
) -> None:
    path = make(client, "As it was")
    page = open_page(browser, server.url, name)
    page.press(page.part("As it was", "edit"))
    page.type(EDITED, "Mine")
    client.patch(path, json={"title": "Theirs"})
    page.shows("Theirs")
    assert page.run("return document.activeElement.value") == "Mine"
    page.type(EDITED, "Mine" + Keys.ENTER)
    page.wait(lambda: "changed elsewhere" in page.text("#problem"), "the conflict to be explained")
    assert client.get(path).json()["title"] == "Theirs"
    assert page.run("return document.activeElement.value") == "Mine"  # nothing that was written is lost
    page.type(EDITED, "Mine" + Keys.ENTER)
    page.wait(lambda: client.get(path).json()["title"] == "Mine", "the second attempt to be saved")
    page.wait(lambda: page.text("#problem") == "", "the message to go")
    page.shows("Mine")
    page.press(page.part("Mine", "edit"))
    page.type(EDITED, "Mine again")
    client.delete(path)
    page.shows()
    assert "Mine again" in page.text("#problem")
    page.type("#new-title", "x" + Keys.ENTER)
    assert page.titles() == []  # the browser itself says that this is too short


def test_a_killed_server_is_caught_up_with(browser: webdriver.Chrome, folder: Path, name: str) -> None:
    """It is under a root path here."""
    port = free_port()
    with serving(folder, port=port, ROOT_PATH="/api") as server:
        headers = server.account(name)
        with server.client(headers=headers) as client:
            kept, gone = make(client, "Kept"), make(client, "Gone")
        page = open_page(browser, f"{server.url}/api", name)
        page.shows("Gone", "Kept")
        server.kill_everything()
        page.wait(lambda: page.text("#state") == "Reconnecting…", "the page to notice")
        assert page.titles() == ["Gone", "Kept"]
        page.type("#new-title", "Lost" + Keys.ENTER)
        page.wait(lambda: "cannot be reached" in page.text("#problem"), "the page to say that it was not added")
        assert page.run("return document.querySelector('#new-title').value") == "Lost"
    with serving(folder, port=port, ROOT_PATH="/api") as server, server.client(headers=headers) as client:
        make(client, "Made meanwhile")
        client.delete(gone)
        client.patch(kept, json={"status": "done"})
        page.is_live()
        page.shows("Made meanwhile")
        page.shows("Kept", of="done")
        page.press("#add button")
        page.shows("Lost", "Made meanwhile")
        assert page.text("#problem") == ""


def test_page_says_that_the_session_has_ended(browser: webdriver.Chrome, server: Server, name: str, client: httpx.Client) -> None:
    make(client, "Nobody else may see this")
    page = open_page(browser, server.url, name)
    assert client.post("/logout/all").status_code == 204
    page.wait(lambda: page.text("#problem").startswith("Your session has ended."), "the end of the session")
    assert "Nobody else may see this" not in page.run("return document.documentElement.outerHTML")
    assert not page.run("return document.querySelector('#sign-in').hidden")
    page.sign_in(name)
    page.is_live()
    page.shows("Nobody else may see this")
    with server.client(headers=server.sign_in(name)) as again:
        before = len(again.get("/users/me/sessions").json())
        page.press("#sign-out")
        page.wait(lambda: len(again.get("/users/me/sessions").json()) == before - 1, "the session to end")
    assert "Nobody else may see this" not in page.run("return document.documentElement.outerHTML")
    assert page.run("return [localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


def test_sign_in_with_a_second_factor(browser: webdriver.Chrome, server: Server, name: str, client: httpx.Client) -> None:
    secret = client.post("/users/me/two-factor", json={"password": PASSWORD}).json()["secret"]
    codes = pyotp.TOTP(secret)
    recovery = client.post("/users/me/two-factor/confirm", json={"code": codes.at(utc_now())}).json()["recovery_codes"]
    browser.switch_to.new_window("window")
    page = LivePage(browser, server.url)
    page.sign_in(name, "not the password")
    page.wait(lambda: page.text("#problem span") == "Incorrect username or password", "the refusal")
    page.sign_in(name)
    page.wait(lambda: not page.run("return document.querySelector('#second-factor').hidden"), "the field for the code")
    page.type("[name=otp]", "000000" + Keys.ENTER)
    page.wait(lambda: "The code is wrong" in page.text("#problem"), "the refusal of the code")
    page.type("[name=otp]", recovery[0] + Keys.ENTER)
    page.is_live()
    assert page.text("#problem") == ""

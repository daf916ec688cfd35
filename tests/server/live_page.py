"""The page /live in a browser, as somebody uses it."""

from collections.abc import Callable
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.client import PASSWORD
from tests.server.process import wait_until


class LivePage:
    """One window with the page."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser, self.window = browser, browser.current_window_handle
        browser.get(f"{url}/live")

    def _one(self, selector: str) -> WebElement:
        self.browser.switch_to.window(self.window)
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script in the page returns."""
        self.browser.switch_to.window(self.window)
        return self.browser.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """The text of an element, also of one for screen readers alone."""
        return str(self._one(selector).get_property("textContent")).strip()

    def type(self, selector: str, text: str) -> None:
        """Replaces the text of a field."""
        field = self._one(selector)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)

    def press(self, selector: str) -> None:
        self._one(selector).click()

    def focused(self) -> WebElement:
        self.browser.switch_to.window(self.window)
        return self.browser.switch_to.active_element

    def keys(self, *keys: str) -> None:
        """Presses keys, wherever the focus is."""
        self.browser.switch_to.window(self.window)
        ActionChains(self.browser).send_keys(*keys).perform()

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Waits until the page shows something; it may change meanwhile."""

        def holds() -> bool:
            try:
                return condition()
            except (NoSuchElementException, StaleElementReferenceException):
                return False

        try:
            wait_until(holds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the page shows: {self.run('return document.body.innerText')}") from None

    def sign_in(self, username: str, password: str = PASSWORD) -> None:
        self.type("#sign-in [name=username]", username)
        self.type("#sign-in [name=password]", password + Keys.ENTER)

    def is_live(self) -> None:
        """Waits until the list is there and followed."""
        self.wait(lambda: self.text("#state") == "Live", "the page to be live")

    def titles(self, of: str = "open") -> list[str]:
        """The titles of one of the two lists, from above."""
        script = "return [...document.querySelectorAll(`#${arguments[0]} .title`)].map((each) => each.textContent)"
        return list(self.run(script, of))

    def shows(self, *titles: str, of: str = "open") -> None:
        """Waits until a list has exactly these titles."""
        self.wait(lambda: self.titles(of) == [*titles], f"{titles} in {of}")

    def part(self, title: str, name: str) -> str:
        """The selector of a part of a task's row."""
        script = "return [...document.querySelectorAll('li')].find((li) => li.innerText.includes(arguments[0]))?.id"
        found = self.run(script, title)
        assert found, f"{title} is not on the page: {self.text('body')}"
        return f"[id='{found}'] .{name}"

    def complaints(self) -> list[str]:
        """What the browser complains of, but for answers that the page handles."""
        self.browser.switch_to.window(self.window)
        entries: list[dict[str, str]] = self.browser.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if "Failed to load resource" not in entry["message"]]


def open_page(browser: webdriver.Chrome, url: str, username: str) -> LivePage:
    """The page in a new window, where ``username`` is signed in."""
    browser.switch_to.new_window("window")
    page = LivePage(browser, url)
    page.sign_in(username)
    page.is_live()
    return page

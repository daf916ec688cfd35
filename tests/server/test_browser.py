"""The interactive documentation in a real browser: sign in through it, make a task with it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import visibility_of_element_located
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser import chromium
from tests.client import PASSWORD
from tests.server.process import Server
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path / "profile") as driver:
        yield driver


def test_a_task_is_made_through_the_docs_page(browser: webdriver.Chrome, server: Server) -> None:
    headers = server.account("ada")

    def shown(xpath: str) -> WebElement:
        return WebDriverWait(browser, PATIENCE_SECONDS).until(visibility_of_element_located((By.XPATH, xpath)))

    def click(xpath: str) -> None:
        browser.execute_script("arguments[0].click()", shown(xpath))

    browser.get(f"{server.url}/docs")
    click("//button[contains(@class, 'authorize')]")
    shown("//input[@id='oauth_username']").send_keys("ada")
    shown("//input[@id='oauth_password']").send_keys(PASSWORD)
    form = "//input[@id='oauth_username']/ancestor::div[contains(@class, 'auth-container')][1]"
    click(f"{form}//button[contains(@class, 'authorize')]")
    shown("//div[contains(@class, 'auth-btn-wrapper')]//button[text()='Logout']")
    click("//div[contains(@class, 'auth-btn-wrapper')]//button[contains(@class, 'btn-done')]")
    click("//div[@id='operations-tasks-create_task']//button[contains(@class, 'opblock-summary-control')]")
    click("//div[@id='operations-tasks-create_task']//button[contains(@class, 'try-out__btn')]")
    click("//div[@id='operations-tasks-create_task']//button[contains(@class, 'execute')]")
    answer = "//table[contains(@class, 'live-responses-table')]//tbody//td[contains(@class, 'response-col_status')]"
    assert shown(answer).text.startswith("201")
    if "TASKAPI_TEST_SCREENSHOT" in os.environ:
        browser.save_screenshot(os.environ["TASKAPI_TEST_SCREENSHOT"])
    with server.client(headers=headers) as client:
        (task,) = client.get("/tasks").json()
    assert task["title"] == "Write the quarterly report"

    browser.get(f"{server.url}/redoc")
    WebDriverWait(browser, PATIENCE_SECONDS).until(lambda b: "Create a task." in b.page_source)
    entries: list[dict[str, str]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    complaints = [entry for entry in entries if entry["level"] == "SEVERE"]
    assert [entry for entry in complaints if "cdn.redoc.ly" not in entry["message"]] == []


def test_the_docs_page_resolves_every_operation(browser: webdriver.Chrome, server: Server) -> None:
    """Swagger UI resolves an operation when it is opened, and says in a red box what it cannot resolve."""
    browser.get(f"{server.url}/docs#/export%20and%20import/export_tasks")
    for name in ("export_tasks", "import_tasks", "change_in_bulk", "update_task"):
        opened = f"//div[starts-with(@id, 'operations-') and contains(@id, '-{name}')]"
        WebDriverWait(browser, PATIENCE_SECONDS).until(visibility_of_element_located((By.XPATH, opened)))
        if "is-open" not in (browser.find_element(By.XPATH, opened).get_attribute("class") or ""):
            browser.execute_script("arguments[0].click()", browser.find_element(By.XPATH, f"{opened}//button"))
        responses = f"{opened}//table[contains(@class, 'responses-table')]"
        WebDriverWait(browser, PATIENCE_SECONDS).until(visibility_of_element_located((By.XPATH, responses)))
    assert browser.find_elements(By.CLASS_NAME, "errors-wrapper") == []
    if "TASKAPI_TEST_SCREENSHOT" in os.environ:
        browser.set_window_size(1280, 8000)
        browser.save_screenshot(os.environ["TASKAPI_TEST_SCREENSHOT"])

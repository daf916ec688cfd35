"""The page of a report in a real browser."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from taskapi.analytics.report.page import make_page
from tests.analytics.report import sample
from tests.browser import chromium

pytestmark = pytest.mark.real

OUTSIDE = """
return [...document.querySelectorAll("body *")]
    .filter(each => !each.closest(".label") && each.getBoundingClientRect().right > innerWidth + 1)  // a label is cut
    .map(each => each.className + ": " + each.textContent);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium") / "profile") as driver:
        yield driver


@pytest.mark.parametrize("width", [360, 700, 1280])
def test_nothing_is_cut_off_at_any_width(browser: webdriver.Chrome, tmp_path: Path, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for name, report in sample.ALL.items():
        page = tmp_path / f"{name}.html"
        page.write_text(make_page(report))
        browser.get(page.as_uri())
        outside = browser.execute_script(OUTSIDE)
        assert (name, outside, browser.execute_script("return innerWidth")) == (name, [], width)


def test_hostile_page_runs_and_loads_nothing(browser: webdriver.Chrome, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(make_page(sample.STRANGE))
    browser.get_log("performance")  # type: ignore[no-untyped-call]
    browser.get(page.as_uri())
    assert browser.title.startswith("Tasks of </svg>")
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]  # type: ignore[no-untyped-call]
    asked = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
    assert set(asked) <= {page.as_uri()}

"""The page of a report: read as a browser and a screen reader do."""

from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from taskapi.analytics.report.charts import ticks
from taskapi.analytics.report.figures import Report
from taskapi.analytics.report.page import make_page
from tests.analytics.report import sample

VOID = {"meta", "img", "input", "br"}
LOADING = {"script", "img", "link", "iframe", "object", "embed", "form", "base", "a", "use", "image"}


class Reader(HTMLParser):
    """Collects what a page consists of. Each element must be closed where it should."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements, self.texts = list[tuple[str, dict[str, str | None]]](), list[tuple[str, str]]()
        self._open = list[str]()
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open[-1:] == [tag]:
            self._open.pop()
        else:
            assert tag == "polygon", tag

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.texts.append((self._open[-1], data))

    def all(self, tag: str) -> list[str]:
        return [text for each, text in self.texts if each == tag]


def figures(page: str) -> Iterator[Reader]:
    for part in page.split("<figure")[1:]:
        yield Reader(f"<figure{part.partition('</figure>')[0]}</figure>")


@pytest.mark.parametrize("name", sample.ALL)
def test_each_chart_has_a_title_and_table(name: str) -> None:
    page = make_page(sample.ALL[name])
    found = list(figures(page))
    assert len(found) == 6
    for figure in found:
        (title,) = figure.all("h2")
        assert len(title) > 10
        tables = [attributes for tag, attributes in figure.elements if tag == "table"]
        if "Nothing to show yet." not in figure.all("p"):
            assert [table["aria-label"] for table in tables] == [title]
            drawn = [attributes.get("aria-hidden") for _, attributes in figure.elements if "aria-hidden" in attributes]
            assert drawn == ["true"]
            assert figure.all("td")


def test_an_empty_database_says_so() -> None:
    texts = Reader(make_page(sample.EMPTY)).texts
    assert [text for _, text in texts].count("Nothing to show yet.") == 6
    titles = {text for tag, text in texts if tag == "h2"}
    assert {"No task is open", "No task was completed", "No task is overdue", "No field was changed"} < titles


def test_hostile_names_and_tags_stay_text() -> None:
    page = make_page(sample.STRANGE)
    reader = Reader(page)
    assert {tag for tag, _ in reader.elements}.isdisjoint(LOADING)
    assert not [name for _, attributes in reader.elements for name in attributes if name.startswith("on")]
    assert reader.all("h1") == [f"Tasks of {sample.HOSTILE}"]
    assert reader.all("bdi").count(sample.HOSTILE) == 4  # in two charts and their tables
    assert not [letter for letter in page if not (letter.isprintable() or letter == "\n")]


@pytest.mark.parametrize("name", sample.ALL)
def test_page_needs_nothing_else(name: str) -> None:
    page = make_page(sample.ALL[name])
    without = page.replace(escape(sample.HOSTILE), "")
    assert "default-src 'none'" in page
    assert {tag for tag, _ in Reader(page).elements}.isdisjoint(LOADING)
    assert not [word for word in ("http:", "https:", "url(", "@import", "src=") if word in without]


def test_unfinished_week_is_hatched_and_named() -> None:
    reader = Reader(make_page(sample.FULL))
    classes = [(attributes.get("class") or "").split() for _, attributes in reader.elements]
    columns = [each for each in classes if "column" in each and "took" not in each]
    hatched = [number for number, each in enumerate(columns) if "unfinished" in each]
    assert hatched == [22, 23]
    assert "so far" in reader.all("em")
    assert reader.all("bdi").count("23 Nov \N{EN DASH} 29 Nov 2026 (unfinished)") == 2


@pytest.mark.parametrize(("report", "title"), [
    (sample.EMPTY, "No task is open"),
    (sample.SINGLE, "Open work grew from 0 tasks to 1 in 12 weeks"),
    (sample.SINGLE, "This week so far: 1 created, 0 completed"),
    (sample.SINGLE, "1 task is overdue"),
    (sample.DONE, "The one completed task took 0 s"),
    (sample.FULL, "Open work grew from 1,500 tasks to 2,589 in 12 weeks"),
    (sample.FULL, "More tasks were created than completed in 11 full weeks: 7,150 to 6,050"),
    (sample.FULL, "Half of the completed tasks took at most 5.8 days, 85 % at most 13.6 days"),
    (sample.FULL, "1,500 tasks are overdue, 480 of them tagged “tag 0”"),
    (sample.FULL, "What changes most: status, then estimate minutes"),
])  # fmt: skip
def test_titles_say_what_is_seen(report: Report, title: str) -> None:
    assert title in Reader(make_page(report)).all("h2")


@pytest.mark.parametrize("highest", [0, 1, 2, 3, 7, 9, 10, 11, 59, 61, 99, 1146, 10_400, 123_456_789])
def test_axis_has_few_round_numbers(highest: int) -> None:
    axis = ticks(highest)
    assert axis[0] == 0
    assert axis[-1] >= highest > axis[-2] or highest == 0
    assert 2 <= len(axis) <= 7
    assert len({after - before for before, after in pairwise(axis)}) == 1

"""The report on a terminal."""

import pytest

from taskapi.analytics.report.terminal import columns, cut, make_text
from tests.analytics.report import sample


@pytest.mark.parametrize("width", [1, 40, 55, 80, 200])
@pytest.mark.parametrize("name", sample.ALL)
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    for line in make_text(sample.ALL[name], width).splitlines():
        assert columns(line) <= max(width, 40)
        assert line.isprintable()


def test_columns_of_tables_are_aligned() -> None:
    lines = make_text(sample.STRANGE, 60).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("  tag "))
    assert {columns(line) for line in lines[start : start + 7]} == {60}
    assert [line.split()[-1] for line in lines[start + 1 : start + 7]] == ["6", "5", "4", "3", "2", "1"]


@pytest.mark.parametrize(("text", "width", "shown"), [
    ("abc", 3, "abc"),
    ("abcd", 3, "ab…"),
    ("漢字", 4, "漢字"),
    ("漢字x", 4, "漢…"),
    ("漢字x", 5, "漢字x"),
    ("e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"),
])  # fmt: skip
def test_texts_are_cut_by_columns(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown
    assert columns(shown) <= width


def test_the_unfinished_week_is_named() -> None:
    assert make_text(sample.FULL, 80).count("23 Nov \N{EN DASH} 29 Nov 2026 (unfinished)") == 2

"""How a report says values."""

from dataclasses import replace

import pytest

from taskapi.analytics.report import tables, words
from tests.analytics.report import sample


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, words.DASH),
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3599, "60 min"),
        (5400, "1.5 h"),
        (172_799, "48.0 h"),
        (172_800, "2.0 days"),
        (86_400 * 1234, "1,234 days"),
    ],
)
def test_durations_have_the_unit_that_reads_best(seconds: float | None, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("took", "percentiles", "title", "tile"),
    [
        ({0: 1}, (0.0, 0.0), "The one completed task took less than 1.0 h", "< 1.0 h"),
        ({0: 9}, (0.0, 18_000.0), "Half of the completed tasks took less than 1.0 h, 85 % less than 6.0 h", "< 1.0 h"),
        ({5: 1}, (172_800.0, 172_800.0), "The one completed task took less than 2.1 days", "< 2.1 days"),
        ({10: 1}, (8_640_000.0, 8_640_000.0), "The one completed task took less than 101 days", "< 101 days"),
        ({}, (None, None), "No task was completed", words.DASH),
    ],
)
def test_daily_lead_times_are_rounded_down(
    took: dict[int, int], percentiles: tuple[float | None, float | None], title: str, tile: str
) -> None:
    daily = replace(sample.report(took=took, percentiles=percentiles), is_daily=True)
    assert words.lead_time_title(daily) == title
    assert dict(tables.tiles(daily))["median lead time"] == tile


@pytest.mark.parametrize(
    ("overdue", "tags", "title"),
    [
        (0, [], "No task was overdue at the last refresh"),
        (0, [("work", 5)], "No task was overdue at the last refresh; the tags are as of now"),
        (1, [("work", 5)], "1 task was overdue at the last refresh; the tags are as of now"),
        (2, [(None, 2)], "2 tasks were overdue at the last refresh; the tags are as of now"),
    ],
)
def test_daily_report_says_no_share_of_tags(overdue: int, tags: list[tuple[str | None, int]], title: str) -> None:
    assert words.overdue_title(replace(sample.report(overdue=overdue, tags=tags), is_daily=True)) == title

"""How a report says values."""

import pytest

from taskapi.analytics.report import words


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

"""The clock: one reading of date-times, in UTC and to the millisecond."""

from datetime import UTC, datetime

import pytest

from taskapi.core.clock import has_no_such_day, parse_rfc3339, rfc3339


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-01-31T09:15:00Z", datetime(2027, 1, 31, 9, 15, tzinfo=UTC)),
        ("2027-01-31t09:15:00z", datetime(2027, 1, 31, 9, 15, tzinfo=UTC)),
        ("2027-01-31 09:15:00Z", datetime(2027, 1, 31, 9, 15, tzinfo=UTC)),
        ("2027-01-31T09:15:00.123456789+02:00", datetime(2027, 1, 31, 7, 15, 0, 123_000, UTC)),
        ("2027-01-01T00:30:00.5+01:00", datetime(2026, 12, 31, 23, 30, 0, 500_000, UTC)),
    ],
)
def test_date_times_are_read_as_utc_milliseconds(text: str, moment: datetime) -> None:
    assert parse_rfc3339(text) == moment
    assert parse_rfc3339(text).tzinfo is UTC
    assert parse_rfc3339(rfc3339(moment)) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2027-01-31",
        "2027-01-31T09:15Z",
        "2027-01-31T09:15:00",
        "2027-02-30T09:15:00Z",
        "2027-01-31T24:00:01Z",
        "2027-01-31T09:15:00.1234567890Z",
        "20270131T091500Z",
        "2027-01-31T09:15:00Z ",
        "٢٠٢٧-01-31T09:15:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        parse_rfc3339(text)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("2027-02-30T09:15:00Z", True),
        ("2027-13-01 09:15:00.5+01:00", True),
        ("2027-02-28T09:15:00Z", False),
        ("2027-02-28T25:15:00Z", False),
        ("2027-02-30", False),
        ("2027-02-30T09:15:00", False),
        ("0001-01-01T00:00:00+23:59", False),
    ],
)
def test_missing_day_is_told_from_other_faults(text: str, missing: bool) -> None:
    assert has_no_such_day(text) == missing

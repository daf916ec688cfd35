"""Times: in UTC, timezone-aware, with the precision that MongoDB stores."""

import re
from contextlib import suppress
from datetime import UTC, date, datetime, time
from time import time_ns
from zoneinfo import ZoneInfo

_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


def utc_now() -> datetime:
    """The current time in UTC, truncated to milliseconds as in a BSON date."""
    return datetime.fromtimestamp(time_ns() // 1_000_000 / 1000, UTC)  # in a third of the time of now() and replace()


def in_milliseconds(moment: datetime) -> datetime:
    """``moment``, truncated to milliseconds."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def midnight(day: date) -> datetime:
    """Midnight UTC at the start of ``day``: how calendar dates are stored."""
    return datetime.combine(day, time.min, UTC)


def today(zone: str | None = None) -> datetime:
    """Today as a stored calendar date; ``zone`` is the IANA time zone that decides which day it is (default UTC)."""
    return midnight(day_of(utc_now(), zone))


def day_of(moment: datetime, zone: str | None = None) -> date:
    """The calendar date at ``moment`` in the IANA time zone ``zone`` (default UTC)."""
    return moment.astimezone(ZoneInfo(zone) if zone else UTC).date()


def in_utc(stored: datetime) -> datetime:
    """A time from MongoDB, which the driver returns without a zone, as an aware UTC time."""
    return stored.replace(tzinfo=UTC)


def rfc3339(moment: datetime) -> str:
    """A UTC time, aware or naive, as an RFC 3339 date-time with milliseconds and ``Z``."""
    return moment.isoformat("T", "milliseconds")[:23] + "Z"


def parse_rfc3339(text: str) -> datetime:
    """The time that an RFC 3339 date-time says, in UTC and cut to the millisecond. Raises ValueError for any other text."""
    with suppress(ValueError, OverflowError):
        if _RFC3339.fullmatch(text):
            return in_milliseconds(datetime.fromisoformat(text.upper()).astimezone(UTC))
    raise ValueError("not a date-time of RFC 3339")


def has_no_such_day(text: str) -> bool:
    """Whether ``text`` has the form of an RFC 3339 date-time, but with a day such as 30 February."""
    if not _RFC3339.fullmatch(text):
        return False
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return True
    return False

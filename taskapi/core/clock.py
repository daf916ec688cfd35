"""Times: in UTC, timezone-aware, with the precision that MongoDB stores."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo


def utc_now() -> datetime:
    """The current time in UTC, truncated to milliseconds as in a BSON date."""
    return in_milliseconds(datetime.now(UTC))


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

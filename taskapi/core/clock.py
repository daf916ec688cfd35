"""The one clock: UTC, aware, at the precision MongoDB stores."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo


def utc_now() -> datetime:
    """The current time in UTC, cut to the millisecond that a BSON date keeps."""
    return in_milliseconds(datetime.now(UTC))


def in_milliseconds(moment: datetime) -> datetime:
    """``moment``, cut to the millisecond."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def midnight(day: date) -> datetime:
    """The first instant of ``day`` in UTC: how a calendar date is stored."""
    return datetime.combine(day, time.min, UTC)


def today(zone: str | None = None) -> datetime:
    """Midnight UTC of the day that it is in a time zone (IANA), in UTC without one: as a due date of today is stored."""
    return midnight(day_of(utc_now(), zone))


def day_of(moment: datetime, zone: str | None = None) -> date:
    """The day that it is at ``moment`` in a time zone (IANA), in UTC without one."""
    return moment.astimezone(ZoneInfo(zone) if zone else UTC).date()


def in_utc(stored: datetime) -> datetime:
    """A time read from MongoDB, which comes without its zone, as the aware UTC time it is."""
    return stored.replace(tzinfo=UTC)


def rfc3339(moment: datetime) -> str:
    """``moment``, in UTC with or without its zone, as an RFC 3339 date-time with milliseconds and ``Z``."""
    return moment.isoformat("T", "milliseconds")[:23] + "Z"

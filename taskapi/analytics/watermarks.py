"""By how much two runs that read what has changed overlap: docs/changes.md has the rule."""

from datetime import timedelta
from typing import Final

from taskapi.core.settings import Settings

OVERLAP: Final = timedelta(minutes=5)


def overlap_of(settings: Settings) -> timedelta:
    """What to subtract from the time of a run for that of the next one: also the longest operation beyond its default."""
    return OVERLAP + timedelta(milliseconds=settings.mongodb_timeout_ms)

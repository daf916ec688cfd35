"""The pauses between attempts, by a clock that the test sets."""

from datetime import UTC, datetime, timedelta

import pytest

from taskapi.webhooks import backoff
from taskapi.webhooks.backoff import MAX_RETRY_AFTER, PATIENCE, PAUSES, next_attempt

NOW = datetime(2027, 1, 31, tzinfo=UTC)
LATER = NOW + PATIENCE


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "JITTER", 0)


@pytest.mark.usefixtures("steady")
def test_pauses_grow_over_three_days() -> None:
    now, given_up, pauses = NOW, NOW + PATIENCE, list[float]()
    while due := next_attempt(len(pauses) + 1, now, given_up):
        pauses.append((due - now).total_seconds())
        now = due
    assert pauses[:10] == [5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 43_200]
    assert set(pauses[10:]) == {43_200}
    assert timedelta(days=2) < now - NOW <= PATIENCE


def test_jitter_spreads_what_failed_together() -> None:
    pauses = {(due - NOW).total_seconds() for _ in range(200) if (due := next_attempt(6, NOW, LATER))}
    assert 3600 * 0.8 <= min(pauses) < 3600 * 0.9
    assert 3600 * 1.1 < max(pauses) <= 3600 * 1.2
    assert len(pauses) > 100


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize(
    ("asked", "waited"),
    [(0, 5), (3, 5), (60, 60), (3600, 3600), (10**9, MAX_RETRY_AFTER.total_seconds())],
    ids=str,
)
def test_retry_after_is_honoured_within_reason(asked: int, waited: float) -> None:
    due = next_attempt(1, NOW, LATER, timedelta(seconds=asked))
    assert due == NOW + timedelta(seconds=waited)


@pytest.mark.usefixtures("steady")
def test_no_attempt_after_the_patience_is_over() -> None:
    assert next_attempt(1, LATER - PAUSES[0], LATER) == LATER
    assert next_attempt(1, LATER - PAUSES[0] + timedelta(milliseconds=1), LATER) is None

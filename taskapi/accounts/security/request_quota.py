"""The request quota of an account: the generic cell rate algorithm (ITU-T I.371), with one number per account.

Each worker counts on its own, in memory, which keeps counting cheap.
"""

import time
from typing import NamedTuple

MINUTE = 60_000_000_000  # nanoseconds
SECOND = 1_000_000_000
MAX_ACCOUNTS = 100_000

Headers = tuple[tuple[bytes, bytes], ...]


class QuotaDecision(NamedTuple):
    """The headers for a request's answer, and after how many seconds to retry; 0 when the request is allowed."""

    headers: Headers
    retry_after: int


class RequestLimit:
    """Lets each account send ``per_minute`` requests per minute, even in one burst."""

    def __init__(self, per_minute: int) -> None:
        self._interval = MINUTE // per_minute
        self._window = self._interval * per_minute
        self._limit = (b"ratelimit-limit", b"%d" % per_minute)
        self._free_at: dict[str, int] = {}  # when the quota of an account without further requests is full again

    def take(self, account: str) -> QuotaDecision:
        """Counts a request of ``account``.

        The headers are those of draft-ietf-httpapi-ratelimit-headers-06; ``RateLimit-Reset`` is the number of seconds until
        the quota is full again.
        """
        now = time.monotonic_ns()
        ahead = max(self._free_at.get(account, 0) - now, 0)
        missing = ahead + self._interval - self._window
        if missing <= 0:
            ahead += self._interval
            if len(self._free_at) >= MAX_ACCOUNTS:
                self._drop_full(now)
            self._free_at[account] = now + ahead
        remaining = (self._window - ahead) // self._interval
        headers = (
            self._limit,
            (b"ratelimit-remaining", b"%d" % remaining),
            (b"ratelimit-reset", b"%d" % -(-ahead // SECOND)),
        )
        return QuotaDecision(headers, max(-(-missing // SECOND), 0))

    def _drop_full(self, now: int) -> None:
        """Drops the accounts whose quota is full."""
        self._free_at = {account: moment for account, moment in self._free_at.items() if moment > now}
        if len(self._free_at) > MAX_ACCOUNTS // 2:  # scanning them for each new account would cost too much
            self._free_at.clear()

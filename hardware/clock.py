"""One monotonic time base for every process and loop, and its double for lock-step runs and tests.

All times in the project are integers in nanoseconds on the clock of `time.monotonic_ns`.
"""

import time
from typing import Protocol

NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """The time as a loop sees it."""

    def now_ns(self) -> int:
        """Return the present time in nanoseconds."""
        ...

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """Return at the deadline, or at once if it has passed."""
        ...


class MonotonicClock:
    """The real clock. Sleeps to 200 microseconds before a deadline and spins the rest."""

    SPIN_NS = 200_000

    def now_ns(self) -> int:
        """Return `time.monotonic_ns()`."""
        return time.monotonic_ns()

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """Return at the deadline, or at once if it has passed."""
        while (left_ns := deadline_ns - time.monotonic_ns()) > 0:
            if left_ns > self.SPIN_NS:
                time.sleep((left_ns - self.SPIN_NS) / NS_PER_S)


class ManualClock:
    """A clock that moves only when told to: sleeping until a deadline sets it to that deadline."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """Return the time that was last set."""
        return self._now_ns

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """Advance to the deadline; never go back."""
        self._now_ns = max(self._now_ns, deadline_ns)

    def advance_s(self, seconds: float) -> None:
        """Advance by a duration in seconds."""
        self._now_ns += round(seconds * NS_PER_S)

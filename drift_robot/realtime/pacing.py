"""Keeping a loop's rate, and an honest account of how well it is kept."""

import math
from collections import deque

from drift_robot.status import Cadence
from hardware.clock import NS_PER_S, Clock

WINDOW_NS = 2 * NS_PER_S
REPORT_NS = NS_PER_S // 20
CAUTION = 2
FORGETTING = 0.8
"""How often the account is drawn up anew: at 500 Hz the window holds a thousand turns."""


class WorstCadence:
    """The worst of a loop's account of itself over some time: its lowest rate and its greatest lateness."""

    def __init__(self) -> None:
        self._seen: list[Cadence] = []

    def see(self, cadence: Cadence) -> None:
        """Take in the account of now."""
        if cadence.measured_hz > 0:
            self._seen.append(cadence)

    def take(self) -> dict[str, float] | None:
        """Return the worst since the last call, in Hz and seconds, or None if nothing was seen."""
        seen, self._seen = self._seen, []
        if not seen:
            return None
        return {
            "target_hz": seen[-1].target_hz,
            "lowest_hz": min(cadence.measured_hz for cadence in seen),
            "worst_late_s": max(cadence.worst_late_s for cadence in seen),
        }


class Pace:
    """Absolute deadlines a period apart. Those that have passed are skipped, so that a late loop never races."""

    def __init__(self, period_s: float, clock: Clock) -> None:
        self._period_ns = round(period_s * NS_PER_S)
        self._clock = clock
        self._deadline_ns = clock.now_ns()
        self._kept: deque[tuple[int, int]] = deque()
        self._cadence = Cadence(NS_PER_S / self._period_ns)
        self._reported_ns = 0

    def wait(self) -> int:
        """Sleep until the next deadline; return the time."""
        due_ns = self._deadline_ns + self._period_ns
        behind = (self._clock.now_ns() - self._deadline_ns) // self._period_ns
        self._deadline_ns += max(1, behind) * self._period_ns
        self._clock.sleep_until_ns(self._deadline_ns)
        now_ns = self._clock.now_ns()
        self._kept.append((now_ns, now_ns - due_ns))
        while now_ns - self._kept[0][0] > WINDOW_NS:
            self._kept.popleft()
        return now_ns

    def left_ns(self) -> int:
        """Return the time that is left until the next deadline; negative once it has passed."""
        return self._deadline_ns + self._period_ns - self._clock.now_ns()

    def cadence(self) -> Cadence:
        """Return the rate wanted, that of the last two seconds, and their worst lateness."""
        if len(self._kept) > 1 and self._kept[-1][0] - self._reported_ns >= REPORT_NS:
            self._reported_ns = self._kept[-1][0]
            spanned_s = (self._reported_ns - self._kept[0][0]) / NS_PER_S
            worst_late_s = max(late for _, late in self._kept) / NS_PER_S
            self._cadence = Cadence(self._cadence.target_hz, (len(self._kept) - 1) / spanned_s, worst_late_s)
        return self._cadence


class SpareTime:
    """Whether time is left for work that may be left out: as much as it took at worst of late, and as much again.

    The worst fades with every answer, down to the best ever, so that one hiccup does not forbid the work for good.
    """

    def __init__(self) -> None:
        self._worst_ns, self._best_ns = 0.0, math.inf

    def suffices(self, left_ns: int) -> bool:
        """Tell whether the work may begin."""
        enough = left_ns > CAUTION * self._worst_ns
        if self._worst_ns > self._best_ns:
            self._worst_ns = max(FORGETTING * self._worst_ns, self._best_ns)
        return enough

    def took(self, spent_ns: int) -> None:
        """Learn how long it took."""
        self._worst_ns = max(self._worst_ns, spent_ns)
        self._best_ns = min(self._best_ns, spent_ns)

"""Whether a camera's frames are worth anything: repeats, frames out of order, frames that stop, and when to restart.

Pure: frame numbers, stamps and the time come in as arguments. The drivers act on what is decided here.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from hardware.clock import NS_PER_S

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Verdict(Enum):
    """What became of a frame."""

    GOOD = "good"
    REPEATED = "repeated"
    OUT_OF_ORDER = "out of order"
    UNPROVEN = "the first after a restart"


@dataclass(frozen=True)
class FrameCounts:
    """Frames since the camera was opened. `dropped` are numbers missing between two good frames."""

    good: int = 0
    dropped: int = 0
    repeated: int = 0
    out_of_order: int = 0
    restarts: int = 0


class FrameHealth:
    """Judges each frame by its number and its device stamp, and tells how long the last good one is ago."""

    def __init__(self, now_ns: int) -> None:
        self.counts = FrameCounts()
        self._alive_ns = now_ns
        self._last: tuple[int, int] | None = None
        self._unproven = False

    def judge(self, number: int, stamp_ns: int, now_ns: int) -> Verdict:
        """Count a frame; only a good one, newer than all before it, may be used.

        Whether the first after a restart is new only the next one tells, so it is not.
        """
        counts = self.counts
        if self._unproven:
            self._unproven, self._last = False, (number, stamp_ns)
            return Verdict.UNPROVEN
        if self._last is None:
            missing = 0
        else:
            last_number, last_stamp_ns = self._last
            if number == last_number or stamp_ns == last_stamp_ns:
                self.counts = replace(counts, repeated=counts.repeated + 1)
                return Verdict.REPEATED
            if number < last_number or stamp_ns < last_stamp_ns:
                self.counts = replace(counts, out_of_order=counts.out_of_order + 1)
                return Verdict.OUT_OF_ORDER
            missing = number - last_number - 1
        self.counts = replace(counts, good=counts.good + 1, dropped=counts.dropped + missing)
        self._last = number, stamp_ns
        self._alive_ns = now_ns
        return Verdict.GOOD

    def silent_s(self, now_ns: int) -> float:
        """Return the time since the last good frame or, if that was later, the last (re)start."""
        return (now_ns - self._alive_ns) / NS_PER_S

    def restarted(self, now_ns: int) -> None:
        """Count a restart; the silence begins anew."""
        self.counts = replace(self.counts, restarts=self.counts.restarts + 1)
        self._alive_ns = now_ns

    def forget_order(self) -> None:
        """Let numbers and stamps begin anew."""
        self._last, self._unproven = None, True


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RecoveryConfig:
    """When frames count as stopped, and how often and how fast a camera is restarted.

    The wait doubles from `first_wait_s` to `longest_wait_s`. Frames for `settled_s` clear the count of restarts.
    """

    stalled_s: Positive = 1.0
    restarts: Annotated[int, Field(ge=0)] = 5
    first_wait_s: Positive = 0.25
    longest_wait_s: Positive = 4.0
    settled_s: Positive = 10.0


class Recovery:
    """Bounded back-off between restarts."""

    def __init__(self, config: RecoveryConfig) -> None:
        self._config = config
        self._tries = 0
        self._tried_ns = 0

    @property
    def exhausted(self) -> bool:
        """Whether every restart has been tried."""
        return self._tries >= self._config.restarts

    def due(self, now_ns: int) -> bool:
        """Return whether the wait after the last restart is over."""
        return self._tries == 0 or now_ns - self._tried_ns >= self._wait_s() * NS_PER_S

    def tried(self, now_ns: int) -> None:
        """Count a restart."""
        self._tries += 1
        self._tried_ns = now_ns

    def good_frame(self, now_ns: int) -> None:
        """Clear the count once frames have come for long enough."""
        if now_ns - self._tried_ns >= self._config.settled_s * NS_PER_S:
            self._tries = 0

    def _wait_s(self) -> float:
        return min(self._config.first_wait_s * 2.0 ** (self._tries - 1), self._config.longest_wait_s)

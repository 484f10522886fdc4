"""When a device process counts as dead: a state machine with time as an argument, which owns no process itself.

| phase | what is seen | order | next phase |
|---|---|---|---|
| STARTING | linked | - | LIVE |
| STARTING | no link for `start_timeout_s`, or exited | KILL | DOWN |
| LIVE | nothing new for `max_age_s`, or exited | KILL | DOWN |
| DOWN | `pause_s` over | SPAWN | STARTING |

The silence that counts is what was watched: time in which the watcher itself did not run counts for at most half of
`max_age_s` per look, so that a pause of the whole machine is not taken for a dead link.
"""

from dataclasses import dataclass
from enum import Enum

from hardware.clock import NS_PER_S


class Phase(Enum):
    """Where the device process is."""

    STARTING = "starting"
    LIVE = "live"
    DOWN = "down"


class Order(Enum):
    """What is to be done with the device process now."""

    NONE = "none"
    KILL = "kill"
    SPAWN = "spawn"


@dataclass(frozen=True)
class Sight:
    """What a look showed: a record not seen before, a link to the device, the process gone."""

    fresh: bool
    linked: bool
    exited: bool


class Supervision:
    """Judges one device process. It starts in STARTING: the caller has just spawned it."""

    def __init__(self, *, start_timeout_s: float, max_age_s: float, pause_s: float, now_ns: int) -> None:
        self._start_timeout_ns = round(start_timeout_s * NS_PER_S)
        self._max_age_ns = round(max_age_s * NS_PER_S)
        self._pause_ns = round(pause_s * NS_PER_S)
        self.phase = Phase.STARTING
        self._since_ns = self._looked_ns = now_ns
        self._silent_ns = 0

    @property
    def silence_s(self) -> float:
        """How long nothing new has come while the process was watched."""
        return self._silent_ns / NS_PER_S

    def look(self, sight: Sight, now_ns: int) -> Order:
        """Judge what is seen now; return what to do. The caller does it at once."""
        passed_ns, self._looked_ns = now_ns - self._looked_ns, now_ns
        if self.phase is Phase.DOWN:
            if now_ns - self._since_ns < self._pause_ns:
                return Order.NONE
            return self._enter(Phase.STARTING, Order.SPAWN, now_ns)
        if sight.exited:
            return self._enter(Phase.DOWN, Order.KILL, now_ns)
        if self.phase is Phase.STARTING:
            if sight.linked:
                return self._enter(Phase.LIVE, Order.NONE, now_ns)
            if now_ns - self._since_ns > self._start_timeout_ns:
                return self._enter(Phase.DOWN, Order.KILL, now_ns)
            return Order.NONE
        if sight.fresh:
            self._silent_ns = 0
        else:
            self._silent_ns += min(passed_ns, self._max_age_ns // 2)
        if self._silent_ns > self._max_age_ns:
            return self._enter(Phase.DOWN, Order.KILL, now_ns)
        return Order.NONE

    def _enter(self, phase: Phase, order: Order, now_ns: int) -> Order:
        self.phase, self._since_ns = phase, now_ns
        if phase is not Phase.DOWN:
            self._silent_ns = 0
        return order

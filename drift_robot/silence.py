"""How long a process has shown no sign of life, as its watcher sees it: pure, with time as an argument.

A process that works shows a beat, a number that changes; what it counts is the process's own affair.
"""

from hardware.clock import NS_PER_S

LOOK_NS = NS_PER_S


class Silence:
    """Counts for how long a beat has stayed the same, while somebody looks at it.

    Of the time between two looks at most one second counts: a watcher that was stopped itself (Ctrl-Z, a suspended
    machine) has heard nothing, and must not blame the watched.
    """

    def __init__(self) -> None:
        self._beat: int | None = None
        self._looked_ns = 0
        self._silent_ns = 0

    def after(self, beat: int, now_ns: int) -> float:
        """Take a look: return the seconds for which the beat has stayed the same."""
        if beat == self._beat:
            self._silent_ns += min(now_ns - self._looked_ns, LOOK_NS)
        else:
            self._beat, self._silent_ns = beat, 0
        self._looked_ns = now_ns
        return self._silent_ns / NS_PER_S

"""The scripted operator: presses what a person would press to run one episode after the other."""

from drift_robot.gate import EPISODE_PHASES, Phase
from hardware.clock import NS_PER_S
from hardware.interfaces import Verb

REPEAT_NS = NS_PER_S // 2


class ScriptedOperator:
    """Starts episodes until as many are done as planned, and says how they end; after a fault she goes on.

    Pure logic with time as an argument. She gives up an episode after `time_limit_s`. `prepared` tells whether the
    scene of the first one is put up without her asking.
    """

    def __init__(self, planned: int, time_limit_s: float, prepared: bool) -> None:
        self._planned = planned
        self._prepared = prepared
        self._limit_ns = round(time_limit_s * NS_PER_S)
        self._began_ns: int | None = None
        self._last: tuple[Verb, int] | None = None

    def decide(
        self, now_ns: int, phase: Phase, offered: tuple[Verb, ...], succeeded: bool, done: int
    ) -> tuple[Verb, ...]:
        """Return the verbs to press now; one that was not followed yet is pressed again after half a second."""
        verb = self._wish(now_ns, phase, offered, succeeded, done)
        if verb is None or verb not in offered:
            return ()
        if self._last is not None and self._last[0] is verb and now_ns - self._last[1] < REPEAT_NS:
            return ()
        self._last = (verb, now_ns)
        return (verb,)

    def _wish(self, now_ns: int, phase: Phase, offered: tuple[Verb, ...], succeeded: bool, done: int) -> Verb | None:
        if phase is Phase.RESETTING:
            self._prepared = True
        if phase is Phase.IDLE:
            self._began_ns = None
            if done >= self._planned:
                return None
            return Verb.RESUME if self._prepared else Verb.RESET
        if phase is Phase.FAULT:
            return Verb.RESUME if Verb.DISCARD in offered else Verb.RESET
        if phase not in EPISODE_PHASES:
            return None
        if self._began_ns is None:
            self._began_ns = now_ns
        if succeeded:
            return Verb.SUCCEED
        if now_ns - self._began_ns >= self._limit_ns:
            return Verb.FAIL
        return Verb.RESUME if phase is Phase.HOLD else None

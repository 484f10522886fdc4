"""The advisory alarm: it is raised when window after window of the learner is unusual, and advises, no more.

A pure state machine over the levels of the learner's chunks; what a level is stands in `policies/alarm.py`. Who acts on
it (light, sound, a call for help) is elsewhere.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic import dataclasses as pydantic

RAISED = "Alarm: what the policy does here is unusual to itself; watch it, and take over if it errs."
HELP = "The policy is unsure of what it does here and asks for help: take over, or resume to let it go on."


@pydantic.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AlarmConfig:
    """When the alarm is raised, and what it may do. The defaults: Diff-DAgger.

    `quantile` of the levels at training windows is a version's threshold. `windows` on end above it raise the alarm,
    and as many on end not above it clear it again. With `asks_for_help` the arm then holds in adapt, until the operator
    takes over or lets the learner go on. Without `enabled` no version gets a threshold, which takes a trainer as long
    as many batches do, and none is judged.
    """

    enabled: bool = True
    quantile: Annotated[float, Field(gt=0.5, lt=1)] = 0.99
    windows: Annotated[int, Field(ge=1, le=100)] = 2
    asks_for_help: bool = False


@dataclass(frozen=True)
class AlarmState:
    """What the alarm remembers: the last window's level, None before the first; how many on end contradict `raised`."""

    level: float | None = None
    raised: bool = False
    contrary: int = 0


def alarm_after(state: AlarmState, level: float, windows: int) -> AlarmState:
    """Return the state after a window's level, which is relative to the threshold; NaN counts as above it."""
    above = not level <= 1.0
    contrary = state.contrary + 1 if above != state.raised else 0
    if contrary < windows:
        return AlarmState(level, state.raised, contrary)
    return AlarmState(level, above)


def no_alarm(version: int) -> str:
    """Say that a version has no alarm, in one sentence."""
    return f"Version {version} was published without a threshold of its own, so its alarm is off."


def slow_alarm(seconds: float) -> str:
    """Say that there is no time for the alarm, in one sentence."""
    return f"Judging a window takes {1e3 * seconds:.0f} ms, too long beside the policy's period, so the alarm is off."

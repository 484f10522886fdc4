"""What a session tells the people who watch it: one frozen value for the operator window and the terminal.

It is plain data that travels between processes as JSON; nothing here knows how it is shown.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from data.schema import Owner
from drift_robot.errors import UserError
from drift_robot.gate import GateConfig, GateState, Phase, Refused, advance
from drift_robot.statistics import Rate, success_rate
from hardware.input_devices import DeviceKind
from hardware.interfaces import Verb

RECENT_EPISODES = 20
NOT_ONLY_FINITE = ConfigDict(ser_json_inf_nan="strings")  # a diverged loss must not silence the session
OWNERS = {Phase.LEARNER: Owner.LEARNER, Phase.TRANSITION: Owner.TRANSITION, Phase.EXPERT: Owner.EXPERT}


class TrainerState(Enum):
    """What the trainer is doing; ABSENT in sessions that do not train, AWAY if one elsewhere is not heard of."""

    ABSENT = "absent"
    IDLE = "idle"
    TRAINING = "training"
    CHECKING = "checking"
    DEAD = "dead"
    AWAY = "away"


@with_config(NOT_ONLY_FINITE)
@dataclass(frozen=True)
class TrainerStatus:
    """The trainer: `progress` 0 to 1 of its round, losses oldest first, and when a version may come.

    Where `next_version_s` is None, it takes so many more labels and episodes, if that is known.
    """

    state: TrainerState = TrainerState.ABSENT
    progress: float = 0.0
    losses: tuple[float, ...] = ()
    next_version_s: float | None = None
    labels_wanted: int = 0
    episodes_wanted: int = 0


@with_config(NOT_ONLY_FINITE)
@dataclass(frozen=True)
class Cadence:
    """How well a loop keeps its rate: wanted and measured frequency, and its worst lateness of late."""

    target_hz: float = 0.0
    measured_hz: float = 0.0
    worst_late_s: float = 0.0

    @property
    def is_kept(self) -> bool:
        """Whether the loop runs within 5 % of its rate."""
        return self.measured_hz >= 0.95 * self.target_hz


@dataclass(frozen=True)
class SessionStatus:
    """A session at `time_ns`.

    `swapped_ns`: when the acting version came in. `episode`: the number of the present or last episode, from 1;
    `episodes_planned`: None if open-ended. `recent`: whether the last episodes (at most 20, oldest first) succeeded.
    `alarm`: how unusual the learner's last window was, above 1 beyond its threshold, None where unknown; `alarmed`:
    the alarm is raised. `offered`: what the gate would follow now. `refusal`: why the last request was not followed,
    empty when outdated; `notice` and `limit`: what was said last, and which bound holds the arm, likewise. `heard_ns`:
    of when the arm process's last word is, 0 before its first; `moving`: the arm was measured to move then. `device`:
    the kind of input device in use. `dropped_corrections`: how many were too short. `blind`: two versions are compared,
    and which one acts is not told (`version` is -1). `start`: which start is to be put up, where it matters, and
    `start_again` the number of the episode that began so. `plan_done`: why no further episode is planned, or nothing;
    the session then ends in `ends_in_s`.
    """

    time_ns: int
    mode: Literal["collect", "adapt", "evaluate"]
    phase: Phase
    task: str = ""
    version: int = 0
    rank: int = 0
    swapped_ns: int | None = None
    episode: int = 0
    episode_s: float = 0.0
    episodes_done: int = 0
    episodes_planned: int | None = None
    recent: tuple[bool, ...] = ()
    expert_labels: int = 0
    trainer: TrainerStatus = TrainerStatus()
    control: Cadence = Cadence()
    arm: Cadence = Cadence()
    alarms: tuple[str, ...] = ()
    alarm: float | None = None
    alarmed: bool = False
    refusal: str = ""
    notice: str = ""
    limit: str = ""
    heard_ns: int = 0
    moving: bool = False
    device: DeviceKind = "script"
    dropped_corrections: int = 0
    offered: tuple[Verb, ...] = ()
    blind: bool = False
    start: str = ""
    start_again: int | None = None
    plan_done: str = ""
    ends_in_s: float | None = None

    @property
    def owner(self) -> Owner | None:
        """Who drives the arm, or None if it does not follow anybody."""
        return OWNERS.get(self.phase)

    @property
    def success(self) -> Rate:
        """The success rate of the last episodes with its 95 % Wilson interval."""
        recent = self.recent[-RECENT_EPISODES:]
        return success_rate(sum(recent), len(recent))


def offered_verbs(state: GateState, now_ns: int, config: GateConfig) -> tuple[Verb, ...]:
    """Return the verbs that the gate would follow in this state."""
    return tuple(
        verb
        for verb in Verb
        if not any(isinstance(effect, Refused) for effect in advance(state, verb, now_ns, config)[1])
    )


_ADAPTER = TypeAdapter(SessionStatus)


def status_to_json(status: SessionStatus) -> bytes:
    """Return the status as a JSON object."""
    return _ADAPTER.dump_json(status)


def status_from_json(content: bytes) -> SessionStatus:
    """Return the status of a JSON object. Raises UserError, one sentence, for anything else."""
    try:
        return _ADAPTER.validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise UserError(f"This is not a session's status: {key}: {first['msg']}.") from error

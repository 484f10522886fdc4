"""The control loop at the policy's rate: observe, say when a chunk is due, pass it on, let the gate decide, record.

It knows devices, arm and recorder only by their interfaces, and time only as an argument, so that the same code runs
in lock-step simulation and in the control process. Inference itself is the caller's (one or many cells at once).
"""

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data.schema import Owner, Step
from drift_robot.alarm import HELP, AlarmConfig, AlarmState, alarm_after
from drift_robot.arm_loop import ArmMessage, ArmSnapshot
from drift_robot.gate import EXPERT_PHASES, CorrectionDropped, Effect, EpisodeBegun, HelpWanted, Phase
from drift_robot.gating import Gating, GatingView
from drift_robot.observation import History, Reading, Sample, sample
from hardware.arms.controller import Chunk
from hardware.clock import NS_PER_S
from hardware.interfaces import Frame, Teleop
from hardware.poses import Array, action_vector, integrate_twist

DRIVING = (Phase.LEARNER, Phase.TRANSITION, Phase.EXPERT)
WATCHED = (Phase.LEARNER, Phase.HOLD)
"""Phases in which a raised alarm stays: an arm that holds for it shall not seem calm."""
NO_ACTION = np.full(10, np.nan)
NO_CHUNK = np.zeros((0, 10), np.float32)


class ArmPort(Protocol):
    """The arm loop, in this process or another."""

    def snapshot(self) -> ArmSnapshot:
        """Return the newest state of arm, command and gate."""
        ...

    def post(self, message: ArmMessage) -> None:
        """Hand over a message; never blocks."""
        ...


class Sensors(Protocol):
    """What is observed beside the arm itself."""

    def objects(self, arm: ArmSnapshot) -> NDArray[np.float32]:
        """Return the features of the tracked objects (8 per object,)."""
        ...

    def frames(self) -> dict[str, Frame]:
        """Return the newest picture of every camera, captured as near to each other as can be."""
        ...

    def measured(self, arm: ArmSnapshot, time_ns: int) -> Reading:
        """Return what arm and gripper measured at a time up to a snapshot's."""
        ...


class Expert(Protocol):
    """The expert's input device as the control loop sees it: a peek at what she is doing right now."""

    def peek(self) -> Teleop | None:
        """Return the expert's present intention, or None where it cannot be known (a person who does not drive)."""
        ...


class StepSink(Protocol):
    """Where finished steps go."""

    def step(self, step: Step) -> None:
        """Take one finished step; never blocks."""
        ...

    def alarm(self) -> None:
        """Take note that the alarm was raised in the step that is finished next; never blocks."""
        ...


@dataclass(frozen=True)
class Plan:
    """A predicted chunk: `actions` (horizon, 10), the first one for the step at `start_ns`."""

    start_ns: int
    actions: NDArray[np.float32]
    version: int
    rank: int


@dataclass(frozen=True)
class ControlConfig:
    """Rates and horizons, in steps of `period_ns`; when the alarm is raised.

    `min_correction_ns`: how long a correction is at least, 0 where none is too short.
    """

    period_ns: int
    obs_horizon: int
    action_horizon: int
    inference_steps: int
    alarm: AlarmConfig
    min_correction_ns: int


class ControlLoop:
    """One cell's control loop. Each policy period: `observe`, `decide`, and answer `due` with `deliver`."""

    def __init__(
        self, config: ControlConfig, arm: ArmPort, sensors: Sensors, gating: Gating, expert: Expert, sink: StepSink
    ) -> None:
        self._config = config
        self._arm = arm
        self._sensors = sensors
        self._gating = gating
        self._expert = expert
        self._sink = sink
        self.history = History(config.obs_horizon)
        self._plan: Plan | None = None
        self._open: _OpenStep | None = None
        self._events: list[Effect] = []
        self.alarm = AlarmState()
        self._undecided: list[Step] = []
        self._corrected_ns: int | None = None
        self._dropped = False

    def observe(self, now_ns: int) -> ArmSnapshot:
        """Observe, and record the step that has just ended. Returns the arm's state."""
        arm = self._look()
        if self._open is not None:
            self._undecided.append(self._finished(self._open, arm))
            self._open = None
        self._record(arm.phase)
        if any(isinstance(event, EpisodeBegun) for event in arm.events):
            self.history.clear()
            self._gating.reset()
            self._plan = None
        if arm.phase not in WATCHED:
            self.alarm = AlarmState()
        if arm.phase in DRIVING:
            frames = self._sensors.frames()
            seen_ns = min((frame.capture_ns for frame in frames.values()), default=arm.state.capture_ns)
            reading = self._sensors.measured(arm, seen_ns)
            self.history.append(sample(now_ns, arm, reading, self._sensors.objects(arm), frames))
            self._open = _OpenStep(self.history.newest, arm, self._expert.peek())
        return arm

    def decide(self) -> None:
        """Let the gate compare learner and expert and press its verbs, then look who drives."""
        if self._open is None:
            return
        began = self._open.sample
        for verb in self._gating.decide(
            GatingView(
                time_ns=began.time_ns,
                phase=began.arm.phase,
                commanded=began.commanded.astype(np.float64),
                learner_action=self._learner_action(),
                expert_action=self._open.expert_action(self._config.period_ns),
            )
        ):
            self._arm.post(verb)
        arm = self._look()
        self._open = replace(self._open, arm=arm)
        if self._plan is not None and arm.phase is Phase.LEARNER and self._plan.start_ns < arm.watermark_ns:
            self._plan = None
            self.alarm = AlarmState()

    def due(self) -> bool:
        """Whether a new chunk should be computed from the present history."""
        if self._open is None or self._open.arm.phase not in DRIVING:
            return False
        return self._plan is None or self._steps_into(self._plan) >= self._config.action_horizon

    def prefix(self) -> NDArray[np.float32] | None:
        """Return the actions (inference_steps, 10) that will be executed while a chunk is computed, or None."""
        committed = self.rest()[: self._config.inference_steps]
        return committed if len(committed) == self._config.inference_steps > 0 else None

    def rest(self) -> NDArray[np.float32]:
        """Return the actions (r, 10) that are left of the chunk that the learner executes, r = 0 if there is none."""
        if self._plan is None or self._open is None or self._open.arm.phase is not Phase.LEARNER:
            return NO_CHUNK
        return self._plan.actions[self._steps_into(self._plan) :]

    def deliver(self, actions: NDArray[np.float32], version: int, rank: int) -> None:
        """Take the chunk (horizon, 10) that was computed for the present history."""
        if self._open is None:
            return
        start_ns = self._open.sample.time_ns
        self._plan = Plan(start_ns, actions, version, rank)
        if self._open.arm.phase is Phase.LEARNER:
            times_ns = start_ns + self._config.period_ns * np.arange(1, len(actions) + 1)
            self._arm.post(Chunk(start_ns, times_ns, actions.astype(np.float64), version))

    def judge(self, start_ns: int, level: float) -> None:
        """Take the level of the window that ended at `start_ns`, if the learner still executes the chunk of that time.

        What the alarm makes of it is recorded, told to the sink and, if configured, to the gate.
        """
        goes_on = self._plan is not None and self._plan.start_ns == start_ns
        if self._open is None or not goes_on or self._open.arm.phase is not Phase.LEARNER:
            return
        if not self._config.alarm.enabled:
            return
        self._open = replace(self._open, level=level)
        before, self.alarm = self.alarm, alarm_after(self.alarm, level, self._config.alarm.windows)
        if self.alarm.raised and not before.raised:
            self._sink.alarm()
            if self._config.alarm.asks_for_help:
                self._arm.post(HelpWanted(HELP))

    def take_events(self) -> tuple[Effect, ...]:
        """Return what the gate has decided since the last call."""
        events, self._events = tuple(self._events), []
        return events

    def _look(self) -> ArmSnapshot:
        arm = self._arm.snapshot()
        self._events += arm.events
        self._dropped |= any(isinstance(event, CorrectionDropped) for event in arm.events)
        return arm

    def _record(self, phase: Phase) -> None:
        """Hand on finished steps: those of a correction only when it is long enough or over.

        One that was called too short is labelled as a transition throughout, from which nobody learns.
        """
        if self._dropped:
            self._undecided = [replace(s, owner=min(s.owner, Owner.TRANSITION)) for s in self._undecided]
            self._dropped = False
        if not self._undecided:
            return
        newest = self._undecided[-1]
        if phase not in EXPERT_PHASES or newest.owner is Owner.LEARNER:
            self._corrected_ns = None
        elif self._corrected_ns is None:
            self._corrected_ns = newest.time_ns
        if self._corrected_ns is None or newest.time_ns - self._corrected_ns >= self._config.min_correction_ns:
            for step in self._undecided:
                self._sink.step(step)
            self._undecided.clear()

    def _steps_into(self, plan: Plan) -> int:
        return round((self.history.newest.time_ns - plan.start_ns) / self._config.period_ns)

    def _learner_action(self) -> Array | None:
        if self._plan is None:
            return None
        index = self._steps_into(self._plan)
        return self._plan.actions[index].astype(np.float64) if index < len(self._plan.actions) else None

    def _finished(self, step: "_OpenStep", arm: ArmSnapshot) -> Step:
        """Return the record of a step, now that the command at its end is known."""
        began = step.sample
        learner = self._learner_action()
        expert = step.expert_action(self._config.period_ns)
        return Step(
            time_ns=began.time_ns,
            tcp=began.tcp,
            commanded=began.commanded,
            gripper=began.gripper,
            joints=began.state.joints,
            joint_velocities=began.state.joint_velocities,
            wrench=began.state.wrench,
            objects=began.objects,
            images={name: frame.image for name, frame in began.frames.items()},
            image_capture_ns={name: frame.capture_ns for name, frame in began.frames.items()},
            arm_capture_ns=began.state.capture_ns,
            receipt_ns=began.time_ns,
            command_ns=step.arm.time_ns,
            action_executed=action_vector(arm.commanded, arm.commanded_gripper),
            action_learner=NO_ACTION if learner is None else learner,
            action_expert=NO_ACTION if expert is None else expert,
            owner=step_owner(step.arm, arm, began.time_ns, self._config.period_ns),
            recovered=step.arm.recovered,
            version=self._plan.version if self._plan else -1,
            rank=self._plan.rank if self._plan else -1,
            alarm=step.level,
        )


def step_owner(at_start: ArmSnapshot, at_end: ArmSnapshot, start_ns: int, period_ns: int) -> Owner:
    """Return who owned a step: the expert only if she drove practically the whole of it.

    A change of hands within the first fifth of the step counts as having been there from its start. An episode that
    ends or pauses within the step leaves it to whoever had begun it.
    """
    if at_end.phase not in DRIVING:
        return at_start.owner
    if at_end.owner_since_ns - start_ns <= period_ns // 5:
        return at_end.owner
    return min(at_start.owner, at_end.owner, Owner.TRANSITION)


@dataclass(frozen=True)
class _OpenStep:
    """A step whose executed action is not known yet: what was observed, who drives, what the expert would do.

    `level` is of the window that was judged in this step, NaN if none was.
    """

    sample: Sample
    arm: ArmSnapshot
    teleop: Teleop | None
    level: float = math.nan

    def expert_action(self, period_ns: int) -> Array | None:
        """Return the pose that the expert's twist leads to within one step."""
        if self.teleop is None:
            return None
        target = integrate_twist(self.sample.arm.commanded, self.teleop.twist, period_ns / NS_PER_S)
        return action_vector(target, self.teleop.gripper)

"""Plays an episode's executed actions again, in the simulated cell or on the arm, and returns what was measured.

The way to the first pose is a session's return to the start, the way along the episode that of a learner's chunk: both
pass gate, controller and limits of `ArmLoop`, and any fault ends it. Asking, comparing and showing are `replay`'s.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from data.episode import Episode
from data.errors import DataError
from drift_robot.arm_loop import ArmLoop, ArmSnapshot
from drift_robot.config import Config
from drift_robot.errors import UserError
from drift_robot.gate import Notice, Phase, ResetDone
from drift_robot.realtime.arm_process import PRIORITY
from drift_robot.realtime.pacing import Pace
from drift_robot.realtime.scenes import RealScenes
from drift_robot.review.fidelity import Track
from hardware.arms import rotations
from hardware.arms.controller import ArmController, Chunk, Start
from hardware.arms.limits import ArmLimits, Limit, Workspace
from hardware.cell.stepped import open_cell
from hardware.clock import NS_PER_S, Clock, ManualClock, MonotonicClock
from hardware.devices import DevicesConfig, open_arm, open_gripper
from hardware.interfaces import Arm, Gripper, Verb
from hardware.poses import Array, Pose, pose_from_vector

LONGEST_PAUSE_S = 1.0
"""What is left of a pause of the recording, as while it was held."""
REST_S = 0.6
"""For how long the arm waits at the first pose, and at the last."""
STOP_S, PATIENCE_S = 1.0, 10.0
CUTTING = {Limit.WORKSPACE, Limit.TABLE}
"""What cuts waypoints (`cut_by_limits` counts them); the controller tells it in every period of a chunk with such."""


@dataclass(frozen=True)
class Motion:
    """What is to be played, in seconds from the first step.

    `first` is the commanded base_from_tcp at the first step; `actions` (n, 10) are to be reached at `times_s` (n,), the
    first of them is `first`. `begins_s` (steps,) says when the recorded steps begin, `measured` what was measured then:
    the arm log if there is one, else what was observed at the steps.
    """

    first: Pose
    times_s: Array
    actions: Array
    begins_s: Array
    measured: Track


@dataclass(frozen=True)
class Played:
    """What was measured, in the seconds of the recording: `track` is None if the first step did not begin.

    `limited` counts in how many of `periods` servo periods each limit acted, save those that cut waypoints; `stopped`
    says why it ended early. `succeeded`: whether the task's goal was met at the end, None where nobody can tell.
    """

    track: Track | None
    limited: dict[Limit, int]
    periods: int
    stopped: str | None = None
    interrupted: bool = False
    succeeded: bool | None = None


def motion_of(episode: Episode) -> Motion:
    """Return what an episode's executed actions say. Raises DataError if there are fewer than two to compare.

    The action of a step is reached when the next one begins. After a pause that is one period after the step began, and
    the arm then waits where it was commanded to be when the next step began.
    """
    if episode.steps < 2:
        raise DataError(f"{episode.path} has {episode.steps} steps; nothing moves in fewer than two.")
    time_ns, executed = episode.column("time.step"), episode.column("action.executed").astype(np.float64)
    commanded = episode.column("observation.commanded").astype(np.float64)
    opening = float(np.clip(episode.column("observation.gripper", 0, 1)[0, 0], 0.0, 1.0))
    spans = np.diff(time_ns) / NS_PER_S
    usual = float(np.median(spans))
    paused = spans > 1.5 * usual
    begins = np.concatenate([[0.0], np.cumsum(np.minimum(spans, max(LONGEST_PAUSE_S, 2.0 * usual)))])
    ends = np.append(np.where(paused, begins[:-1] + usual, begins[1:]), begins[-1] + usual)
    resumed = np.flatnonzero(paused) + 1
    held = np.column_stack([commanded[resumed], executed[resumed - 1, 9]])
    times_s = np.concatenate([[0.0], ends, begins[resumed]])
    actions = np.concatenate([[np.append(commanded[0], opening)], executed, held])
    order = np.argsort(times_s)
    return Motion(
        first=pose_from_vector(commanded[0]),
        times_s=times_s[order],
        actions=actions[order],
        begins_s=begins,
        measured=_measured(episode, time_ns, begins, ends),
    )


def _measured(episode: Episode, time_ns: NDArray[np.int64], begins: Array, ends: Array) -> Track:
    """Return what was measured during the steps, not in pauses between them nor before the first."""
    times, poses = ("arm.time", "arm.tcp") if episode.arm_samples else ("time.arm", "observation.tcp")
    seen_ns, measured = episode.column(times), episode.column(poses).astype(np.float64)
    step = np.maximum(np.searchsorted(time_ns, seen_ns, side="right") - 1, 0)
    seen_s = begins[step] + (seen_ns - time_ns[step]) / NS_PER_S
    during = (seen_s >= 0.0) & (seen_s <= ends[step])
    if not during.any():
        raise DataError(f"{episode.path} holds no measurement of the arm during its steps, to compare with.")
    return Track(seen_s[during], measured[during, :3], rotations.from_6d(measured[during, 3:]))


def cut_by_limits(motion: Motion, limits: ArmLimits, source: str) -> int:
    """Return how many waypoints the workspace box and the table cut. Raises UserError if they cut the first pose."""
    workspace = Workspace(limits)
    positions, matrices = motion.actions[:, :3], rotations.from_6d(motion.actions[:, 3:9])
    allowed, _ = workspace.clip(positions, matrices)
    cut = np.abs(allowed - positions).max(axis=1) > 1e-6
    if cut[0]:
        where = ", ".join(f"{value:.3f}" for value in positions[0])
        raise UserError(f"The episode begins at ({where}) m, which is outside the workspace of {source}.")
    return int(cut.sum())


def play_in_cell(config: Config, motion: Motion, seed: int, speed: float) -> Played:
    """Play in the simulated cell, in lock-step, before the scene of a seed."""
    clock = ManualClock(NS_PER_S)
    cell = open_cell(
        config.cell.task,
        physics_step_s=config.cell.physics_step_s,
        servo_period_s=config.cell.servo_period_s,
        clock=clock,
    )
    cell.reset(seed)
    loop = _arm_loop(config, motion, cell.arm, cell.gripper, clock)

    def pass_period() -> bool:
        clock.advance_s(cell.servo_period_s)
        cell.step()
        return True

    played = Player(loop, clock, pass_period).play(motion, speed, config.limits, lambda arm: None)
    return replace(played, succeeded=cell.succeeded())


def play_on_arm(config: Config, devices: DevicesConfig, motion: Motion, seed: int | None, speed: float) -> Played:
    """Play on the arm of a real or emulated cell, whose objects are put up where they are emulated; then let go of it.

    Call it from the main thread and with the operator's word: it moves at once. Ctrl-C and its kin stop the arm, which
    holds. Raises DeviceError if a device cannot be opened.
    """
    scenes = RealScenes(devices.emulator)
    if seed is not None:
        scenes.ask(0, seed)
    clock = MonotonicClock()
    with _order_to_stop() as ordered:
        arm = open_arm(devices)
        try:
            gripper = open_gripper(devices, arm)
            try:
                loop = _arm_loop(config, motion, arm, gripper, clock)
                pace = Pace(arm.servo_period_s, clock)

                def pass_period() -> bool:
                    pace.wait()
                    return not ordered()

                with _real_time():
                    return Player(loop, clock, pass_period).play(motion, speed, config.limits, scenes.stands)
            finally:
                arm.stop()
                gripper.close()
        finally:
            arm.close()


def _arm_loop(config: Config, motion: Motion, arm: Arm, gripper: Gripper, clock: Clock) -> ArmLoop:
    gate = replace(config.gate, mode="evaluate")
    controller = ArmController(config.limits, arm.servo_period_s)
    return ArmLoop(gate, controller, arm, gripper, clock, Start(motion.first))


class _StoppedError(Exception):
    """The replay ends before its end; the text says why."""


class _InterruptedError(_StoppedError):
    """The operator wants it to end."""


@dataclass
class Player:
    """Plays one motion on an arm loop that starts at its first pose.

    `pass_period` lets a servo period pass and returns False as the order to stop.
    """

    loop: ArmLoop
    clock: Clock
    pass_period: Callable[[], bool]
    _samples: list[tuple[int, Pose]] = field(default_factory=list)
    _limited: Counter[Limit] = field(default_factory=Counter)
    _periods: int = 0
    _reason: str = ""

    def play(
        self, motion: Motion, speed: float, limits: ArmLimits, at_first: Callable[[ArmSnapshot], object]
    ) -> Played:
        """Go to the first pose, call `at_first` there, play, and hold."""
        began_ns: int | None = None
        stopped, interrupted = None, False
        try:
            self._go_to_first(motion, limits)
            at_first(self.loop.snapshot())
            began_ns = self._begin(motion, speed, limits)
            playing_s = float(motion.times_s[-1]) / speed + REST_S
            end_ns = began_ns + round(playing_s * NS_PER_S)
            self._until(lambda arm: self._watch(arm) >= end_ns, "the episode was played", playing_s + PATIENCE_S)
        except _StoppedError as reason:
            stopped, interrupted = str(reason), isinstance(reason, _InterruptedError)
        finally:
            self._hold()
        return Played(self._track(began_ns, speed), dict(self._limited), self._periods, stopped, interrupted)

    def _go_to_first(self, motion: Motion, limits: ArmLimits) -> None:
        """Return to the start, as after a reset."""
        self.loop.post(Verb.RESET)
        here = self.loop.snapshot().state.base_from_tcp
        way_m = 2.0 * float(np.abs(motion.first.position - here.position).sum())
        turn_rad = float(np.linalg.norm(rotations.log(motion.first.rotation @ here.rotation.T)))
        speed_m_s = min(limits.slew_speed_m_s, limits.max_speed_m_s)
        speed_rad_s = min(limits.slew_rotation_speed_rad_s, limits.max_rotation_speed_rad_s)
        patience_s = PATIENCE_S + 2.0 * (way_m / speed_m_s + turn_rad / speed_rad_s)
        self._until(lambda arm: arm.at_start, "the arm was at the first pose", patience_s)

    def _begin(self, motion: Motion, speed: float, limits: ArmLimits) -> int:
        """Hand the whole episode over as a learner's chunk, with a rest at its end; return when its first step begins.

        The controller is slow for a while after a hand-back; the arm waits at the first pose meanwhile.
        """
        self.loop.post(ResetDone())
        self.loop.post(Verb.RESUME)
        self.loop.settle()
        now_ns = self.clock.now_ns()
        began_ns = now_ns + round((limits.slew_s + REST_S) * NS_PER_S)
        times_s = np.append(motion.times_s / speed, motion.times_s[-1] / speed + 2.0 * REST_S)
        times_ns = began_ns + np.round(times_s * NS_PER_S).astype(np.int64)
        self.loop.post(Chunk(now_ns, times_ns, np.concatenate([motion.actions, motion.actions[-1:]])))
        self.loop.tick()
        arm = self.loop.snapshot()
        if Limit.WAITING in arm.limited or arm.phase is not Phase.LEARNER:
            raise _StoppedError(arm.refusal or self._reason)
        return began_ns

    def _watch(self, arm: ArmSnapshot) -> int:
        """Note what is measured and which limits act; return the time."""
        if not self._samples or arm.state.capture_ns > self._samples[-1][0]:
            self._samples.append((arm.state.capture_ns, arm.state.base_from_tcp))
        self._limited.update(arm.limited - CUTTING)
        self._periods += 1
        return arm.time_ns

    def _until(self, done: Callable[[ArmSnapshot], bool], what: str, patience_s: float) -> None:
        """Drive until something holds. Raises _StoppedError for a fault, the order to stop, or if it takes too long."""
        deadline_ns = self.clock.now_ns() + round(patience_s * NS_PER_S)
        while not done(arm := self._tick()):
            if arm.phase is Phase.FAULT:
                raise _StoppedError(self._reason)
            if arm.time_ns > deadline_ns:
                raise _StoppedError(f"It took too long until {what}. {self._reason}".strip())
            if not self.pass_period():
                raise _InterruptedError("Stopped: the arm holds.")
        self.pass_period()

    def _tick(self) -> ArmSnapshot:
        self.loop.tick()
        arm = self.loop.snapshot()
        for event in arm.events:
            if isinstance(event, Notice):
                self._reason = event.sentence
        return arm

    def _hold(self) -> None:
        """Brake within the limits, and stand."""
        self.loop.post(Verb.HOLD)
        end_ns = self.clock.now_ns() + round(STOP_S * NS_PER_S)
        while self._tick().time_ns < end_ns:
            self.pass_period()

    def _track(self, began_ns: int | None, speed: float) -> Track | None:
        """Return what was measured in the seconds of the recording, None if the first step did not begin."""
        if began_ns is None or len(self._samples) < 2 or self._samples[-1][0] < began_ns:
            return None
        times_ns = np.array([time_ns for time_ns, _ in self._samples])
        return Track(
            times_s=(times_ns - began_ns) / NS_PER_S * speed,
            positions=np.stack([pose.position for _, pose in self._samples]),
            matrices=np.stack([pose.rotation for _, pose in self._samples]),
        )


@contextmanager
def _real_time() -> Iterator[None]:
    """Be scheduled as the arm process is, where that is allowed."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextmanager
def _order_to_stop() -> Iterator[Callable[[], bool]]:
    """Take Ctrl-C and its kin as the order to stop, which is looked for once a servo period."""
    numbers: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: numbers.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield lambda: bool(numbers)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

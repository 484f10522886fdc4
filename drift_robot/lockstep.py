"""Simulated cells in lock-step: control loop, arm loop and physics of a cell on a clock that moves when told to.

The same control code as on a real cell, as fast as the machine allows and reproducible from a seed. A scripted expert
stands in for the operator: she starts an episode, drives where the gate lets her, and says how it ended.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data.schema import EpisodeLayout, Outcome, Owner, Step
from drift_robot.actor import Actor
from drift_robot.arm_loop import ArmLoop, ArmMessage, ArmSnapshot
from drift_robot.calibrate.enforcement import enforced_limits
from drift_robot.config import Config
from drift_robot.control import ControlConfig, ControlLoop
from drift_robot.gate import EpisodeEnded, HelpWanted, Phase, ResetDone, Saved
from drift_robot.gating import Gating, NoGating, SimulatedExpertGating
from drift_robot.observation import OBJECT_DIM, Reading, object_features
from hardware.arms.controller import ArmController
from hardware.arms.limits import ArmLimits
from hardware.cell.stepped import open_cell
from hardware.cell.tasks import LOCKSTEP_TASKS
from hardware.clock import NS_PER_S, ManualClock
from hardware.errors import DeviceError
from hardware.interfaces import Frame, Teleop, Verb
from hardware.poses import Array
from policies.policy import PolicyConfig


def policy_config(config: Config) -> PolicyConfig:
    """Return the policy's configuration with what follows from the cell: tracked objects and cameras."""
    cell = config.cell
    objects = len(LOCKSTEP_TASKS[cell.task].objects) if cell.track_objects else 0
    return replace(
        config.policy,
        object_dim=OBJECT_DIM * objects,
        cameras={name: (picture.height, picture.width) for name, picture in cell.cameras.items()},
    )


def control_config(config: Config, mode: Literal["collect", "adapt", "evaluate"]) -> ControlConfig:
    """Return the control loop's configuration; in adapt only help is asked for, in collect no correction too short."""
    policy = policy_config(config)
    return ControlConfig(
        period_ns=round(config.policy_period_s * NS_PER_S),
        obs_horizon=policy.obs_horizon,
        action_horizon=policy.action_horizon,
        inference_steps=config.inference_steps,
        alarm=replace(config.alarm, asks_for_help=config.alarm.asks_for_help and mode == "adapt"),
        min_correction_ns=0 if mode == "collect" else round(config.gate.min_correction_s * NS_PER_S),
    )


def episode_layout(config: Config) -> EpisodeLayout:
    """Return what an episode of this configuration holds."""
    policy = policy_config(config)
    return EpisodeLayout(policy.object_dim, policy.cameras)


def _limits(config: Config) -> ArmLimits:
    """Return the limits of a cell whose expert speaks once a policy period, and so is not silent between."""
    limits = enforced_limits(config)
    return replace(limits, device_timeout_s=max(limits.device_timeout_s, 2.0 * config.policy_period_s))


@dataclass
class EpisodeLog:
    """An episode as it runs in memory: its steps, how it ended, and the physics of each step for drawing it later.

    `alarms` are the numbers of the steps in which the alarm was raised.
    """

    seed: int
    steps: list[Step] = field(default_factory=list)
    states: list[Array] = field(default_factory=list)
    alarms: list[int] = field(default_factory=list)
    outcome: Outcome = Outcome.UNKNOWN

    @property
    def expert_labels(self) -> int:
        """The number of steps that the expert drove."""
        return sum(step.owner is Owner.EXPERT for step in self.steps)

    @property
    def intervened(self) -> bool:
        """Whether the expert took over at any time."""
        return any(step.owner is not Owner.LEARNER for step in self.steps)


class LockstepCell:
    """One simulated cell, with everything that drives it, stepped a policy period at a time."""

    def __init__(
        self,
        config: Config,
        mode: Literal["collect", "adapt", "evaluate"],
        on_step: Callable[[Step], None] | None = None,
    ) -> None:
        cell = config.cell
        self._config = config
        self._clock = ManualClock(NS_PER_S)
        self._cell = open_cell(
            cell.task,
            physics_step_s=cell.physics_step_s,
            servo_period_s=cell.servo_period_s,
            clock=self._clock,
            perception_offset_m=cell.perception_offset_m(mode),
        )
        self._arm = ArmLoop(
            replace(config.gate, mode=mode),
            ArmController(_limits(config), cell.servo_period_s),
            self._cell.arm,
            self._cell.gripper,
            self._clock,
        )
        gating: Gating = NoGating()
        if mode == "adapt" and config.gating != "none":
            gating = SimulatedExpertGating(config.simulated_expert.of_task(cell.task))
        self._ticks = round(config.policy_period_s / cell.servo_period_s)
        self._on_step = on_step
        self._log = EpisodeLog(0)
        self._began_ns = 0
        self.control = ControlLoop(control_config(config, mode), self, self, gating, self, self)

    def start(self, seed: int) -> None:
        """Put the scene of a seed before the arm and start an episode. Raises DeviceError if a fault forbids it."""
        self._log = EpisodeLog(seed)
        if Verb.RESET not in self._arm.offered():
            self._cell.reset(seed)
            self._arm.tick()  # clears a fault that the last scene had caused
        self._settle(Verb.RESET)
        self._cell.reset(seed)
        self._settle(ResetDone())
        if Verb.RESUME not in self._arm.offered():
            raise DeviceError(f"The simulated cell cannot start an episode. {self._arm.snapshot().refusal}")
        self._settle(Verb.RESUME)
        self._began_ns = self._clock.now_ns()

    def observe(self) -> EpisodeLog | None:
        """Begin a policy period; returns the episode if it has just ended."""
        arm = self.control.observe(self._clock.now_ns())
        finished = None
        for event in self.control.take_events():
            if isinstance(event, EpisodeEnded):
                self._log.outcome = event.outcome
                finished = self._log
                self._settle(Saved())
        if finished is None and arm.phase is not Phase.IDLE:
            self._log.states.append(self._cell.state_vector())
        return finished

    def advance(self) -> None:
        """The scripted expert speaks, and a policy period passes."""
        self._settle(self.peek())
        if self._cell.succeeded():
            self._settle(Verb.SUCCEED)
        elif self._clock.now_ns() - self._began_ns >= self._cell.task.time_limit_s * NS_PER_S:
            self._settle(Verb.FAIL)
        for _ in range(self._ticks):
            self._arm.tick()
            self._clock.advance_s(self._config.cell.servo_period_s)
            self._cell.step()

    # The control loop's view of this cell.

    def snapshot(self) -> ArmSnapshot:
        """Return the arm's state; see `control.ArmPort`."""
        return self._arm.snapshot()

    def post(self, message: ArmMessage) -> None:
        """Hand over a message that counts at once; the expert answers a call for help. See `control.ArmPort`."""
        self._settle(message)
        if isinstance(message, HelpWanted):
            self._settle(Verb.TAKEOVER)

    def objects(self, arm: ArmSnapshot) -> NDArray[np.float32]:
        """Return the tracked objects' features; see `control.Sensors`."""
        if not self._config.cell.track_objects:
            return np.zeros(0, np.float32)
        symmetries = tuple(item.symmetry for item in self._cell.task.objects)
        return object_features(arm.state.base_from_tcp, self._cell.tracker.read().base_from_object, symmetries)

    def frames(self) -> dict[str, Frame]:
        """Return the newest pictures; see `control.Sensors`."""
        return {
            name: self._cell.camera(name, picture.height, picture.width).read(0.0)
            for name, picture in self._config.cell.cameras.items()
        }

    def measured(self, arm: ArmSnapshot, time_ns: int) -> Reading:
        """Return the snapshot's own reading, of the same instant as the pictures; see `control.Sensors`."""
        return Reading(arm.state, arm.gripper)

    def peek(self) -> Teleop:
        """Return what the scripted expert would do now; see `control.Expert`."""
        twist, gripper = self._cell.task.expert(self._cell.scene())
        return Teleop(self._clock.now_ns(), twist, gripper)

    def step(self, step: Step) -> None:
        """Take a finished step; see `control.StepSink`."""
        self._log.steps.append(step)
        if self._on_step is not None:
            self._on_step(step)

    def alarm(self) -> None:
        """Take note that the alarm was raised; see `control.StepSink`."""
        self._log.alarms.append(len(self._log.steps))

    def _settle(self, message: ArmMessage) -> None:
        self._arm.post(message)
        self._arm.settle()


def run_episodes(cells: Sequence[LockstepCell], actor: Actor | None, seeds: Sequence[int]) -> Iterator[EpisodeLog]:
    """Run one episode for each seed, the cells side by side with their inference batched; yields them as they end."""
    waiting = list(reversed(seeds))
    running: list[LockstepCell] = []
    for cell in cells:
        if waiting:
            cell.start(waiting.pop())
            running.append(cell)
    while running:
        going = []
        for cell in running:
            finished = cell.observe()
            if finished is not None:
                yield finished
                if not waiting:
                    continue
                cell.start(waiting.pop())
                cell.observe()
            cell.control.decide()
            going.append(cell)
        running = going
        if actor is not None:
            actor.serve([cell.control for cell in running])
            actor.judge()
        for cell in running:
            cell.advance()

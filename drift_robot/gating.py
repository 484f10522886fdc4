"""Who presses takeover and hand-back: a person, a simulated expert that watches the learner, or nobody."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Protocol

import numpy as np
from pydantic import ConfigDict, Field
from pydantic import dataclasses as pydantic

from drift_robot.gate import EXPERT_PHASES, Phase
from hardware.arms import rotations
from hardware.interfaces import Verb
from hardware.poses import Array, Pose, pose_from_vector

Count = Annotated[int, Field(ge=1)]
Length = Annotated[float, Field(gt=0)]
Cosine = Annotated[float, Field(ge=-1, le=1)]


@dataclass(frozen=True)
class GatingView:
    """What a gating sees at a policy step.

    `commanded` (9,) is the commanded base_from_tcp now; `learner_action` and `expert_action` (10,) are what either
    would command for the next step, None where unknown.
    """

    time_ns: int
    phase: Phase
    commanded: Array
    learner_action: Array | None
    expert_action: Array | None


class Gating(Protocol):
    """Something that presses verbs, once a policy step."""

    def reset(self) -> None:
        """An episode begins."""
        ...

    def decide(self, view: GatingView) -> tuple[Verb, ...]:
        """Return the verbs pressed at this step."""
        ...


class NoGating:
    """Nobody takes over. A person does so through her input device, whose verbs go straight to the gate."""

    def reset(self) -> None:
        """Nothing to forget."""

    def decide(self, view: GatingView) -> tuple[Verb, ...]:
        """Press nothing."""
        return ()


class HumanGating(NoGating):
    """The operator decides: her verbs come from the input device alone."""


@pydantic.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SimulatedExpertGatingConfig:
    """When a simulated expert steps in.

    Compared are the displacements of one policy step from the commanded pose: position, and rotation times `lever_m`.
    The learner deviates when the cosine between its displacement and the expert's is below `cosine_below` and they are
    `deviation_m` or more apart, `persistence_steps` steps on end. It stalls when it would move less than `stall_m` a
    step for `stall_steps` steps on end while the expert would move further. Gripper openings that differ by more than
    `gripper_difference` for `gripper_steps` steps count on their own. The expert drives `min_expert_steps` at least,
    and hands back after `agreement_steps` steps in which the cosine is above `cosine_above` or the deviation is small.
    `cosine_below_of` holds, by task, what counts instead of `cosine_below`.
    """

    cosine_below: Cosine = 0.3
    cosine_below_of: dict[str, Cosine] = field(default_factory=dict)
    cosine_above: Cosine = 0.6
    deviation_m: Length = 0.008
    lever_m: Length = 0.1
    persistence_steps: Count = 3
    stall_m: Length = 0.0015
    stall_steps: Count = 8
    gripper_difference: Annotated[float, Field(gt=0, le=1)] = 0.5
    gripper_steps: Count = 4
    min_expert_steps: Count = 8
    agreement_steps: Count = 2

    def of_task(self, task: str) -> "SimulatedExpertGatingConfig":
        """Return what holds for a task."""
        return replace(self, cosine_below=self.cosine_below_of.get(task, self.cosine_below))


class SimulatedExpertGating:
    """Presses takeover when the learner errs or stalls for long enough, and hand-back when it agrees again."""

    def __init__(self, config: SimulatedExpertGatingConfig) -> None:
        self._config = config
        self.reset()

    def reset(self) -> None:
        """An episode begins: forget all counts."""
        self._deviating = self._stalled = self._gripper = self._agreeing = self._expert_steps = 0

    def decide(self, view: GatingView) -> tuple[Verb, ...]:
        """Press takeover or hand-back, or nothing."""
        if view.phase is Phase.LEARNER:
            self._expert_steps = self._agreeing = 0
            return (Verb.TAKEOVER,) if self._errs(view) else ()
        if view.phase in EXPERT_PHASES:
            self._deviating = self._stalled = self._gripper = 0
            self._expert_steps += 1
            return (Verb.HANDBACK,) if self._agrees(view) else ()
        return ()

    def _errs(self, view: GatingView) -> bool:
        """Count the steps in which the learner errs; return whether there are enough of a kind on end."""
        if view.learner_action is None or view.expert_action is None:
            return False
        config = self._config
        learner, expert, cosine = self._compare(view, view.learner_action, view.expert_action)
        apart = _norm(learner - expert) >= config.deviation_m and cosine < config.cosine_below
        waits = _norm(learner) < config.stall_m <= _norm(expert)
        differs = abs(view.learner_action[9] - view.expert_action[9]) > config.gripper_difference
        self._deviating = self._deviating + 1 if apart else 0
        self._stalled = self._stalled + 1 if waits else 0
        self._gripper = self._gripper + 1 if differs else 0
        return (
            self._deviating >= config.persistence_steps
            or self._stalled >= config.stall_steps
            or self._gripper >= config.gripper_steps
        )

    def _agrees(self, view: GatingView) -> bool:
        """Count the steps in which the learner would do as the expert does; not asked where unknown."""
        config = self._config
        if view.learner_action is not None and view.expert_action is not None:
            learner, expert, cosine = self._compare(view, view.learner_action, view.expert_action)
            near = _norm(learner - expert) < config.deviation_m or cosine > config.cosine_above
            moves = _norm(learner) >= config.stall_m or _norm(expert) < config.stall_m
            same_grip = abs(view.learner_action[9] - view.expert_action[9]) <= config.gripper_difference
            self._agreeing = self._agreeing + 1 if near and moves and same_grip else 0
            if self._agreeing < config.agreement_steps:
                return False
        return self._expert_steps >= config.min_expert_steps

    def _compare(self, view: GatingView, learner_action: Array, expert_action: Array) -> tuple[Array, Array, float]:
        """Return both displacements (6,) from the commanded pose, and their cosine (1 where both rest)."""
        commanded = pose_from_vector(view.commanded)
        learner = _displacement(commanded, learner_action, self._config.lever_m)
        expert = _displacement(commanded, expert_action, self._config.lever_m)
        if max(_norm(learner), _norm(expert)) < self._config.stall_m:
            return learner, expert, 1.0
        return learner, expert, float(learner @ expert) / max(_norm(learner) * _norm(expert), 1e-12)


def _norm(vector: Array) -> float:
    return float(np.linalg.norm(vector))


def _displacement(commanded: Pose, action: Array, lever_m: float) -> Array:
    """Return how an action moves the command: position and, times the lever, rotation, (6,) in metres."""
    target = pose_from_vector(action)
    turn = rotations.log(target.rotation @ commanded.rotation.T)
    return np.concatenate([target.position - commanded.position, lever_m * turn])

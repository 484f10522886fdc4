"""Training windows of an episode, decided from the labels of its steps at training time.

A window is a few observations, the chunk of executed actions that follows, and a mask of the actions that may be
learned from. Nothing here touches a disk or forgets a label; what a rule leaves out today, another may use tomorrow.
"""

from dataclasses import dataclass as plain_dataclass
from enum import IntEnum
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from data.schema import Outcome, Owner

NS_PER_S = 1_000_000_000


class Source(IntEnum):
    """Where a window comes from."""

    DEMONSTRATION = 0
    INTERVENTION = 1
    AUTONOMOUS = 2


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class WindowRules:
    """How labels become weights. The defaults: Sirius (before a takeover), CR-DAgger (after one)."""

    before_takeover_s: Annotated[float, Field(ge=0)] = 1.5
    after_takeover_s: Annotated[float, Field(ge=0)] = 1.0
    after_takeover_weight: Annotated[float, Field(gt=0)] = 4.0
    autonomous: bool = False


@plain_dataclass(frozen=True)
class Windows:
    """M windows over the steps of one episode.

    `observation_index` (M, To) and `action_index` (M, H) are step numbers; `mask` (M, H) float32 is 1 where the action
    is a target; `weight` (M,) float32 is the relative chance of being drawn; `source` (M,) uint8 holds `Source`.
    """

    observation_index: NDArray[np.int64]
    action_index: NDArray[np.int64]
    mask: NDArray[np.float32]
    weight: NDArray[np.float32]
    source: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.weight)


def make_windows(
    owner: NDArray[np.uint8],
    time_ns: NDArray[np.int64],
    outcome: Outcome,
    obs_horizon: int,
    pred_horizon: int,
    rules: WindowRules | None = None,
) -> Windows:
    """Return the windows of an episode with owners (N,) and step times (N,).

    - An episode in which the learner never drove is a demonstration: a window at each expert step, its targets ending
      where steps are taken out (marked as transition). If it succeeded, its last action repeats beyond its end, so that
      the policy learns to stay there; if it failed, there are no windows.
    - Otherwise a window at each expert step, whatever the outcome; its targets end with the expert's turn, so a
      learner's action never counts as an expert's, and transition steps are targets of nobody.
    - If asked, a window at each learner step of a successful episode. The steps shortly before a takeover are no
      targets, and windows that start there weigh nothing.
    - A discarded episode has no windows. Observations before the first step repeat it.
    """
    rules = rules or WindowRules()
    expert, learner = owner == Owner.EXPERT, owner == Owner.LEARNER
    nothing = np.zeros(len(owner), dtype=bool)
    if outcome is Outcome.DISCARDED or len(owner) == 0:
        return _windows(nothing, nothing, np.zeros(len(owner)), Source.DEMONSTRATION, obs_horizon, pred_horizon)
    if not learner.any():
        targets = nothing if outcome is Outcome.FAILURE else expert
        stay = outcome is Outcome.SUCCESS
        weight = np.ones(len(owner))
        return _windows(targets, targets, weight, Source.DEMONSTRATION, obs_horizon, pred_horizon, stay)

    before_s, after_s = _takeover_distances_s(learner, time_ns)
    weight = np.where(after_s <= rules.after_takeover_s, rules.after_takeover_weight, 1.0)
    parts = [_windows(expert, expert, weight, Source.INTERVENTION, obs_horizon, pred_horizon)]
    if rules.autonomous and outcome is Outcome.SUCCESS:
        good = learner & (before_s > rules.before_takeover_s)
        weight = good.astype(np.float64)
        parts.append(_windows(learner, good, weight, Source.AUTONOMOUS, obs_horizon, pred_horizon))
    return Windows(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("observation_index", "action_index", "mask", "weight", "source")
        )
    )


def _takeover_distances_s(
    learner: NDArray[np.bool_], time_ns: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the seconds from each step to the next takeover, and from the last one to it; infinite where none."""
    taken = ~learner
    taken[1:] &= learner[:-1]
    at_ns = time_ns[taken]
    following = np.searchsorted(np.flatnonzero(taken), np.arange(len(learner)), side="right")
    bounds = np.concatenate([[-np.inf], at_ns, [np.inf]])
    return (bounds[following + 1] - time_ns) / NS_PER_S, (time_ns - bounds[following]) / NS_PER_S


def _windows(
    starts: NDArray[np.bool_],
    targets: NDArray[np.bool_],
    weight: NDArray[np.float64],
    source: Source,
    obs_horizon: int,
    pred_horizon: int,
    stay: bool = False,
) -> Windows:
    """Return a window at each of `starts` (N,), its mask cut at the first step that is not among `targets` (N,)."""
    steps = len(starts)
    first = np.flatnonzero(starts)
    observation = np.maximum(first[:, None] + np.arange(1 - obs_horizon, 1), 0)
    action = first[:, None] + np.arange(pred_horizon)
    beyond = action >= steps
    action = np.minimum(action, max(steps - 1, 0))
    usable = (targets[action] if steps else np.zeros(action.shape, dtype=bool)) & (stay | ~beyond)
    return Windows(
        observation,
        action,
        np.logical_and.accumulate(usable, axis=1).astype(np.float32),
        weight[first].astype(np.float32),
        np.full(len(first), source, dtype=np.uint8),
    )

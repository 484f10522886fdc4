"""The check that a candidate passes before it may act."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit

from data.buffer import Batch
from drift_robot.training import observation_of
from hardware.arms.limits import ArmLimits
from policies.policy import DiffusionPolicy

Losses = NDArray[np.float64]

MIN_EPISODES = 3
CONFIDENCE = 0.975
REPEATS = 8
MARGIN_M = 0.15


def candidate_fault(
    candidate: DiffusionPolicy, acting: DiffusionPolicy, canned: Batch, held_out: Iterable[Batch], limits: ArmLimits
) -> str | None:
    """Return why a candidate must not act, in one sentence, or None.

    On canned observations its actions must be finite and inside the workspace box (with a margin of 15 cm). On held-out
    interventions, a batch an episode, its loss must not be established to be worse than the acting version's (see
    `worse_on`). Hashes, names, shapes and finite weights were checked when it was loaded.
    """
    actions = candidate.act(observation_of(canned), torch.Generator().manual_seed(0)).cpu()
    if not bool(torch.isfinite(actions).all()):
        return "The candidate's actions on canned observations are not finite."
    low = torch.tensor(limits.workspace_min_m) - MARGIN_M
    high = torch.tensor(limits.workspace_max_m) + MARGIN_M
    outside = (actions[..., :3] < low) | (actions[..., :3] > high)
    if bool(outside.any()):
        return "The candidate's actions on canned observations leave the workspace box by more than 15 cm."
    losses = [(mean_loss(acting, batch), mean_loss(candidate, batch)) for batch in held_out]
    before, after = np.array(losses).reshape(-1, 2).T
    if worse_on(before, after):
        return (
            f"The candidate's loss on {len(losses)} held-out episodes is {after.mean():.4f}; the acting version's is "
            f"{before.mean():.4f}."
        )
    return None


def worse_on(before: Losses, after: Losses) -> bool:
    """Tell whether losses (n,) of n episodes have become worse beyond chance.

    A paired one-sided t-test at 2.5 %: the steps of an episode resemble each other, so episodes are what counts. Fewer
    than three prove nothing: one lucky episode would else keep every later version out.
    """
    if len(before) < MIN_EPISODES:
        return False
    worse = after - before
    if not np.isfinite(worse).all():
        return True
    error = worse.std(ddof=1) / np.sqrt(len(worse))
    return bool(worse.mean() > stdtrit(len(worse) - 1, CONFIDENCE) * error)


@torch.no_grad()
def mean_loss(policy: DiffusionPolicy, batch: Batch) -> float:
    """Return the mean loss on a batch, the same noise whenever it is asked for."""
    loss = policy.loss(
        observation_of(batch),
        torch.from_numpy(batch.actions),
        torch.from_numpy(batch.mask),
        torch.Generator().manual_seed(0),
        REPEATS,
    )
    return float(loss.mean())

"""One training batch, on a real policy and windows of a recorded episode."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import TINY, add_corrected_episode

from data.buffer import Batch, ReplayBuffer
from data.episode import Episode
from data.schema import Outcome, Owner
from data.windows import Source
from drift_robot.bootstrap import load_demonstrations
from drift_robot.lockstep import policy_config
from drift_robot.run_folder import RunFolder
from drift_robot.training import DivergedError, train_batch
from policies.checkpoint import load_training
from policies.rank import merged_parameters
from policies.training import TrainingState


@pytest.fixture
def state(bootstrapped: RunFolder) -> TrainingState:
    return load_training(bootstrapped.training / "000000")[0]


@pytest.fixture
def batch(bootstrapped: RunFolder) -> Batch:
    return load_demonstrations(TINY, bootstrapped.demonstrations).sample(16, np.random.default_rng(0))


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An online episode that failed, whose middle the expert drove."""
    return add_corrected_episode(RunFolder(tmp_path_factory.mktemp("corrected")), TINY, 0, Outcome.FAILURE)


def interventions(path: Path) -> Batch:
    policy = policy_config(TINY)
    buffer = ReplayBuffer(policy.obs_horizon, policy.pred_horizon)
    buffer.add(Episode.open(path))
    return buffer.gather(buffer.select(Source.INTERVENTION))


def weights(state: TrainingState) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in merged_parameters(state.policy).items()}


def test_batches_lower_the_loss(state: TrainingState, batch: Batch) -> None:
    losses = [train_batch(state, batch, 4e-3, torch.Generator().manual_seed(0)).loss for _ in range(25)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_batch_that_diverges_leaves_the_weights_and_the_average_alone(state: TrainingState, batch: Batch) -> None:
    before, average = weights(state), state.acting_weights()
    broken = replace(batch, actions=np.full_like(batch.actions, np.nan))
    with pytest.raises(DivergedError, match="The loss of a training batch is nan"):
        train_batch(state, broken, 1e-3, torch.Generator().manual_seed(0))
    assert all(torch.equal(value, before[name]) for name, value in weights(state).items())
    assert all(torch.equal(value, average[name]) for name, value in state.acting_weights().items())


def test_corrections_of_a_failed_rollout_are_trained_on(corrected: Path) -> None:
    owner = Episode.open(corrected).column("owner")
    assert Episode.open(corrected).outcome is Outcome.FAILURE
    assert len(interventions(corrected).mask) == int((owner == Owner.EXPERT).sum()) == 19


def test_only_the_experts_actions_teach_even_where_the_horizon_runs_into_the_learners(
    state: TrainingState, corrected: Path
) -> None:
    batch = interventions(corrected)
    assert batch.mask.sum(1).tolist() == [min(TINY.policy.pred_horizon, 19 - k) for k in range(19)]
    targets = np.where(batch.mask[..., None] > 0, batch.actions, np.nan)
    episode = Episode.open(corrected)
    by_expert = episode.column("action.executed")[episode.column("owner") == Owner.EXPERT]
    taught = targets[~np.isnan(targets).any(-1)]
    assert {row.tobytes() for row in taught.astype(np.float32)} == {row.tobytes() for row in by_expert}
    unmasked = replace(batch, mask=np.zeros_like(batch.mask))
    before = weights(state)
    assert train_batch(state, unmasked, 1e-3, torch.Generator().manual_seed(0)).loss == 0.0
    backbone = [name for name in before if name.startswith("backbone")]
    assert all(torch.allclose(weights(state)[name], before[name], atol=2e-2) for name in backbone)

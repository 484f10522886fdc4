"""How a chunk is judged: at fixed draws, by what is left of it, against a threshold that its own version sets."""

import dataclasses
from collections.abc import Iterator

import policy_samples as samples
import pytest
import torch
from torch import Tensor

from policies.alarm import Alarm, calibrate, spread
from policies.errors import PolicyError
from policies.policy import DiffusionPolicy, Observation

TIMESTEPS = spread(100)


def trained(**changes: object) -> tuple[DiffusionPolicy, Observation]:
    """A policy that has learned one batch of samples a little."""
    state, observation, actions = samples.some_training(batch=32, prediction="sample", action_horizon=4, **changes)
    samples.train(state, observation, actions, 80, repeats=4)
    policy = DiffusionPolicy(state.policy.config)
    policy.load_state_dict(state.acting_weights())
    return policy.eval(), observation


def levels(policy: DiffusionPolicy, alarm: Alarm, observation: Observation, rest: Tensor, new: Tensor) -> Tensor:
    with torch.no_grad():
        return alarm.levels(policy, policy.encode(observation), observation.commanded, rest, new)


def made(policy: DiffusionPolicy, observation: Observation) -> Tensor:
    return policy.act(observation, torch.Generator().manual_seed(3))


def windows(observation: Observation, batches: int = 2) -> Iterator[tuple[Observation, Observation]]:
    """An arm that does not move between one chunk and the next."""
    return iter([(observation, observation)] * batches)


def test_the_steps_are_spread_evenly_over_the_diffusion_process() -> None:
    assert spread(100) == (6, 18, 31, 43, 56, 68, 81, 93)
    assert len(set(spread(8))) == 8


def test_a_chunk_is_judged_alike_every_time_alone_and_beside_others() -> None:
    policy, observation = trained()
    alarm, new = Alarm(0.01, 0.99, 1, TIMESTEPS), made(policy, observation)
    rest = new[:, 4:]
    together = levels(policy, alarm, observation, rest, new)
    assert torch.equal(together, levels(policy, alarm, observation, rest, new))
    first = dataclasses.replace(
        observation, **{name: getattr(observation, name)[:1] for name in ("tcp", "commanded", "gripper", "objects")}
    )
    torch.testing.assert_close(levels(policy, alarm, first, rest[:1], new[:1]), together[:1], rtol=1e-4, atol=1e-6)


def test_the_level_is_relative_to_the_threshold() -> None:
    policy, observation = trained()
    new = made(policy, observation)
    one, half = (levels(policy, Alarm(t, 0.99, 1, TIMESTEPS), observation, new[:, 4:], new) for t in (1.0, 0.5))
    torch.testing.assert_close(half, 2 * one)


def test_a_plan_that_no_longer_fits_what_is_seen_is_unusual() -> None:
    policy, observation = trained()
    alarm = calibrate(policy, windows(observation), 0.99, committed=1)
    assert alarm is not None
    new = made(policy, observation)
    fits = new.clone()
    misses = new + torch.tensor([0.05, 0.05, 0.0, *[0.0] * 7])
    assert float(levels(policy, alarm, observation, fits, new).median()) < 1
    assert float(levels(policy, alarm, observation, misses, new).median()) > 1


def test_only_what_is_left_of_the_chunk_is_judged() -> None:
    policy, observation = trained()
    alarm, new = Alarm(0.01, 0.99, 1, TIMESTEPS), made(policy, observation)
    with torch.no_grad():
        for parameter in policy.backbone.parameters():
            parameter.zero_()  # a network that ignores its input: the loss then depends on the judged steps alone
    other = new.clone()
    other[:, 12:, 9] = 1 - other[:, 12:, 9]
    rest = new[:, 4:]
    assert torch.equal(levels(policy, alarm, observation, rest, new), levels(policy, alarm, observation, rest, other))
    changed = rest.clone()
    changed[:, :, 9] = 1 - changed[:, :, 9]
    assert not torch.equal(
        levels(policy, alarm, observation, rest, new), levels(policy, alarm, observation, changed, new)
    )


@pytest.mark.parametrize("committed", [0, 1, 3])
def test_the_threshold_is_the_quantile_of_the_versions_own_windows(committed: int) -> None:
    policy, observation = trained()
    half, most = (calibrate(policy, windows(observation), q, committed) for q in (0.6, 0.99))
    assert half is not None
    assert most is not None
    assert half.threshold < most.threshold
    assert (half.windows, half.quantile, half.timesteps) == (64, 0.6, TIMESTEPS)
    assert calibrate(policy, windows(observation), 0.6, committed) == half


def test_chunks_that_are_executed_to_their_end_leave_nothing_to_judge() -> None:
    policy, observation = trained()
    whole = DiffusionPolicy(dataclasses.replace(policy.config, action_horizon=policy.config.pred_horizon))
    assert calibrate(whole, windows(observation), 0.99, 0) is None


def test_losses_that_are_not_finite_give_no_threshold() -> None:
    policy, observation = trained()
    with torch.no_grad():
        next(policy.backbone.parameters()).fill_(float("nan"))
    with pytest.raises(PolicyError, match=r"alarm: the 0\.99 quantile of 64 losses is nan"):
        calibrate(policy, windows(observation), 0.99, 1)


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
@pytest.mark.parametrize("backbone", ["unet", "transformer"])
def test_every_kind_of_policy_can_be_judged(backbone: str, prediction: str) -> None:
    state, observation, _ = samples.some_training(batch=4, backbone=backbone, prediction=prediction)
    alarm = calibrate(state.policy.eval(), windows(observation), 0.99, 1)
    assert alarm is not None
    assert alarm.threshold > 0

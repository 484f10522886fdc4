import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from drift_robot.candidate import worse_on


def test_losses_that_rose_in_every_episode_are_worse() -> None:
    assert worse_on(np.array([0.010, 0.020, 0.015, 0.012]), np.array([0.020, 0.031, 0.024, 0.023]))


def test_losses_that_fell_are_not_worse() -> None:
    assert not worse_on(np.array([0.020, 0.031, 0.024, 0.023]), np.array([0.010, 0.020, 0.015, 0.012]))


def test_one_lucky_episode_does_not_keep_a_candidate_out() -> None:
    assert not worse_on(np.array([0.0015]), np.array([0.0078]))
    assert not worse_on(np.array([0.0015, 0.02, 0.03, 0.01]), np.array([0.0078, 0.018, 0.025, 0.009]))


def test_a_loss_that_is_not_finite_is_worse() -> None:
    assert worse_on(np.array([0.01, 0.01, 0.01]), np.array([0.01, np.nan, 0.01]))


@given(st.integers(3, 30), st.integers(0, 10_000))
def test_the_same_losses_are_never_worse(episodes: int, seed: int) -> None:
    losses = np.random.default_rng(seed).random(episodes)
    assert not worse_on(losses, losses)


def test_by_chance_alone_few_candidates_are_refused() -> None:
    rng = np.random.default_rng(0)
    refused = [worse_on(rng.normal(1, 0.1, 8), rng.normal(1, 0.1, 8)) for _ in range(2000)]
    assert 0.01 < np.mean(refused) < 0.045

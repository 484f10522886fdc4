"""Where the policy acts and learns. What needs a GPU is skipped without one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import TINY, silently

from drift_robot.bootstrap import bootstrap, load_demonstrations
from drift_robot.compute import chosen_device
from drift_robot.errors import UserError
from drift_robot.run_folder import RunFolder
from drift_robot.training import observation_of
from policies.checkpoint import load_policy, load_training

WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@WITHOUT_GPU
def test_without_a_gpu_the_cpu_is_taken_unless_a_gpu_was_asked_for() -> None:
    assert chosen_device("auto") == chosen_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match=r"compute is cuda, but torch .* finds no GPU here; set it to auto or cpu"):
        chosen_device("cuda")


@GPU
def test_a_gpu_is_taken_unless_the_cpu_was_asked_for() -> None:
    assert chosen_device("auto") == chosen_device("cuda") == torch.device("cuda")
    assert chosen_device("cpu") == torch.device("cpu")


@GPU
def test_a_policy_that_a_gpu_has_trained_acts_alike_on_cpu_and_gpu_and_can_be_trained_on_either(
    bootstrapped: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.demonstrations.symlink_to(bootstrapped.demonstrations)
    config = replace(TINY, compute="cuda")
    bootstrap(config, run, silently)
    buffer = load_demonstrations(config, run.demonstrations)
    observation = observation_of(buffer.gather(np.arange(4)))
    chunks = []
    for device in ("cpu", "cuda"):
        policy, _ = load_policy(run.versions().path(0), device)
        chunks.append(policy.act(observation, torch.Generator().manual_seed(0)).cpu())
        state, _ = load_training(run.training / "000000", device)
        assert state.policy.device.type == device
        assert state.rank == TINY.rank.r_min
    torch.testing.assert_close(chunks[0], chunks[1], rtol=1e-4, atol=1e-4)

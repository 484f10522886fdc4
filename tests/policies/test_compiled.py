"""The compiled policy: it acts as the plain one does, and versions share what was compiled."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from policy_samples import small_config, some_actions, some_observation
from torch import Tensor

from policies.compiled import compile_no_more
from policies.policy import DiffusionPolicy

ROOT = Path(__file__).resolve().parents[2]


def version(seed: int, **changes: Any) -> DiffusionPolicy:
    torch.manual_seed(seed)
    policy = DiffusionPolicy(small_config(**changes))
    observation = some_observation(32)
    policy.fit_normalizer(observation, some_actions(observation))
    return policy.eval().requires_grad_(False)


def chunk(policy: DiffusionPolicy, compiled: bool, batch: int = 1, held: int = 0) -> Tensor:
    observation = some_observation(batch, seed=7)
    policy.compiled = compiled
    prefix = some_actions(observation)[:, :held] if held else None
    return policy.act(observation, torch.Generator().manual_seed(3), prefix)


@pytest.fixture
def compilations() -> Any:
    """Count what is compiled from here on."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    yield lambda: counters["stats"]["unique_graphs"]
    torch.compiler.set_stance("default")


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"prediction": "sample"}, {"backbone": "transformer"}])
def test_compiled_and_plain_actions_are_equal_and_a_new_version_compiles_nothing(
    changes: dict[str, Any], compilations: Any
) -> None:
    for seed in range(3):
        policy = version(seed, **changes)
        for held in (0, 2):
            same, plain = (chunk(policy, compiled, held=held) for compiled in (True, False))
            torch.testing.assert_close(same, plain, atol=1e-4, rtol=0)
    assert compilations() == 1


@pytest.mark.slow
def test_once_nothing_more_is_compiled_another_policy_acts_plainly_and_a_known_one_as_before(compilations: Any) -> None:
    known, other = version(0), version(0, unet_dims=(16, 16))
    before = chunk(known, True)
    compile_no_more()
    with ThreadPoolExecutor(1) as loader:  # as a session loads a version
        assert torch.equal(loader.submit(chunk, other, True).result(), chunk(other, False))
    assert torch.equal(chunk(known, True), before)
    assert compilations() == 1


def test_several_observations_at_once_are_not_compiled_for(compilations: Any) -> None:
    policy = version(0)
    assert torch.equal(chunk(policy, True, batch=2), chunk(policy, False, batch=2))
    assert compilations() == 0


@pytest.mark.slow
def test_without_a_compiler_it_is_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    code = """
from policies.errors import PolicyError
from test_compiled import chunk, version
try:
    chunk(version(0), True)
except PolicyError as error:
    print(error)
"""
    nowhere = {"CXX": str(tmp_path / "no-compiler"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | nowhere | {"PYTHONPATH": paths}
    )
    assert "cannot be compiled here" in done.stdout, done.stderr
    assert "'compile_policy' to false" in done.stdout
    assert done.stdout.count("\n") == 1

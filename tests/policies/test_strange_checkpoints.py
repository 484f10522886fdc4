"""Checkpoints that a stranger made to harm: nothing of them is run, and no more memory taken than they hold."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import policy_samples as samples
import pytest
import torch

from policies.checkpoint import Manifest, load_manifest, load_policy, load_training, save
from policies.errors import PolicyError


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self._mark}",)


@pytest.fixture
def version(tmp_path: Path) -> Path:
    state, observation, actions = samples.some_training(batch=8)
    samples.train(state, observation, actions, 1)
    manifest = Manifest(1, 0, "D(RR)", state.rank, 1, 1, state.policy.config)
    save(tmp_path / "000001", manifest, state.acting_weights(), state)
    return tmp_path / "000001"


def change(version: Path, **changes: object) -> None:
    manifest = json.loads((version / "manifest.json").read_text())
    (version / "manifest.json").write_text(json.dumps(manifest | changes))


def config(version: Path, **changes: object) -> None:
    change(version, config=json.loads((version / "manifest.json").read_text())["config"] | changes)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "policy.safetensors/../x"])
def test_a_manifest_cannot_name_files_elsewhere(version: Path, name: str) -> None:
    change(version, files={name: "0" * 64})
    with pytest.raises(PolicyError, match="no part of one"):
        load_manifest(version)


@pytest.mark.parametrize("name", ["policy.safetensors", "manifest.json"])
@pytest.mark.parametrize("target", ["/dev/zero", "copy"])
def test_a_link_is_not_followed(version: Path, name: str, target: str) -> None:
    (version / name).rename(version / "copy")
    (version / name).symlink_to(target)
    with pytest.raises(PolicyError, match="is a link"):
        load_policy(version)


def test_a_pipe_is_not_waited_for(version: Path) -> None:
    (version / "policy.safetensors").unlink()
    os.mkfifo(version / "policy.safetensors")
    with pytest.raises(PolicyError, match="no file"):
        load_policy(version)


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_a_pickle_is_refused_and_not_run(version: Path, tmp_path: Path, how: str) -> None:
    weights, mark = version / "policy.safetensors", tmp_path / "harmed"
    if how == "torch":
        torch.save({"x": Trap(mark)}, weights)
    else:
        weights.write_bytes(pickle.dumps(Trap(mark)))
    manifest = json.loads((version / "manifest.json").read_text())
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    change(version, files=manifest["files"] | {"policy.safetensors": digest})
    with pytest.raises(PolicyError, match="not a safetensors file"):
        load_policy(version)
    assert not mark.exists()


@pytest.mark.parametrize(
    "absurd",
    [
        {"unet_dims": [8192] * 5},
        {"condition_width": 8192, "obs_horizon": 8192},
        {"backbone": "transformer", "transformer_dim": 8192, "transformer_layers": 64},
        {"cameras": {"front": [8192, 8192]}, "vision": "resnet18"},
    ],
    ids=["unet", "condition", "transformer", "camera"],
)
@pytest.mark.parametrize("load", [load_policy, load_training])
def test_an_absurd_architecture_takes_no_memory(version: Path, absurd: dict[str, object], load: object) -> None:
    config(version, **absurd)
    with pytest.raises(PolicyError, match=r"missing|has shape|fewer than|does not belong"):
        load(version)  # type: ignore[operator]


@pytest.mark.parametrize(
    "absurd", [{"unet_dims": [8] * 100_000}, {"transformer_layers": 8192}, {"unet_dims": [10**12]}]
)
def test_sizes_have_bounds(version: Path, absurd: dict[str, object]) -> None:
    config(version, **absurd)
    with pytest.raises(PolicyError, match=r"manifest\.json, key config"):
        load_manifest(version)


def test_a_header_that_claims_more_than_the_file_holds_is_refused(version: Path) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4 * 10**18]}}).encode()
    content = len(header).to_bytes(8, "little") + header
    (version / "policy.safetensors").write_bytes(content)
    change(version, files={"policy.safetensors": hashlib.sha256(content).hexdigest()})
    with pytest.raises(PolicyError, match="not a safetensors file"):
        load_policy(version)

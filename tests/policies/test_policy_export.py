"""An exported policy acts where nothing of ours can be imported, as the policy does."""

import ast
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import policy_samples as samples
import pytest
import torch
from safetensors.torch import load_file, save_file

from policies.checkpoint import Manifest, load_policy, save
from policies.errors import PolicyError
from policies.export import export_policy, source

ACTS = """
import sys
from pathlib import Path
for name in ("policies", "drift_robot", "data", "hardware", "pydantic", "numpy.typing"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
import torch
from safetensors.torch import load_file, save_file
from policy import Observation, load
torch.set_num_threads(1)
seen = load_file(sys.argv[2])
images = {name[7:]: value for name, value in seen.items() if name.startswith("images.")}
observation = Observation(seen["tcp"], seen["commanded"], seen["gripper"], seen["objects"], images)
actions = load(sys.argv[1]).act(observation, torch.Generator().manual_seed(5), seen["prefix"])
save_file({"actions": actions}, sys.argv[3])
"""


def version(folder: Path, **changes: object) -> Path:
    state, observation, actions = samples.some_training(batch=8, **changes)
    samples.train(state, observation, actions, 3)
    state.set_rank(8)
    samples.train(state, observation, actions, 2)
    manifest = Manifest(3, 2, "D(RR)", state.rank, 4, 10, state.policy.config)
    save(folder / "000003", manifest, state.acting_weights())
    return folder / "000003"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"backbone": "transformer", "prediction": "sample"},
        {"cameras": {"front": (32, 40), "wrist": (32, 32)}, "action_frame": "absolute", "sampler": "ddpm"},
    ],
    ids=["unet", "transformer", "images"],
)
def test_it_acts_as_the_policy_does(changes: dict[str, object], tmp_path: Path) -> None:
    path = version(tmp_path, **changes)
    export_policy(path, tmp_path / "out")
    policy, manifest = load_policy(path)
    observation = samples.some_observation(4, 7, manifest.config)
    prefix = samples.some_actions(observation)[:, :2]
    seen = {name: getattr(observation, name) for name in ("tcp", "commanded", "gripper", "objects")}
    seen |= {f"images.{name}": image for name, image in observation.images.items()} | {"prefix": prefix}
    save_file({name: value.contiguous() for name, value in seen.items()}, tmp_path / "seen")
    subprocess.run(
        [sys.executable, "-c", ACTS, *map(str, (tmp_path / "out", tmp_path / "seen", tmp_path / "acted"))],
        check=True,
        cwd=tmp_path,
        env={"PATH": ""},
    )
    expected = policy.act(observation, torch.Generator().manual_seed(5), prefix)
    torch.testing.assert_close(load_file(tmp_path / "acted")["actions"], expected, rtol=0, atol=1e-4)
    assert json.loads((tmp_path / "out/policy.json").read_text())["version"] == 3


def test_its_code_imports_nothing_but_the_standard_library_torch_and_safetensors() -> None:
    tree = ast.parse(source())
    found = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    found |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.split(".")[0] for name in found} - sys.stdlib_module_names == {"torch", "safetensors"}
    names = Counter(node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef))
    assert names.most_common(1)[0][1] == 1, "two modules define the same name"


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    path = version(tmp_path)
    with pytest.raises(PolicyError, match="exists already"):
        export_policy(path, path)

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
for name in ("policies", "drift_robot", "data", "hardware", "pydantic"):
    sys.modules[name] = None
import torch
from safetensors.torch import load_file, save_file
torch.set_num_threads(1)
for folder in sys.argv[1:]:
    sys.path.insert(0, folder + "/out")
    from policy import Observation, load
    seen = load_file(folder + "/seen")
    images = {name[7:]: value for name, value in seen.items() if name.startswith("images.")}
    observation = Observation(seen["tcp"], seen["commanded"], seen["gripper"], seen["objects"], images)
    actions = load(folder + "/out").act(observation, torch.Generator().manual_seed(5), seen["prefix"])
    save_file({"actions": actions}, folder + "/acted")
    del sys.modules["policy"], sys.path[0]
"""
POLICIES: dict[str, dict[str, object]] = {
    "unet": {},
    "transformer": {"backbone": "transformer", "prediction": "sample"},
    "images": {
        "cameras": {"front": (32, 40), "wrist": (32, 32)},
        "action_frame": "absolute",
        "sampler": "ddpm",
    },
}


def version(folder: Path, **changes: object) -> Path:
    state, observation, actions = samples.some_training(batch=8, **changes)
    samples.train(state, observation, actions, 3)
    state.set_rank(8)
    samples.train(state, observation, actions, 2)
    manifest = Manifest(3, 2, "D(RR)", state.rank, 4, 10, state.policy.config)
    save(folder / "000003", manifest, state.acting_weights())
    return folder / "000003"


def test_they_act_as_the_policies_do_where_nothing_of_ours_can_be_imported(tmp_path: Path) -> None:
    expected = {}
    for name, changes in POLICIES.items():
        (folder := tmp_path / name).mkdir()
        path = version(folder, **changes)
        export_policy(path, folder / "out")
        assert json.loads((folder / "out/policy.json").read_text())["version"] == 3
        policy, manifest = load_policy(path)
        observation = samples.some_observation(4, 7, manifest.config)
        prefix = samples.some_actions(observation)[:, :2]
        seen = {key: getattr(observation, key) for key in ("tcp", "commanded", "gripper", "objects")}
        seen |= {f"images.{key}": image for key, image in observation.images.items()} | {"prefix": prefix}
        save_file({key: value.contiguous() for key, value in seen.items()}, folder / "seen")
        expected[name] = policy.act(observation, torch.Generator().manual_seed(5), prefix)
    folders = [str(tmp_path / name) for name in POLICIES]
    subprocess.run([sys.executable, "-c", ACTS, *folders], check=True, cwd=tmp_path, env={"PATH": ""})
    for name, actions in expected.items():
        acted = load_file(tmp_path / name / "acted")["actions"]
        torch.testing.assert_close(acted, actions, rtol=0, atol=1e-4, msg=name)


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

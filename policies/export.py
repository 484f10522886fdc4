"""A version as a folder that needs nothing of ours: weights, configuration, and a `policy.py` that loads and runs them.

`policy.py` is made of this package's own source: the modules that acting takes, one after the other, so that there is
one implementation. What they import from each other is left out, since it stands above.
"""

import ast
import json
import shutil
from importlib import resources
from pathlib import Path

from pydantic import TypeAdapter
from safetensors.torch import save as serialise

from policies.checkpoint import Manifest, load_policy
from policies.errors import PolicyError
from policies.policy import PolicyConfig

MODULES = (
    "errors",
    "normalizer",
    "frames",
    "diffusion",
    "processor",
    "convolution",
    "unet",
    "transformer",
    "shares",
    "vision",
    "compiled",
    "policy",
)
"""Each after those that it imports."""

WEIGHTS, DESCRIPTION, CODE = "policy.safetensors", "policy.json", "policy.py"


def export_policy(version: Path, out: Path) -> Manifest:
    """Write a version as such a folder; return its manifest. Raises PolicyError if it is damaged or `out` exists."""
    if out.exists():
        raise PolicyError(f"{out} exists already; choose another folder for the exported policy.")
    policy, manifest = load_policy(version)
    staging = out.with_name(f".{out.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        weights = {name: value.contiguous() for name, value in policy.state_dict().items()}
        (staging / WEIGHTS).write_bytes(serialise(weights))
        description = {
            "version": manifest.version,
            "method": manifest.method,
            "rank": manifest.rank,
            "config": TypeAdapter(PolicyConfig).dump_python(manifest.config, mode="json"),
        }
        (staging / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")
        (staging / CODE).write_text(source(), encoding="utf-8")
        staging.rename(out)
    except OSError as error:
        raise PolicyError(f"{out} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def source() -> str:
    """Return the text of `policy.py`."""
    imports: set[str] = set()
    bodies = []
    for name in MODULES:
        text = resources.files("policies").joinpath(f"{name}.py").read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in ast.parse(text).body[1:]:  # the first is the module's docstring
            if isinstance(node, ast.Import | ast.ImportFrom):
                imports.add(ast.unparse(node))
            elif not _describes_configuration(node):
                first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
                bodies.append("\n".join(lines[first - 1 : node.end_lineno]))
    kept = sorted(line for line in imports if not line.startswith(("from policies", "from pydantic")))
    return "\n\n".join((_HEAD, "\n".join(kept), *bodies, _LOAD))


def _describes_configuration(node: ast.stmt) -> bool:
    """Tell what only checks a configuration, which an exported policy has in plain JSON."""
    targets = [target.id for target in getattr(node, "targets", ()) if isinstance(target, ast.Name)]
    return targets == ["Positive"] or (isinstance(node, ast.ClassDef) and node.name == PolicyConfig.__name__)


_HEAD = '''"""A policy that drift-robot has trained. Needs torch and safetensors, nothing else.

    from policy import Observation, load

    policy = load("this/folder")
    actions = policy.act(Observation(tcp, commanded, gripper, objects, images), torch.Generator().manual_seed(0))

`Observation` and `act` say what shapes, units and frames they take and give.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from safetensors.torch import load_file'''

_LOAD = '''
def load(folder: Path | str) -> DiffusionPolicy:
    """Return the policy in a folder, with the weights that act, in evaluation mode."""
    config = SimpleNamespace(**json.loads((Path(folder) / "policy.json").read_text(encoding="utf-8"))["config"])
    config.cameras = {name: tuple(size) for name, size in config.cameras.items()}
    policy = DiffusionPolicy(config)
    policy.load_state_dict(load_file(Path(folder) / "policy.safetensors"))
    return policy.eval()
'''

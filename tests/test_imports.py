"""The table of docs/architecture.md: who may import whom, and where device libraries may appear."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.checkpoint import Manifest, save
from policies.policy import DiffusionPolicy, PolicyConfig

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("drift_robot", "hardware", "calibration", "policies", "data")
DRIVERS = {
    "pygame": {
        "drift_robot/window.py",
        "drift_robot/canvas.py",
        "drift_robot/sounds.py",
        "drift_robot/calibrate/window.py",
        "hardware/input_devices/keyboard.py",
        "hardware/input_devices/gamepad.py",
        "hardware/emulation/gamepad.py",
    },
    "rtde_control": {"hardware/arms/ur_process.py"},
    "rtde_receive": {"hardware/arms/ur_process.py", "hardware/arms/ur_reader.py"},
    "pyrealsense2": {"hardware/cameras/realsense.py"},
    "rerun": {"drift_robot/review/rerun_view.py"},
    "robosuite": {"hardware/cell/robosuite_cell.py"},
    "fsspec": {"drift_robot/remote/store.py"},
    "cv2": {
        "hardware/cameras/webcam.py",
        "hardware/cameras/pictures.py",
        "hardware/emulation/webcam.py",
        "hardware/charuco.py",
        "hardware/cell/tasks/board.py",
        "calibration/",
    },
    "mujoco": {"hardware/arms/simulated.py", "hardware/grippers/simulated.py", "hardware/cell/"},
}
HEAVY = {"torch", "mujoco", "zarr", "scipy", "pygame", "cv2", "matplotlib", "rerun"}


def table() -> dict[str, set[str]]:
    """Return what each package may import of ours, as the architecture's table says."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|$", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    below = {"all below": set(PACKAGES) - {"drift_robot"}, "-": set[str]()}
    return {name: below.get(allowed, set(re.findall(r"`(\w+)`", allowed))) for name, allowed in rows}


def imports(path: Path) -> Iterator[str]:
    """Yield the top names of everything that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield (node.module or "").split(".")[0]


def test_the_table_has_a_row_for_every_package() -> None:
    assert set(table()) == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_the_table_allows(package: str) -> None:
    allowed = table()[package] | {package}
    for path in sorted((ROOT / package).rglob("*.py")):
        forbidden = set(imports(path)) & set(PACKAGES) - allowed
        assert not forbidden, f"{path.relative_to(ROOT)} imports {forbidden}"


@pytest.mark.parametrize("library", sorted(DRIVERS))
def test_a_device_library_is_imported_only_by_its_drivers(library: str) -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if library in set(imports(path))
    }
    assert all(user.startswith(tuple(DRIVERS[library])) for user in users), users


def test_the_package_itself_imports_nothing_so_that_the_set_up_script_runs_anywhere() -> None:
    assert list(imports(ROOT / "drift_robot/__init__.py")) == []


def test_help_does_not_wait_for_heavy_libraries() -> None:
    code = "import sys, drift_robot.cli; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "typer" in loaded.split()
    assert not HEAVY & set(loaded.split())


@pytest.mark.parametrize("cameras", [{}, {"front": (32, 32)}])
def test_a_policy_is_loaded_and_acts_without_torchs_compiler_whose_import_takes_seconds(
    tmp_path: Path, cameras: dict[str, tuple[int, int]]
) -> None:
    config = PolicyConfig(unet_dims=(8,), cameras=cameras)
    weights = DiffusionPolicy(config).state_dict()
    save(tmp_path / "000000", Manifest(0, None, "BC", rank=1, epoch=0, epochs=0, config=config), weights)
    code = f"""
import sys
from pathlib import Path
import torch
from drift_robot.actor import Successor
Successor.load(Path({str(tmp_path / "000000")!r}), torch.device("cpu"))
print(*{{"torch", "torch._dynamo", "sympy"}} & set(sys.modules))
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert loaded.split() == ["torch"]

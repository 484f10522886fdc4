"""`drift-robot doctor` as a process: exit codes, one line each, pictures, JSON, and an end in bounded time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from tiny_run import TINY_YAML, cli, finished

from drift_robot.config import Config, config_from_dict
from drift_robot.doctor.examination import recorded_bytes_s, shared_memory_bytes
from hardware.emulation.process import EmulatedController
from hardware.emulation.webcam import EmulatedNetworkCamera, StreamFault

NOT_HERE = "192.0.2.1"
"""An address that is nobody's (RFC 5737)."""
END_S = 120.0


def real_cell(host: str, cameras: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the tiny configuration with an arm at an address, and cameras."""
    cameras = cameras or {"front": {"driver": "realsense", "serial": "1", "width": 160, "height": 120, "fps": 15}}
    pictures = {name: {"height": 48, "width": 64} for name in cameras}
    return {
        "cell": {"task": "lift", "track_objects": False, "cameras": pictures},
        "devices": {"arm": {"host": host, "max_age_s": 1.0}, "gripper": {"driver": "robotiq"}, "cameras": cameras},
        "input": {"device": "spacemouse"},
        "policy": yaml.safe_load(TINY_YAML)["policy"] | {"vision": "small_cnn"},
    }


def written(content: object, folder: Path) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def config_of(content: dict[str, Any]) -> Config:
    return config_from_dict(content, "test")


def test_what_a_session_records_is_mostly_its_pictures() -> None:
    small = recorded_bytes_s(config_of(real_cell(NOT_HERE)))
    cameras = {name: {"driver": "realsense", "serial": name} for name in ("front", "wrist")}
    large = recorded_bytes_s(config_of(real_cell(NOT_HERE, cameras)))
    assert large - small == pytest.approx(10 * 48 * 64 * 3, rel=0.01)
    assert shared_memory_bytes(config_of(real_cell(NOT_HERE, cameras))) > 64 * 2 * 48 * 64 * 3


@pytest.mark.realtime
def test_the_simulated_cell_is_fit_and_has_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_YAML)
    code, output, errors = finished(cli("doctor", path, "--out", tmp_path / "run"), END_S)
    assert (code, errors) == (0, "")
    lines = [line for line in output.splitlines() if line[:1] in "✓·!✗"]
    subjects = [line[2:23].strip() for line in lines]
    for subject in ("software", "cores", "clock", "shared memory", "disk", "policy speed", "camera front", "rendering"):
        assert subjects.count(subject) == 1
    assert "A session can begin" in output
    with Image.open(tmp_path / "run" / "doctor" / "front.png") as picture:
        assert np.asarray(picture).std() > 10
    assert (tmp_path / "run" / "doctor" / "cameras.png").exists()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"doctor"}


@pytest.mark.realtime
def test_an_emulated_cell_in_local_control_is_not_fit_and_json_says_so(
    emulate: Callable[..., EmulatedController], host: str, tmp_path: Path
) -> None:
    emulate("--local-control", "--task", "lift")
    arguments = (written(real_cell(host), tmp_path), "--out", tmp_path / "run", "--no-wiggle", "--json")
    code, output, _ = finished(cli("doctor", *arguments), END_S)
    assert code == 1
    said = json.loads(output)
    assert said["fit"] is False
    found = {finding["subject"]: finding for finding in said["findings"]}
    assert set(found["robot state"]) == {"level", "subject", "found", "advice"}
    assert found["robot state"]["level"] == "ok"
    assert found["remote control"]["level"] == "problem"
    assert found["gripper"]["level"] == "note"
    assert found["camera front"]["found"].startswith("picture 160x120")
    assert [Path(path).name for path in said["pictures"]] == ["cameras.png", "front.png"]


@pytest.mark.realtime
def test_where_nothing_is_everything_missing_is_named_and_a_camera_that_is_there_is_seen(tmp_path: Path) -> None:
    network = EmulatedNetworkCamera(lambda: np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    cameras = {
        "front": {"driver": "realsense", "serial": "1"},
        "wrist": {"driver": "webcam", "source": network.address, "width": 64, "height": 48},
    }
    path = written(real_cell(NOT_HERE, cameras), tmp_path)
    code, output, errors = finished(cli("doctor", path, "--out", tmp_path / "run"), END_S)
    network.fault = StreamFault.HANG_UP
    network.close()
    assert (code, errors) == (1, "")
    problems = [line[2:23].strip() for line in output.splitlines() if line.startswith("✗")]
    assert {"robot", "gripper", "camera front", "input device"} <= set(problems)
    assert "RealSense 1 is not connected" in output
    assert "A session cannot begin" in output
    assert {path.name for path in (tmp_path / "run" / "doctor").iterdir()} == {"cameras.png", "wrist.png"}

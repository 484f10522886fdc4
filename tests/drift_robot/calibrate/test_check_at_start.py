"""A real-time session on an emulated arm looks at the board before it begins: a camera that has moved is noticed."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from calibration.files import ARM, Calibration, Kind, lens_entry, pose_entry, write_calibration
from calibration.procedures import CHECK_POSE
from calibration.workspace import CELL
from data.episode import Episode
from drift_robot.calibrate.enforcement import calibration_record
from drift_robot.cli import main
from drift_robot.config import Config, config_from_dict, config_to_dict
from drift_robot.realtime.supervisor import run_session
from drift_robot.run_folder import RunFolder
from hardware.arms.limits import ArmLimits
from hardware.cell.optics import true_lens, true_pose
from hardware.cell.tasks.board import BoardScene
from hardware.emulation.link import EmulatedCellLink
from hardware.emulation.process import EmulatedController
from hardware.poses import Pose, rotation_matrix

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
MOVED = Pose(np.array([0.0, 0.01, 0.0]), rotation_matrix(np.array([0.0, 0.0, 0.02])))
IN_PLACE = Pose(np.zeros(3), np.eye(3))


@pytest.fixture
def config(host: str, tmp_path: Path, emulate: Callable[..., EmulatedController]) -> Config:
    """A session at an emulated arm, before which the board lies."""
    emulate("--controller-version", "3.15.0.0", "--task", "board_on_table")
    return config_from_dict(
        {
            "cell": {"task": "lift", "track_objects": False, "cameras": {"wrist": {"height": 48, "width": 64}}},
            "devices": {
                "arm": {
                    **{"host": host, "flange_from_tcp": [0.0, 0.0, 0.15, 0.0, 0.0, 0.0], "payload_kg": 0.9},
                    "max_age_s": 5.0,
                    "watchdog_hz": 1.0,
                },
                "cameras": {
                    "wrist": {"driver": "realsense", "serial": "1", "fps": 15, "recovery": {"stalled_s": 30.0}}
                },
            },
            "input": {"device": "scripted"},
            "limits": {"arm_timeout_s": 5.0, "device_timeout_s": 5.0},
            "camera_timeout_s": 10.0,
            "policy": {"unet_dims": [16], "vision": "small_cnn"},
            "calibration": {"folder": str(tmp_path / "calibrations"), "enforce": True, "check_at_start": True},
        },
        "test",
    )


def calibrate(config: Config, moved: Pose) -> None:
    """Write the emulated cell's truth as its calibrations, but of a camera that has been moved since."""
    folder, lens = Path(config.calibration.folder), {"lens": lens_entry(true_lens("wrist", 480, 640))}
    intrinsics = Calibration(Kind.INTRINSICS, "wrist", lens, {"rms_px": 0.1})
    assert config.devices is not None
    with EmulatedCellLink(config.devices.arm.host) as link:
        view = link.view()
    values = {
        **lens,
        "tcp_from_camera": pose_entry(true_pose("wrist") @ moved),
        "base_from_board": pose_entry(view.base_from_object[0] @ BoardScene(held=False).plate_from_board()),
        CHECK_POSE: pose_entry(view.base_from_tcp),
        "intrinsics": intrinsics.hash,
    }
    workspace = {
        "base_from_table": pose_entry(Pose(np.zeros(3), np.eye(3))),
        "tool_points_m": [list(point) for point in ArmLimits().tool_points_m],
    }
    in_time = dict.fromkeys(("against_arm_s", "camera_configured_s", "arm_configured_s"), 0.0)
    for calibration in (
        intrinsics,
        Calibration(Kind.HAND_EYE, "wrist", values, {"rms_px": 0.2}),
        Calibration(Kind.WORKSPACE, CELL, workspace, {"rms_mm": 0.1}),
        Calibration(Kind.LATENCY, ARM, {"command_to_state_s": 0.07}, {"expected_error_ms": 0.2}),
        Calibration(Kind.LATENCY, "wrist", in_time, {"expected_error_ms": 0.2}),
    ):
        write_calibration(folder, calibration)


def interrupted_in_its_first_episode(config: Config, run: RunFolder) -> tuple[list[str], Episode]:
    """Run a session until its first episode is under way; return what it said, and the episode."""
    assert config.devices is not None
    arm = replace(config.devices.arm, connect_timeout_s=100.0)  # longer than a lab may wait: this machine is shared
    config = replace(config, devices=replace(config.devices, arm=arm))
    said: list[str] = []
    episode = run.demonstrations / "episodes" / "000000.zarr.partial"

    over = threading.Event()

    def interrupt() -> None:
        while not over.wait(0.05):
            if episode.exists():
                os.kill(os.getpid(), signal.SIGTERM)
                return

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    try:
        figures = run_session(config, run, "collect", "scripted", False, said.append)
    finally:
        over.set()
        watcher.join()
    assert figures.interrupted, said
    return said, Episode.open(episode)


def test_a_moved_camera_is_refused_in_one_sentence_and_recorded_with_the_reason_for_going_on(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrate(config, MOVED)
    path = tmp_path / "moved.yaml"
    path.write_text(yaml.safe_dump(config_to_dict(config)))
    monkeypatch.setattr(
        sys, "argv", ["drift-robot", "collect", str(path), "--out", str(tmp_path / "run"), "--no-window"]
    )
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(signal.SIGTERM, terminated)
    errors = capsys.readouterr().err.splitlines()
    (refusal,) = [line for line in errors if line.startswith("drift-robot: Camera")]  # a slow camera may warn as well
    assert ended.value.code == 2
    assert "Camera wrist, or the board, has been moved since its calibration" in refusal
    assert "calibrate hand-eye" in refusal
    assert "--uncalibrated" in refusal
    assert not (tmp_path / "run" / "demonstrations").exists()

    overridden = replace(config, calibration=replace(config.calibration, override="the stand was bumped"))
    said, episode = interrupted_in_its_first_episode(overridden, RunFolder(tmp_path / "run"))
    assert any("goes on all the same (the stand was bumped)" in sentence for sentence in said)
    noted = episode.attributes["calibration"]
    assert noted["override"] == "the stand was bumped"
    assert "has been moved" in noted["shortcoming"]
    assert noted["moved_px"]["wrist"] > config.calibration.max_moved_px
    kinds = {"wrist intrinsics", "wrist hand_eye", "cell workspace", "wrist latency", "arm latency"}
    assert set(noted["hashes"]) == kinds


def test_a_camera_in_place_is_noted_as_such(config: Config) -> None:
    calibrate(config, IN_PLACE)
    said: list[str] = []
    noted = calibration_record(config, "collect", said.append)["calibration"]
    assert any("Camera wrist is in place" in sentence for sentence in said)
    assert (noted["override"], noted["shortcoming"]) == ("", "")
    assert noted["moved_px"]["wrist"] < 1.0

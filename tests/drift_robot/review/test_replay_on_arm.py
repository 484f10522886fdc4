"""Episodes played again through the real driver on an emulated arm: closely, slowly, and stopped on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from data.session import finished_episodes
from drift_robot.run_folder import RunFolder
from hardware.emulation.process import EmulatedController

pytestmark = [pytest.mark.realtime, pytest.mark.timeout(300)]

HOST = "127.0.1.2"
CONFIG = f"""
cell: {{task: lift, track_objects: false, cameras: {{front: {{height: 48, width: 64}}}}}}
devices:
  arm: {{host: {HOST}, flange_from_tcp: [0.0, 0.0, 0.15, 0.0, 0.0, 0.0], max_age_s: 1.0, watchdog_hz: 1.0}}
  gripper: {{driver: robotiq, open_position: 0, closed_position: 255}}
  cameras: {{front: {{driver: webcam, source: 0}}}}
limits: {{arm_timeout_s: 1.0, command_timeout_s: 0.5}}
"""


class Rig:
    """An emulated CB3 arm, and replays of one episode on it."""

    def __init__(self, robot: EmulatedController, episode: Path, folder: Path) -> None:
        self.robot = robot
        self._episode, self._folder = episode, folder
        (folder / "arm.yaml").write_text(CONFIG)

    def replay(self, *options: str) -> "subprocess.Popen[str]":
        """Start `drift-robot replay` of the episode on the arm."""
        command = ("replay", str(self._episode), "--config", str(self._folder / "arm.yaml"), "--yes", "--json")
        return subprocess.Popen(
            [sys.executable, "-m", "drift_robot.cli", *command, "--out", str(self._folder / "out"), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        )

    def height(self) -> float:
        return float(self.robot.state()["tcp_position"][2])

    def until(self, what: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)

    def stands(self) -> bool:
        before = np.array(self.robot.state()["tcp_position"])
        time.sleep(0.2)
        return bool(np.abs(np.array(self.robot.state()["tcp_position"]) - before).max() < 1e-5)


@pytest.fixture(scope="module")
def rig(demonstrated: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with EmulatedController(HOST, "--controller-version", "3.15.0.0", "--task", "lift") as robot:
        yield Rig(robot, finished_episodes(demonstrated.demonstrations)[0], tmp_path_factory.mktemp("arm"))


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def test_the_arm_repeats_an_episode_through_the_driver_and_its_limits(rig: Rig) -> None:
    code, output, errors = ended(rig.replay("--speed", "1"))
    assert code == 0, errors
    shown = json.loads(output)
    assert shown["where"] == f"arm at {HOST}"
    assert shown["steps_played"] == shown["steps"]
    assert shown["shifted"]["rms_mm"] < 5.0
    assert f"The arm at {HOST} goes straight up" in errors
    assert rig.stands()


def test_ctrl_c_stops_the_arm_on_its_way_and_it_holds(rig: Rig) -> None:
    process = rig.replay("--speed", "0.5")
    rig.until(lambda: rig.height() > 0.3)
    rig.until(lambda: rig.height() < 0.28)
    process.send_signal(signal.SIGINT)
    code, output, errors = ended(process)
    assert code == 130, errors
    assert "goes on" not in errors, "another replay begins anew"
    shown = json.loads(output)
    assert shown["stopped"] == "Stopped: the arm holds."
    assert 0 < shown["steps_played"] < shown["steps"]
    assert rig.stands()
    assert rig.height() > 0.1

"""The emulated cell from other processes: seen through the link and through the real camera driver, and set up anew."""

import socket
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from hardware.cameras.config import RealSenseConfig, WebcamConfig
from hardware.cell.cell import Cell
from hardware.cell.tasks import TASKS
from hardware.clock import NS_PER_S, ManualClock
from hardware.emulation.admin import admin_path
from hardware.emulation.cell_camera import open_emulated_camera
from hardware.emulation.link import EmulatedCellLink
from hardware.errors import DeviceError

pytestmark = pytest.mark.realtime

CAMERA = RealSenseConfig("000000000001", width=160, height=120)
TOLERANCE_NS = NS_PER_S // 10
"""A busy machine delays pictures, and the driver learns only slowly by how much."""


def objects_of(seed, task="stacking"):
    cell = Cell(TASKS[task], physics_step_s=0.002, servo_period_s=0.002, clock=ManualClock())
    cell.reset(seed)
    return [pose.position for pose in cell.object_poses()]


def exhausts(camera):
    """Read what is still on its way, until no more frames come."""
    for _ in range(20):
        try:
            camera.read(0.5)
        except TimeoutError:
            return True
    return False


def red_share(frame):
    pixels = frame.image.astype(int)
    return float(((pixels[..., 0] > 90) & (pixels[..., 1] < 90) & (pixels[..., 2] < 90)).mean())


def test_a_link_sees_the_cell_and_puts_up_scenes_while_the_arm_stays(emulate, host):
    emulate("--task", "stacking", "--seed", "4")
    with EmulatedCellLink(host) as link:
        first = link.view()
        assert first.task == "stacking"
        assert abs(first.capture_ns - time.monotonic_ns()) < 2 * NS_PER_S
        np.testing.assert_allclose([pose.position for pose in first.scene.base_from_object], objects_of(4), atol=1e-3)
        assert link.put_up(7) == 1
        second = link.view()
        assert second.scene_number == 1
        assert second.capture_ns > first.capture_ns
        np.testing.assert_allclose([pose.position for pose in second.scene.base_from_object], objects_of(7), atol=1e-3)
        np.testing.assert_allclose(second.base_from_tcp.position, first.base_from_tcp.position, atol=1e-4)
        assert len(second.drawing) == len(first.drawing)
        twist, opening = TASKS["stacking"].expert(second.scene)
        assert np.isfinite(twist).all()
        assert opening == 1.0


def test_nobody_there_and_no_cell_are_one_sentence_each(emulate, host):
    with pytest.raises(DeviceError, match=f"start one with 'drift-robot emulate --host {host}'"):
        EmulatedCellLink(host)
    emulate()
    with pytest.raises(DeviceError, match="runs without a cell"):
        EmulatedCellLink(host)
    with pytest.raises(DeviceError, match="runs without a cell"):
        open_emulated_camera("front", CAMERA, host)


def test_a_link_outlives_the_emulator_and_finds_the_next_one(emulate, host):
    first = emulate("--task", "lift")
    with EmulatedCellLink(host) as link:
        link.put_up(1)
        first.close()
        with pytest.raises(DeviceError, match="No emulated robot runs"):
            link.view()
        emulate("--task", "lift")
        assert link.view().scene_number == 0


def test_the_admin_socket_is_for_this_user_alone_and_one_left_by_a_dead_emulator_is_replaced(emulate, host):
    path = admin_path(host)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    controller = emulate()
    assert controller.state()["runtime"] == "STOPPED"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    controller.close()
    assert not path.exists()


def test_while_its_emulator_refuses_connections_an_address_is_still_taken(emulate, host):
    controller = emulate()
    controller.do("refuse", on=True)
    result = subprocess.run(
        [sys.executable, "-m", "hardware.emulation", "--host", host], capture_output=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert b"Another emulated controller has" in result.stderr
    assert controller.state()["refuse"]


@pytest.mark.parametrize("name", ["front", "wrist"])
def test_a_camera_shows_the_cell_with_the_time_of_its_physics_and_leaves_nothing_behind(emulate, host, name):
    emulate("--task", "lift", "--seed", "1")
    threads = threading.active_count()
    in_sight = next(
        seed for seed in range(100) if np.linalg.norm(objects_of(seed, "lift")[0] - [0.5, 0.0, 0.02]) < 0.06
    )
    with EmulatedCellLink(host) as link:
        camera = open_emulated_camera(name, CAMERA, host)
        before = [camera.read(5.0) for _ in range(20)][-1]
        assert before.image.shape == (120, 160, 3)
        asked_ns = time.monotonic_ns()
        link.put_up(in_sight)
        done_ns = time.monotonic_ns()
        frames = [camera.read(5.0) for _ in range(20)]
    changed = [bool(np.abs(frame.image.astype(int) - before.image).max() > 60) for frame in frames]
    first = changed.index(True)
    assert all(changed[first:])
    assert red_share(frames[-1]) > 0.0
    assert all(frame.capture_ns < done_ns + TOLERANCE_NS for frame in frames[:first])
    assert all(frame.capture_ns > asked_ns - TOLERANCE_NS for frame in frames[first:])
    assert camera.counts.restarts == 0
    assert camera.problem == ""
    camera.close()
    assert threading.active_count() == threads


def test_a_camera_whose_cell_is_gone_says_that_no_frames_come_and_goes_on_with_the_next(emulate, host):
    controller = emulate("--task", "lift")
    camera = open_emulated_camera("wrist", CAMERA, host)
    camera.read(5.0)
    controller.close()
    time.sleep(0.2)
    assert exhausts(camera)
    emulate("--task", "lift")
    assert camera.read(10.0).image.any()
    camera.close()


def test_a_webcam_of_the_configuration_is_a_realsense_in_the_emulated_cell(emulate, host):
    emulate("--task", "lift")
    camera = open_emulated_camera("front", WebcamConfig(0, width=64, height=48), host)
    assert camera.read(5.0).image.shape == (48, 64, 3)
    camera.close()


def test_a_camera_that_the_cell_does_not_have_is_named(host):
    with pytest.raises(DeviceError, match="has no camera 'side'; call the cameras front and wrist"):
        open_emulated_camera("side", CAMERA, host)

"""`drift-robot emulate` and `drift-robot fault` as their user meets them, with the real arm driver in between."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import numpy as np
import pytest
from tiny_run import cli, finished, group_is_empty, wait_for

from hardware.arms.ur import UrArm
from hardware.arms.ur_config import UrConfig
from hardware.emulation.link import EmulatedCellLink
from hardware.interfaces import Safety
from hardware.poses import Pose

pytestmark = pytest.mark.realtime

HOST = f"127.{1 + os.getpid() % 250}.{os.getpid() // 250 % 250}.254"
TCP = (0.0, 0.0, 0.15, 0.0, 0.0, 0.0)


@pytest.fixture
def emulator() -> Iterator[subprocess.Popen[str]]:
    process = cli("emulate", "--host", HOST, "--task", "lift", "--seed", "3")
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture
def arm(emulator: subprocess.Popen[str]) -> Iterator[UrArm]:
    """The real driver on the emulated arm, with bounds that a busy machine keeps."""
    assert emulator.stdout is not None
    said = [emulator.stdout.readline() for _ in range(4)]
    assert f"at {HOST} in the simulated cell, task lift: rtde 30004" in said[0]
    assert f"drift-robot fault {HOST}" in said[2]
    arm = UrArm(
        UrConfig(
            HOST,
            flange_from_tcp=TCP,
            max_age_s=1.0,
            watchdog_hz=1.0,
            connect_timeout_s=60.0,
            respawn_pause_s=0.2,
            realtime=False,
        )
    )
    yield arm
    arm.close()


def fault(*arguments: str) -> str:
    code, output, errors = finished(cli("fault", HOST, *arguments))
    assert (code, errors) == (0, "")
    return output


def test_the_real_driver_moves_the_arm_a_fault_by_command_is_seen_and_ctrl_c_ends_it_all(
    emulator: subprocess.Popen[str], arm: UrArm
) -> None:
    assert "arm on; no stop; control program playing" in fault()

    start = arm.read().base_from_tcp
    with EmulatedCellLink(HOST) as link:
        np.testing.assert_allclose(link.view().base_from_tcp.position, start.position, atol=2e-3)
        for step in range(100):
            arm.servo(Pose(start.position + np.array([0.0, 0.0, -0.0003 * (step + 1)]), start.rotation))
            time.sleep(0.004)
        wait_for(lambda: link.view().base_from_tcp.position[2] < start.position[2] - 0.02, 20.0)

    assert "protective stop" in fault("protective-stop")
    wait_for(lambda: arm.read().safety is Safety.PROTECTIVE_STOP, 20.0)
    assert arm.fault is not None

    fault("unlock-delay", "0")
    arm.recover()
    wait_for(lambda: arm.read().safety is Safety.NORMAL and arm.armed, 30.0)

    os.killpg(emulator.pid, signal.SIGINT)
    code, output, errors = finished(emulator, 30.0)
    assert (code, errors) == (0, "")
    assert output.endswith("The emulated robot has ended.\n")
    assert group_is_empty(emulator.pid)
    wait_for(lambda: arm.read().safety is Safety.DISCONNECTED, 30.0)


def test_an_address_that_is_taken_is_one_sentence_and_exit_code_2(emulator: subprocess.Popen[str], arm: UrArm) -> None:
    code, output, errors = finished(cli("emulate", "--host", HOST))
    assert (code, output) == (2, "")
    assert "use another 127.0.0.x address" in errors
    assert len(errors.strip().splitlines()) == 1
    assert arm.read().safety is Safety.NORMAL

"""The arm process with the real drivers against an emulated robot, while the operator holds her stick over throughout.

Whatever fails, the arm comes to rest, she is told why, and it moves again only at her word.
"""

import itertools
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from fault_bench import Operator, stick_held
from realtime_bench import eventually, running

from drift_robot.gate import FaultCleared, GateConfig, Phase, ResetDone
from drift_robot.realtime.arm_process import SESSION, ArmSetup, run_arm
from drift_robot.realtime.lines import Lines
from drift_robot.realtime.messages import Speaker
from hardware.arms.limits import ArmLimits
from hardware.arms.ur import UrArm
from hardware.arms.ur_config import UrConfig
from hardware.devices import DevicesConfig
from hardware.emulation.process import EmulatedController
from hardware.errors import DeviceError
from hardware.grippers.robotiq import RobotiqConfig
from hardware.interfaces import Verb
from hardware.poses import Array
from hardware.rings import RingReader

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def ur_process(host: str) -> int:
    """Return the number of the process that holds the connection to a robot."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = command.read_bytes()
            if b"hardware.arms.ur_process" in words and f'"{host}"'.encode() in words:
                return int(command.parent.name)
    raise AssertionError("there is no such process")


class Case(NamedTuple):
    """A fault: how it comes about, what the operator is told, and how it is mended."""

    name: str
    happens: Callable[[EmulatedController], object]
    told: str
    mended: Callable[[EmulatedController], object] = lambda robot: None


def _switched_off(robot: EmulatedController) -> None:
    robot.do("remote_control", on=False)
    robot.do("end_program")


def _powered(robot: EmulatedController) -> None:
    robot.do("emergency_stop", on=False)
    robot.do("power_on")


CASES = (
    Case("protective stop", lambda robot: robot.do("protective_stop"), "The robot made a protective stop"),
    Case("emergency stop", lambda robot: robot.do("emergency_stop", on=True), "emergency stop", _powered),
    Case(
        "remote control off",
        _switched_off,
        "control program on the robot has stopped",
        lambda robot: robot.do("remote_control", on=True),
    ),
    Case("gripper gone", lambda robot: robot.do("drop", service="robotiq"), "gripper at .* then confirm"),
    Case("RTDE dropped", lambda robot: robot.do("drop", service="rtde"), "robot at .* (silent|ended|reached)"),
    Case(
        "RTDE frozen",
        lambda robot: robot.do("freeze", on=True),
        "robot at .* (silent|ended)",
        lambda robot: robot.do("freeze", on=False),
    ),
    Case(
        "RTDE silent",
        lambda robot: robot.do("silence", on=True),
        "(robot|gripper) at .* (silent|ended|broke)",
        lambda robot: robot.do("silence", on=False),
    ),
    Case("link crashed", lambda robot: os.kill(ur_process(robot.host), signal.SIGSEGV), "ended .signal 11"),
    Case("link hung", lambda robot: os.kill(ur_process(robot.host), signal.SIGSTOP), "went silent"),
)


def setup(host: str) -> ArmSetup:
    bounds = {"max_age_s": 1.0, "watchdog_hz": 1.0, "connect_timeout_s": 60.0, "respawn_pause_s": 0.2}
    arm = UrConfig(host=host, realtime=False, **bounds)  # type: ignore[arg-type]
    limits = ArmLimits(arm_timeout_s=3.0, device_timeout_s=3.0)
    devices = DevicesConfig(arm=arm, gripper=RobotiqConfig(timeout_s=2.0))
    return ArmSetup(GateConfig(mode="collect"), limits, devices, 0.002)


def test_whatever_fails_the_arm_rests_says_why_and_waits_for_the_operators_word_while_the_stick_is_held(
    lines: Lines, emulate: Callable[..., EmulatedController], monkeypatch: pytest.MonkeyPatch
) -> None:
    leaps = itertools.cycle((0.0, 1e9, -3600.0, 86_400.0))
    monkeypatch.setattr(time, "time", lambda: next(leaps))  # the wall clock is stepped all the time
    robot = emulate("--unlock-delay-s", "0.3")
    operator, control, arm = Operator(lines), Speaker(lines.words["control"]), RingReader(lines.arm)

    def position() -> Array:
        return np.array(robot.state()["tcp_position"])

    def at_start() -> bool:
        newest = arm.latest()
        return newest is not None and bool(newest.value["at_start"])

    with stick_held(lines) as push, running(run_arm, setup(robot.host), "arm", lines):
        push(1.0)
        assert operator.sees(Phase.FAULT)
        assert "has just started: press reset" in operator.fault
        assert operator.stays(Phase.FAULT, position)
        control.say(FaultCleared(SESSION))
        operator.press(Verb.RESET, Phase.RESETTING)
        assert eventually(at_start)
        control.say(ResetDone())
        for number, case in enumerate(CASES):
            push(-1.0 if number % 2 else 1.0)
            operator.press(Verb.RESUME, Phase.EXPERT)
            assert operator.moves(position), case.name
            case.happens(robot)
            assert operator.hears(case.told), (case.name, operator.heard)
            assert operator.sees(Phase.FAULT), case.name
            assert operator.stays(Phase.FAULT, position), case.name
            if case.name == "remote control off":
                with pytest.raises(AssertionError, match="is in local control: switch it to remote control"):
                    operator.press(Verb.RESUME, Phase.EXPERT, patience_s=3.0)
            case.mended(robot)
            assert operator.stays(Phase.FAULT, position), f"{case.name}: it went on by itself"
        operator.press(Verb.RESUME, Phase.EXPERT)
        assert operator.moves(position)


def test_a_second_session_on_a_robot_is_refused_in_a_sentence_and_the_first_goes_on(
    lines: Lines, emulate: Callable[..., EmulatedController]
) -> None:
    robot = emulate("--controller-version", "3.15")
    devices = setup(robot.host).devices
    assert devices is not None
    operator = Operator(lines)
    with running(run_arm, setup(robot.host), "arm", lines):
        assert operator.sees(Phase.FAULT)
        with pytest.raises(DeviceError, match=f"robot at {robot.host} is driven by another session or program: end"):
            UrArm(devices.arm)
        assert "has just started: press reset" in operator.fault, "the first one has not noticed"

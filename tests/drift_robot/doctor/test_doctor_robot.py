"""The doctor on an emulated controller: what is wrong there is found, in bounded time, and nothing is changed by it."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from tiny_run import wait_for

from drift_robot.doctor.apart import Job, run_apart
from drift_robot.doctor.findings import Finding, Level
from drift_robot.doctor.robot import check_gripper, check_robot, stream
from hardware.arms.limits import ArmLimits
from hardware.arms.ur_reader import Listening, Package, listen
from hardware.clock import NS_PER_S
from hardware.devices import DevicesConfig
from hardware.emulation.process import EmulatedController
from hardware.errors import DeviceError

Emulate = Callable[..., EmulatedController]
TIMEOUT_S = 60.0


def examined(devices: DevicesConfig) -> dict[str, Finding]:
    """Return what is found by subject, measured in a process of its own as the doctor does."""
    said = run_apart(Job("robot", TIMEOUT_S, check_robot, (devices, ArmLimits())))
    return {finding.subject: finding for finding in said if isinstance(finding, Finding)}


def test_a_robot_that_is_ready_is_found_ready_and_left_alone(emulate: Emulate, devices: DevicesConfig) -> None:
    controller = emulate()
    before = controller.state()
    found = examined(devices)
    timed = ("robot network", "robot data")  # as good as this machine is idle
    assert {f.level for f in found.values() if f.subject not in timed} <= {Level.OK, Level.NOTE}, found
    assert set(found) == {
        *("robot software", "robot network", "robot data", "remote control", "robot state", "tool (TCP)", "payload"),
        *("pose", "start pose", "force", "ur-rtde"),
    }
    assert "of 500 packages" in found["robot data"].found
    # The robot has no tool set: the pose is reckoned with the configured one, 150 mm further down.
    assert f"{1e3 * (before['tcp_position'][2] - 0.15):.0f}) mm" in found["pose"].found
    assert controller.events() == []
    assert controller.do("commands")["commands"] == []
    after = controller.state()
    assert all(np.array_equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize(
    ("options", "fault", "subject", "words"),
    [
        (("--local-control",), None, "remote control", "local control"),
        ((), {"name": "protective_stop"}, "robot state", "protective stop"),
        ((), {"name": "emergency_stop", "on": True}, "robot state", "emergency stop at the robot"),
        ((), {"name": "freeze", "on": True}, "robot data", "sends no data"),
        ((), {"name": "silence", "on": True}, "robot", "takes the connection but never answers"),
        ((), {"name": "refuse", "on": True}, "robot", "Nothing answers at"),
    ],
    ids=["local control", "protective stop", "emergency stop", "freeze", "silence", "refuse"],
)
def test_what_is_wrong_with_the_robot_is_found(
    emulate: Emulate,
    devices: DevicesConfig,
    options: tuple[str, ...],
    fault: dict[str, object] | None,
    subject: str,
    words: str,
) -> None:
    controller = emulate(*options)
    if fault is not None:
        controller.do(**fault)  # type: ignore[arg-type]
    began_s = time.monotonic()
    found = examined(devices)
    assert time.monotonic() - began_s < TIMEOUT_S
    assert found[subject].level is Level.PROBLEM
    assert words in found[subject].found


def test_a_cb3_controller_is_expected_to_send_125_packages_a_second(emulate: Emulate, devices: DevicesConfig) -> None:
    emulate("--controller-version", "3.15.0.0")
    found = examined(devices)
    assert "of 125 packages" in found["robot data"].found
    assert "always on" in found["remote control"].found


def test_polyscope_x_has_no_dashboard_to_ask(emulate: Emulate, devices: DevicesConfig) -> None:
    emulate("--controller-version", "10.10.0.0")
    found = examined(devices)
    assert found["remote control"].level is Level.NOTE
    assert found["robot software"].found == "PolyScope X 10.10.0"


def test_variables_that_an_old_controller_does_not_have_are_left_out(emulate: Emulate, host: str) -> None:
    emulate("--controller-version", "5.4.0.0")
    heard = listen(host, 0.5)
    assert heard.packages
    assert {"tcp_offset", "payload"}.isdisjoint(heard.packages[0].values)
    assert len(heard.packages[0].values["actual_TCP_pose"]) == 6


def test_an_address_where_nobody_is_is_said_at_once(host: str) -> None:
    with pytest.raises(DeviceError, match=rf"^Nothing answers at {host}:30004 .*: switch the robot on"):
        listen(host, 1.0)


def test_missing_packages_and_the_longest_gap_are_told_from_the_stamps() -> None:
    stamps = [0.000, 0.002, 0.004, 0.010, 0.012]
    receipts_ns = [0, 2_000_000, 4_000_000, 10_000_000, 12_000_000]
    packages = tuple(Package(ns, {"timestamp": s}) for ns, s in zip(receipts_ns, stamps, strict=True))
    seen = stream(Listening((5, 12, 0), (0.001,), packages, 52_000_000))
    assert (seen.received, seen.missing) == (5, 2)
    assert seen.longest_gap_s == pytest.approx(0.040)
    assert seen.rate_hz == pytest.approx(5 / 0.052)
    assert stream(Listening((5, 12, 0), (0.001,), (), 2 * NS_PER_S)).received == 0


def gripper(devices: DevicesConfig) -> Finding:
    (finding,) = (said for said in check_gripper(devices) if isinstance(said, Finding))
    return finding


def test_a_gripper_is_asked_but_not_activated(emulate: Emulate, devices: DevicesConfig) -> None:
    emulate()
    for _ in range(2):
        assert gripper(devices).level is Level.NOTE
        assert "not activated" in gripper(devices).found


def test_a_gripper_without_power_or_without_an_answer_stops_a_session(emulate: Emulate, devices: DevicesConfig) -> None:
    controller = emulate()
    controller.do("emergency_stop", on=True)
    wait_for(lambda: gripper(devices).found == "The gripper is without power.", 10.0)  # from the next cycle on
    controller.do("silence", on=True)
    assert "broke (timed out)" in gripper(devices).found
    controller.do("refuse", on=True)
    wait_for(lambda: "cannot be reached" in gripper(devices).found, 10.0)

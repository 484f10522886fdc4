"""The UR driver with the real ur-rtde against an emulated controller: every way in which the link is known to break.

Each time: a defined state in bounded time, no motion after it, one sentence, and recovery only when confirmed.
"""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from hardware.arms.ur import UrArm
from hardware.arms.ur_dashboard import UrDashboard
from hardware.arms.ur_process import POLL_S, REALTIME_PRIORITY, _measured_period_s
from hardware.emulation.program import SERVO_LINE
from hardware.errors import DeviceError
from hardware.grippers.ur_output import UrOutputConfig, UrOutputGripper
from hardware.interfaces import Safety
from hardware.poses import Pose

pytestmark = pytest.mark.realtime
MOVING = (0.0, 0.05, 0.0)


@pytest.mark.parametrize(("version", "period_s"), [("3.15", 0.008), ("5.12", 0.002), ("5.23", 0.002), ("10.10", 0.002)])
def test_the_arm_follows_its_commands_on_every_controller_generation(ur, version, period_s):
    rig = ur("--controller-version", version, flange_from_tcp=(0.0, 0.0, 0.1, 0.0, 0.0, 0.0), payload_kg=1.2)
    assert rig.arm.servo_period_s == period_s
    start = rig.position()
    rig.servo(0.6, MOVING)
    assert rig.arrives()
    state = rig.arm.read()
    assert state.safety is Safety.NORMAL
    assert rig.arm.fault is None
    np.testing.assert_allclose(rig.position(), rig.target.position, atol=1e-3)
    assert rig.position()[1] - start[1] > 0.005
    truth = rig.controller.state()
    np.testing.assert_allclose(state.joints, truth["joints"], atol=1e-3)
    assert truth["payload_kg"] == 1.2
    assert truth["flange_from_tcp"] == [0.0, 0.0, 0.1]


def test_readings_are_stamped_on_the_hosts_clock_in_rising_order(ur):
    rig = ur()
    stamps = []
    for _ in range(100):
        stamps.append(rig.arm.read().capture_ns)
        assert time.monotonic_ns() >= stamps[-1]
        time.sleep(0.002)
    assert (np.diff(stamps) >= 0).all()
    assert np.median(time.monotonic_ns() - np.array(stamps[-1:])) < 0.5e9


def test_without_fresh_commands_the_arm_holds_and_goes_on_with_the_next_one(ur):
    rig = ur()
    rig.servo(0.5, MOVING)
    time.sleep(0.5)
    assert rig.at_rest()
    assert rig.arm.fault is None
    rig.target = rig.arm.read().base_from_tcp
    assert rig.moves()


def test_stop_brings_the_arm_to_rest_without_a_fault(ur):
    rig = ur()
    rig.servo(0.5, MOVING)
    rig.arm.stop()
    time.sleep(0.3)
    assert rig.at_rest()
    assert rig.arm.fault is None
    assert rig.starts() == 1


def test_a_protective_stop_is_told_and_ended_only_by_the_operators_word(ur):
    rig = ur("--unlock-delay-s", "1.5")
    rig.servo(0.3, MOVING)
    rig.controller.do("protective_stop")
    assert rig.until(lambda: rig.safety() is Safety.PROTECTIVE_STOP, 2.0)
    assert rig.until(lambda: rig.arm.fault is not None, 2.0)
    assert "protective stop" in rig.arm.fault
    assert not rig.moves()
    rig.arm.recover()
    assert rig.until(lambda: "Cannot unlock" in (rig.arm.fault or ""), 5.0)
    time.sleep(1.5)
    assert not rig.moves()
    assert rig.recover()
    assert rig.moves()


def test_a_protective_stop_unlocked_at_the_pendant_still_needs_the_operators_word(ur):
    rig = ur("--unlock-delay-s", "0")
    rig.controller.do("protective_stop")
    assert rig.until(lambda: rig.arm.fault is not None, 5.0)
    with UrDashboard(rig.controller.host) as dashboard:
        dashboard.unlock_protective_stop()
    assert not rig.moves()
    assert rig.safety() is Safety.PROTECTIVE_STOP
    assert rig.starts() == 1
    assert rig.recover()


def test_after_an_emergency_stop_the_arm_waits_for_power_and_for_the_operators_word(ur):
    rig = ur()
    rig.servo(0.3, MOVING)
    rig.controller.do("emergency_stop", on=True)
    assert rig.until(lambda: rig.safety() is Safety.EMERGENCY_STOP and rig.arm.fault is not None, 2.0)
    assert "brakes at the pendant" in rig.arm.fault
    rig.controller.do("emergency_stop", on=False)
    rig.arm.recover()
    time.sleep(0.5)
    assert rig.safety() is Safety.EMERGENCY_STOP
    with UrDashboard(rig.controller.host) as dashboard:
        dashboard.ask("power on")
        dashboard.ask("brake release")
        assert dashboard.robot_mode() == "RUNNING"
    assert not rig.moves()
    assert rig.recover()
    assert rig.moves()


@pytest.mark.parametrize("service", ["rtde", "all"])
def test_a_cut_connection_stops_the_arm_and_is_made_anew_without_motion(ur, service):
    rig = ur()
    rig.servo(0.3, MOVING)
    rig.controller.do("drop", service=service)
    assert rig.until(lambda: rig.safety() is Safety.DISCONNECTED, 2.0)
    assert rig.controller.host in rig.arm.fault
    newest = rig.arm.read().capture_ns
    assert rig.until(lambda: rig.arm.read().capture_ns > newest + 10**8)
    assert not rig.moves()
    assert rig.safety() is Safety.DISCONNECTED
    assert rig.starts() == 1
    assert rig.recover()
    assert rig.moves()


def test_while_the_robot_is_down_every_try_is_bounded_and_nothing_moves(ur):
    rig = ur()
    rig.controller.do("refuse", on=True)
    rig.controller.do("drop", service="all")
    assert rig.until(lambda: rig.safety() is Safety.DISCONNECTED, 2.0)
    assert rig.until(lambda: "cannot be reached" in (rig.arm.fault or ""), 60.0)
    started = time.monotonic()
    rig.arm.servo(rig.target)
    rig.arm.recover()
    assert "no link to the robot" in rig.arm.fault
    assert time.monotonic() - started < 1.0
    rig.controller.do("refuse", on=False)
    newest = rig.arm.read().capture_ns
    assert rig.until(lambda: rig.arm.read().capture_ns > newest)
    assert rig.recover()
    assert rig.moves()


@pytest.mark.parametrize("fault", ["freeze", "silence"])
def test_a_link_without_data_counts_as_lost_by_the_age_of_its_stamps(ur, fault):
    rig = ur()
    rig.servo(0.3, MOVING)
    rig.controller.do(fault, on=True)
    started = time.monotonic()
    assert rig.until(lambda: rig.safety() is Safety.DISCONNECTED, 5.0)
    assert time.monotonic() - started < 2.4  # the library itself needs 2.5 s, or crashes
    assert "went silent" in rig.arm.fault or "signal" in rig.arm.fault
    assert rig.watchdog_ends_program()
    rig.controller.do(fault, on=False)
    newest = rig.arm.read().capture_ns
    assert rig.until(lambda: rig.arm.read().capture_ns > newest)
    assert not rig.moves()
    assert rig.starts() == 1
    assert rig.recover()
    assert rig.moves()


def test_a_link_that_turns_slow_counts_as_lost(ur):
    rig = ur()
    rig.controller.do("slow", seconds=1.0)
    assert rig.until(lambda: rig.safety() is Safety.DISCONNECTED, 2.0)
    assert rig.arm.fault is not None


def test_a_killed_process_is_noticed_and_the_controller_stops_the_arm_by_itself(ur):
    rig = ur()
    rig.servo(0.3, MOVING)
    os.kill(rig.arm._process.pid, signal.SIGKILL)
    assert rig.until(lambda: rig.safety() is Safety.DISCONNECTED, 2.0)
    assert "signal 9" in rig.arm.fault
    assert rig.watchdog_ends_program()


def test_a_hanging_process_is_killed_and_replaced(ur):
    rig = ur()
    hanging = rig.arm._process
    os.kill(hanging.pid, signal.SIGSTOP)
    assert rig.until(lambda: rig.safety() is Safety.DISCONNECTED, 2.0)
    assert hanging.poll() == -signal.SIGKILL
    newest = rig.arm.read().capture_ns
    assert rig.until(lambda: rig.arm.read().capture_ns > newest)
    assert rig.recover()


def test_a_program_that_is_stopped_on_the_robot_is_not_started_again_unasked(ur):
    rig = ur()
    rig.controller.do("end_program")
    assert rig.until(lambda: rig.arm.fault is not None, 2.0)
    assert "control program on the robot has stopped" in rig.arm.fault
    assert not rig.moves()
    assert rig.starts() == 1
    assert rig.recover()
    assert rig.moves()


def test_a_pose_that_the_arm_cannot_reach_ends_the_program_but_not_the_next_one(ur):
    rig = ur(leash_m=0.5)
    while rig.arm.fault is None and rig.position()[0] < 1.0:
        rig.servo(0.5, (0.03, 0.0, 0.0))
    assert "control program on the robot has stopped" in rig.arm.fault
    assert "no solution" in rig.controller.events()[-1]
    assert rig.recover()
    rig.servo(0.5, (-0.05, 0.0, 0.0))
    assert rig.arm.fault is None


def test_a_new_program_obeys_nothing_that_was_meant_for_the_last_one(ur):
    rig = ur()
    rig.servo(0.2, MOVING)
    rig.controller.do("end_program")
    assert rig.until(lambda: rig.arm.fault is not None, 2.0)
    servoed = rig.controller.do("commands")["commands"]
    assert any(command["number"] == SERVO_LINE for command in servoed)
    assert rig.recover()
    assert not any(command["number"] == SERVO_LINE for command in rig.controller.do("commands")["commands"])


def test_a_jump_is_refused_and_holds_the_arm_until_confirmed(ur):
    rig = ur()
    rig.servo(0.2)
    before = rig.position()
    rig.arm.servo(Pose(rig.target.position + np.array([0.0, 0.3, 0.0]), rig.target.rotation))
    assert rig.until(lambda: rig.arm.fault is not None, 2.0)
    assert "jumped by 300 mm" in rig.arm.fault
    assert rig.safety() is Safety.PROTECTIVE_STOP
    time.sleep(0.3)
    np.testing.assert_allclose(rig.position(), before, atol=1e-3)
    assert not rig.controller.state()["protective_stop"]
    assert rig.recover()
    assert rig.moves()


NO_POSES = {
    "not finite": Pose(np.array([0.4, 0.0, np.nan]), np.eye(3)),
    "shapes": Pose(np.array([0.4, 0.0]), np.eye(3)),
    "not a rotation matrix": Pose(np.array([0.4, 0.0, 0.3]), 2 * np.eye(3)),
    "'s rotation is": Pose(np.array([0.4, 0.0, 0.3]), np.diag([1.0, 1.0, -1.0])),
}


def test_a_target_that_is_no_pose_never_leaves_the_driver(ur):
    rig = ur()
    for words, pose in NO_POSES.items():
        with pytest.raises(DeviceError, match=words):
            rig.arm.servo(pose)
    rig.servo(0.1)
    assert rig.arm.fault is None


def test_a_server_that_accepts_but_never_answers_cannot_hang_the_caller(emulate, config):
    controller = emulate()
    controller.do("silence", on=True)
    ticks = []
    ending = threading.Event()

    def count():
        while not ending.wait(0.01):
            ticks.append(time.monotonic())

    counter = threading.Thread(target=count)
    counter.start()
    started = time.monotonic()
    with pytest.raises(DeviceError, match="did not answer within 4 s"):
        UrArm(config(connect_timeout_s=4.0))
    ending.set()
    counter.join()
    assert 4.0 <= time.monotonic() - started < 8.0
    assert np.diff(ticks).max() < 1.0  # the library's constructors would have held the interpreter lock throughout


def test_a_handshake_without_data_cannot_hang_the_caller(emulate, host, config):
    emulate().do("freeze", on=True)
    started = time.monotonic()
    with pytest.raises(DeviceError, match=host):
        UrArm(config(connect_timeout_s=6.0))
    assert time.monotonic() - started < 15.0


def test_a_cycle_is_not_guessed_when_the_first_data_come_late():
    silence = itertools.repeat(0.0, round(1.2 / POLL_S))
    stamps = itertools.chain(silence, itertools.count(0.0, 0.008))
    assert _measured_period_s(SimpleNamespace(getTimestamp=lambda: next(stamps))) == 0.008


def test_nobody_there_is_said_in_a_sentence(host, config):
    with pytest.raises(DeviceError, match=f"The robot at {host} cannot be reached .*check its address"):
        UrArm(config())


def test_local_control_is_said_in_a_sentence(emulate, config):
    emulate("--local-control")
    with pytest.raises(DeviceError, match="switch it to remote control"):
        UrArm(config())


def test_a_protective_stop_before_the_session_is_said_and_not_unlocked(emulate, config):
    controller = emulate("--unlock-delay-s", "0")
    controller.do("protective_stop")
    with pytest.raises(DeviceError, match="protective stop"):
        UrArm(config())
    assert controller.state()["protective_stop"]


def test_two_drivers_on_one_robot_are_refused_and_the_first_goes_on(ur, config):
    rig = ur()
    with pytest.raises(DeviceError, match=rig.controller.host):
        UrArm(config())
    assert rig.until(lambda: rig.safety() is Safety.NORMAL)
    assert rig.moves()


def test_when_the_application_dies_the_arm_stops_and_no_process_is_left(emulate, host):
    controller = emulate()
    script = f"""
        import os, time
        from hardware.arms.ur import UrArm
        from hardware.arms.ur_config import UrConfig
        from hardware.poses import Pose
        arm = UrArm(UrConfig(host="{host}", connect_timeout_s=60.0, max_age_s=0.5, watchdog_hz=2.0, realtime=False))
        print(arm._process.pid, flush=True)
        pose = arm.read().base_from_tcp
        for i in range(200):
            pose = Pose(pose.position + [0, 0.0001, 0], pose.rotation)
            arm.servo(pose)
            time.sleep(0.002)
        os._exit(1)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    application = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, env=environment
    )
    output, _ = application.communicate(timeout=60.0)
    deadline = time.monotonic() + 5.0
    while os.path.exists(f"/proc/{int(output)}") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{int(output)}")
    before = controller.state()["tcp_position"]
    time.sleep(0.2)
    assert controller.state()["tcp_position"] == before
    assert controller.state()["runtime"] == "STOPPED"


def may_have_real_time() -> bool:
    """Tell whether this user may use SCHED_FIFO and the highest priorities."""
    asked = (
        "import os; os.setpriority(os.PRIO_PROCESS, 0, -20);"
        f"os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param({REALTIME_PRIORITY}))"
    )
    return subprocess.run([sys.executable, "-c", asked], capture_output=True).returncode == 0


@pytest.mark.parametrize("realtime", [True, False])
def test_of_a_link_process_and_the_one_in_its_place_only_our_own_threads_have_real_time(ur, realtime):
    """Those of the library poll. The one that takes its place is started by an arm process that has real time."""
    if not may_have_real_time():
        pytest.skip("needs the right to SCHED_FIFO and to the highest priorities")
    rig = ur(realtime=realtime)
    assert rig.moves()
    first, process = schedules(rig), rig.arm._process
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(30))
    try:
        process.kill()
        assert rig.until(lambda: rig.arm._process is not process and rig.arm._linked)
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    for threads in (first, schedules(rig)):
        ours = [policy for policy, _ in threads if policy == os.SCHED_FIFO]
        theirs = [niceness for policy, niceness in threads if policy == os.SCHED_OTHER]
        assert len(ours) == (2 if realtime else 0)
        assert set(theirs) == {-20 if realtime else os.getpriority(os.PRIO_PROCESS, 0)}


def schedules(rig) -> list[tuple[int, int]]:
    """Return scheduling policy and niceness of every thread of the link process."""
    threads = [int(name) for name in os.listdir(f"/proc/{rig.arm._process.pid}/task")]
    return [(os.sched_getscheduler(thread), os.getpriority(os.PRIO_PROCESS, thread)) for thread in threads]


def test_a_digital_output_drives_a_gripper_while_the_arm_is_ready(ur):
    rig = ur(digital_outputs=True)
    gripper = UrOutputGripper(UrOutputConfig(output=2, travel_s=0.05), rig.arm)
    gripper.move(0.0)
    assert rig.until(lambda: gripper.read() == 0.0, 5.0)
    assert rig.controller.state()["digital_outputs"] == 0b100
    rig.controller.do("protective_stop")
    deadline = time.monotonic() + 2.0
    while rig.safety() is Safety.NORMAL and time.monotonic() < deadline:
        pass  # at once with the first state that tells of the stop: the driver has not heard yet that it is disarmed
    gripper.move(1.0)
    time.sleep(0.2)
    assert rig.controller.state()["digital_outputs"] == 0b100


def test_closing_leaves_the_robot_without_a_running_program(emulate, config):
    controller = emulate()
    arm = UrArm(config())
    arm.close()
    assert controller.state()["runtime"] == "STOPPED"


def test_without_the_library_the_operator_is_told_what_to_install(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "rtde_control", None)
    with pytest.raises(DeviceError, match=r"pip install 'drift-robot\[ur\]'"):
        UrArm(config())

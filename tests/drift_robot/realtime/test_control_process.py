"""The control process of a real cell, with the test in the place of arm and camera."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from realtime_bench import eventually, life_of, running

from calibration.latencies import Latencies
from data.schema import Owner
from drift_robot.alarm import RAISED, AlarmConfig
from drift_robot.arm_loop import ArmSnapshot
from drift_robot.control import ControlConfig
from drift_robot.gate import Fault, FaultCleared, HelpWanted, Phase
from drift_robot.realtime import records
from drift_robot.realtime.arm_process import SESSION
from drift_robot.realtime.control_process import ControlSetup, Devices, run_control
from drift_robot.realtime.lines import Lines
from drift_robot.realtime.messages import Listener, Message, Ready, Said
from drift_robot.status import Cadence
from hardware.arms.controller import Authority
from hardware.clock import NS_PER_S
from hardware.interfaces import ArmState
from hardware.poses import Pose
from hardware.rings import RingReader, RingWriter

TIMEOUT_S = 0.6
SPEED_M_S = 0.2


def setup(run: Path) -> ControlSetup:
    return ControlSetup(
        run=run,
        loop=ControlConfig(NS_PER_S // 10, 2, 8, 1, AlarmConfig(), NS_PER_S // 2),
        simulated=False,
        emulator=None,
        tracked=None,
        camera_timeout_s=TIMEOUT_S,
        gating=None,
        compute="cpu",
        acts=False,
        adapts=False,
        scripted=False,
        seed=0,
        phase="demonstrations",
        first_scene=0,
        planned=1,
        done=0,
    )


def snapshot(time_ns: int) -> ArmSnapshot:
    """An arm that moves steadily along x, and a gripper that closes."""
    seconds = time_ns / NS_PER_S
    pose = Pose(np.array([SPEED_M_S * seconds, 0.0, 0.3]), np.eye(3))
    return ArmSnapshot(
        time_ns=time_ns,
        state=ArmState(time_ns, np.full(6, seconds), np.zeros(6), pose, np.zeros(6)),
        gripper=1.0 - seconds / 1000,
        commanded=pose,
        commanded_gripper=1.0,
        proposed=pose,
        authority=Authority.HOLD,
        phase=Phase.IDLE,
        owner=Owner.TRANSITION,
        owner_since_ns=0,
        recovered=False,
        watermark_ns=0,
    )


def write(ring: RingWriter, time_ns: int, rate_hz: float = 500.0) -> None:
    ring.write(records.arm_fields(snapshot(time_ns), 0, (), Cadence(rate_hz, rate_hz)))


@contextmanager
def repeated(action: Callable[[], None], period_s: float) -> Iterator[threading.Event]:
    """Do something again and again, while the yielded event is set."""
    going, over = threading.Event(), threading.Event()
    going.set()

    def run() -> None:
        while not over.wait(period_s):
            if going.is_set():
                action()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield going
    finally:
        over.set()
        thread.join()


def test_a_camera_without_new_pictures_stops_the_arm_until_it_has_them_again(lines: Lines, tmp_path: Path) -> None:
    arm, camera = RingWriter(lines.arm), RingWriter(lines.cameras["front"])
    words, heard = Listener(lines.words["control"], True), list[Message]()

    def has_said(wanted: Message) -> bool:
        heard.extend(words.hear())
        return wanted in heard

    def picture() -> None:
        camera.write({"capture_ns": time.monotonic_ns(), "image": np.zeros((24, 32, 3), np.uint8)})

    silent = Fault(f"Camera front has sent no picture for {TIMEOUT_S:g} s, so the arm holds.", "pictures of front")
    with (
        repeated(lambda: write(arm, time.monotonic_ns()), 0.01),
        running(run_control, setup(tmp_path), "control", lines),
    ):
        time.sleep(0.3)
        assert not has_said(FaultCleared(SESSION)), "without a picture the session has not come up"
        with repeated(picture, 0.03) as going:
            assert eventually(lambda: has_said(FaultCleared(SESSION)))
            going.clear()
            assert eventually(lambda: has_said(silent))
            assert FaultCleared("pictures of front") not in heard
            going.set()
            assert eventually(lambda: has_said(FaultCleared("pictures of front")))


def test_one_that_is_started_again_takes_back_what_the_one_before_said_of_cameras(lines: Lines, tmp_path: Path) -> None:
    arm, camera = RingWriter(lines.arm), RingWriter(lines.cameras["front"])
    words, heard = Listener(lines.words["control"], True), list[Message]()

    def picture() -> None:
        write(arm, time.monotonic_ns())
        camera.write({"capture_ns": time.monotonic_ns(), "image": np.zeros((24, 32, 3), np.uint8)})

    def has_come_up() -> bool:
        heard.extend(words.hear())
        return Ready() in heard

    with (
        repeated(picture, 0.01),
        running(run_control, setup(tmp_path), "control", lines, first=False),
    ):
        assert eventually(has_come_up)
    assert FaultCleared("pictures of front") in heard


def test_an_alarm_is_told_to_recorder_and_operator_and_a_call_for_help_to_the_gate(
    lines: Lines, tmp_path: Path
) -> None:
    devices = Devices(setup(tmp_path), life_of("control", lines))
    words, orders = Listener(lines.words["control"], True), RingReader(lines.recording)
    devices.alarm()
    newest = orders.latest()
    assert newest is not None
    assert newest.value["order"] == records.ALARM
    assert words.hear() == [Said(RAISED)]
    devices.post(HelpWanted("Help."))
    assert words.hear() == [HelpWanted("Help.")]


def test_what_the_arm_measured_is_found_at_the_time_of_the_pictures(lines: Lines, tmp_path: Path) -> None:
    arm = RingWriter(lines.arm)
    devices = Devices(setup(tmp_path), life_of("control", lines))
    for k in range(100):
        write(arm, k * 2_000_000)
    newest = devices.snapshot()
    for age_ns in (0, 1_000_000, 33_300_000, 150_000_000):
        time_ns = newest.state.capture_ns - age_ns
        reading = devices.measured(newest, time_ns)
        assert reading.state.capture_ns == time_ns
        assert abs(reading.state.base_from_tcp.position[0] - SPEED_M_S * time_ns / NS_PER_S) < 1e-9
        assert abs(reading.opening - (1.0 - time_ns / NS_PER_S / 1000)) < 1e-9


@pytest.mark.parametrize(("known", "within_m"), [(True, 1e-9), (False, None)])
def test_known_latencies_put_pictures_and_poses_of_the_same_moment_together(
    known: bool, within_m: float | None, lines: Lines, tmp_path: Path
) -> None:
    """A camera stamps 70 ms late and the arm 12 ms: without knowing, 58 ms of motion are between them."""
    camera_late_ns, arm_late_ns, period_ns = 70_000_000, 12_000_000, 2_000_000
    latencies = Latencies({"front": camera_late_ns / NS_PER_S}, arm_late_ns / NS_PER_S) if known else Latencies()
    arm, camera = RingWriter(lines.arm), RingWriter(lines.cameras["front"])
    devices = Devices(replace(setup(tmp_path), latencies=latencies), life_of("control", lines))
    for k in range(200):
        true = snapshot(k * period_ns)
        late = replace(true, state=replace(true.state, capture_ns=k * period_ns + arm_late_ns))
        arm.write(records.arm_fields(late, 0, (), Cadence(500.0, 500.0)))
    seen_ns = 301_000_000
    camera.write({"capture_ns": seen_ns + camera_late_ns, "image": np.zeros((24, 32, 3), np.uint8)})
    frame = devices.frames()["front"]
    reading = devices.measured(devices.snapshot(), frame.capture_ns)
    off_m = abs(float(reading.state.base_from_tcp.position[0]) - SPEED_M_S * seen_ns / NS_PER_S)
    if within_m is None:
        assert off_m == pytest.approx(SPEED_M_S * (camera_late_ns - arm_late_ns) / NS_PER_S)
    else:
        assert off_m < within_m
        assert frame.capture_ns == reading.state.capture_ns == seen_ns


def test_a_picture_counts_as_old_as_what_it_shows(lines: Lines, tmp_path: Path) -> None:
    camera = RingWriter(lines.cameras["front"])
    devices = Devices(replace(setup(tmp_path), latencies=Latencies({"front": 0.05})), life_of("control", lines))
    camera.write({"capture_ns": NS_PER_S, "image": np.zeros((24, 32, 3), np.uint8)})
    assert devices.blind(NS_PER_S - 60_000_000) == []
    assert devices.blind(NS_PER_S - 40_000_000) == ["front"]

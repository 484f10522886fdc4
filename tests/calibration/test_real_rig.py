"""The real rig against an emulated controller: drives, holds when nobody is heard of, and reads an arm by hand."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest

from calibration.board import Board
from calibration.real_rig import SILENT_S, RealRig
from calibration.rig import RELIEF_M, SLOW_M_S
from calibration.teaching import feeling, straight_down
from calibration.workspace import tool_at
from hardware.arms.limits import ArmLimits
from hardware.arms.ur_config import UrConfig
from hardware.board import BoardConfig
from hardware.cameras.config import RealSenseConfig
from hardware.cell.optics import true_lens
from hardware.devices import DevicesConfig
from hardware.emulation.admin import AdminClient, fault_request
from hardware.emulation.process import EmulatedController
from hardware.errors import DeviceError
from hardware.poses import Pose

pytestmark = pytest.mark.realtime
TOOL = (0.0, 0.0, 0.15, 0.0, 0.0, 0.0)
LIMITS = ArmLimits(arm_timeout_s=1.0)


@pytest.fixture
def devices(host: str, emulate: Callable[..., EmulatedController]) -> DevicesConfig:
    emulate("--controller-version", "3.15.0.0", "--task", "board_on_table")
    arm = UrConfig(host, flange_from_tcp=TOOL, payload_kg=0.9, max_age_s=2.0, watchdog_hz=1.0)
    return DevicesConfig(arm, cameras={"wrist": RealSenseConfig("17", fps=15)})


@pytest.fixture
def rig(devices: DevicesConfig) -> Iterator[RealRig]:
    with closing(RealRig(devices, ["wrist"], ("wrist",), LIMITS, drives=True)) as opened:
        yield opened


def shifted(rig: RealRig, x: float) -> Pose:
    here = rig.arm().base_from_tcp
    return Pose(here.position + np.array([x, 0.0, 0.0]), here.rotation)


def test_it_sees_drives_slowly_and_arrives_and_holds_when_nobody_is_heard_of(
    rig: RealRig, devices: DevicesConfig
) -> None:
    frame = rig.look("wrist")
    assert Board(BoardConfig()).detect(frame.image) is not None
    site = rig.cameras["wrist"]
    assert (site.on_arm, site.serial) == (True, "17")
    assert site.factory is not None
    assert site.factory.fx == pytest.approx(true_lens("wrist", 480, 640).fx, rel=0.01)

    goal = shifted(rig, 0.03)
    rig.go(goal)
    began_s = time.monotonic()
    while not rig.arrived:
        rig.turn()
        assert time.monotonic() < began_s + 30
    assert time.monotonic() - began_s > 0.5 * 0.03 / SLOW_M_S
    np.testing.assert_allclose(rig.arm().base_from_tcp.position, goal.position, atol=0.006)
    with closing(RealRig(devices, [], (), LIMITS, drives=False)) as by_hand:
        seen = by_hand.arm()
        np.testing.assert_allclose(seen.base_from_tcp.position, rig.arm().base_from_tcp.position, atol=0.003)
        with pytest.raises(DeviceError, match="only read, not driven"):
            by_hand.go(goal)

    start = rig.arm().base_from_tcp.position
    rig.go(shifted(rig, -0.25))
    time.sleep(SILENT_S + 1.5)  # silent: it sets out, and holds
    stopped = rig.arm().base_from_tcp.position
    time.sleep(0.5)
    np.testing.assert_allclose(rig.arm().base_from_tcp.position, stopped, atol=1e-3)
    assert 0.0 < start[0] - stopped[0] < 0.2
    assert not rig.arrived


def test_it_feels_for_the_table_and_lets_go_of_it(devices: DevicesConfig) -> None:
    with closing(RealRig(devices, [], (), feeling(LIMITS), drives=True)) as rig:
        start = rig.arm().base_from_tcp
        rig.go(Pose(np.array([*start.position[:2], 0.05]), straight_down(start.rotation)))
        arrive(rig)
        time.sleep(0.5)
        above_m = float(rig.arm().base_from_tcp.position[2])
        rig.touch(0.005)
        arrive(rig)
        assert rig.touched is None
        assert 0.003 < above_m - float(rig.arm().base_from_tcp.position[2]) < 0.015
        rig.touch(0.08)
        assert rig.touched is None
        arrive(rig)
        touched = rig.touched
        assert touched is not None
        tips = tool_at(touched, np.array(LIMITS.tool_points_m))
        assert abs(tips[:, 2].min()) < 1e-3
        time.sleep(0.5)
        np.testing.assert_allclose(rig.arm().base_from_tcp.position, touched.position, atol=RELIEF_M + 1.5e-3)


def arrive(rig: RealRig) -> None:
    deadline_s = time.monotonic() + 200
    while not rig.arrived:
        rig.turn()
        assert time.monotonic() < deadline_s


def test_a_stop_of_the_robot_ends_it_with_its_sentence(devices: DevicesConfig) -> None:
    with closing(RealRig(devices, [], (), LIMITS, drives=True)) as rig:

        def go_on() -> None:
            for _ in range(300):
                rig.turn()

        with AdminClient(devices.arm.host) as admin:
            admin.ask(**fault_request("protective-stop", None))
        with pytest.raises(DeviceError, match="rotective stop"):
            go_on()


def test_no_robot_is_one_sentence(host: str) -> None:
    arm = UrConfig(host, connect_timeout_s=1.0)
    with pytest.raises(DeviceError, match=f"robot at {host}"):
        RealRig(DevicesConfig(arm), [], (), LIMITS, drives=True)
    with pytest.raises(DeviceError, match=f"Nothing answers at {host}"):
        RealRig(DevicesConfig(arm), [], (), LIMITS, drives=False)

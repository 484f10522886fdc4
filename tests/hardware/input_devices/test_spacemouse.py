"""The SpaceMouse as an input device, on the real socket client, an emulated daemon and a clock that is set by hand."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.clock import ManualClock
from hardware.emulation.spacenavd import COMPACT, PRO, EmulatedSpacenavd
from hardware.errors import DeviceError
from hardware.input_devices.mapping import MappingConfig, response, twist
from hardware.input_devices.puck import AXES, COMPACT_MAPPING, FULL_SCALE, PRO_MAPPING, USB_IDS
from hardware.input_devices.spacemouse import SpaceMouse, open_link
from hardware.input_devices.spacenav import SpacenavLink
from hardware.interfaces import Teleop, Verb


class Rig:
    """A SpaceMouse on an emulated daemon; `read` waits until the daemon's last event has arrived."""

    def __init__(self, path: Path, usb_id: tuple[int, int], mapping: MappingConfig | None = None) -> None:
        self.clock = ManualClock(10**9)
        self.daemon = EmulatedSpacenavd(path, usb_id)
        self.mouse = SpaceMouse(SpacenavLink(str(path)), self.clock, mapping)

    def is_back(self) -> None:
        """Read until the link is there again."""
        deadline_s = time.monotonic() + 5.0
        while self.mouse.problem:
            assert time.monotonic() < deadline_s
            assert not self.read().twist.any()

    def read(self) -> Teleop:
        # The double sends from the caller's thread on a local socket: what was sent can be received at once.
        return self.mouse.read()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "spnav.sock", COMPACT)
    yield rig
    rig.mouse.close()
    rig.daemon.close()


@pytest.fixture
def pro(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "spnav.sock", PRO)
    yield rig
    rig.mouse.close()
    rig.daemon.close()


@pytest.mark.parametrize(
    ("deflection", "component", "sign"),
    [
        ({"z": 350}, 0, -1),
        ({"x": 350}, 1, 1),
        ({"y": 350}, 2, 1),
        ({"rz": 350}, 3, -1),
        ({"rx": 350}, 4, 1),
        ({"ry": 350}, 5, 1),
    ],
)
def test_an_operator_who_faces_the_arm_moves_it_in_her_own_directions(
    rig: Rig, deflection: dict[str, int], component: int, sign: int
) -> None:
    """Facing the arm, forward is -x of the base, right is +y and up is +z; the turns follow by the right-hand rule."""
    rig.daemon.move(**deflection)
    expected = np.zeros(6)
    speed = rig.mouse.mapping.speed_m_s if component < 3 else rig.mouse.mapping.rotation_speed_rad_s
    expected[component] = sign * speed
    assert rig.read().twist == pytest.approx(expected, abs=1e-9)


def test_a_deflection_that_falls_silent_stops_after_two_tenths_of_a_second(rig: Rig) -> None:
    rig.daemon.move(x=350)
    assert np.linalg.norm(rig.read().twist) > 0
    rig.clock.advance_s(0.19)
    assert np.linalg.norm(rig.read().twist) > 0
    rig.clock.advance_s(0.02)
    reading = rig.read()
    assert not reading.twist.any()
    assert reading.capture_ns == rig.clock.now_ns()
    rig.daemon.move(x=350)
    assert np.linalg.norm(rig.read().twist) > 0


def test_a_puck_at_rest_may_be_silent_for_ever(rig: Rig) -> None:
    rig.daemon.move(x=350)
    rig.daemon.move()
    rig.clock.advance_s(100.0)
    reading = rig.read()
    assert not reading.twist.any()
    assert reading.capture_ns == rig.clock.now_ns()
    assert rig.mouse.problem == ""


def test_when_the_daemon_dies_the_reading_comes_to_rest_and_grows_old(rig: Rig) -> None:
    rig.daemon.move(x=350)
    rig.daemon.press(1)
    before = rig.read()
    assert before.deadman
    rig.daemon.close()
    rig.clock.advance_s(0.01)
    reading = rig.read()
    assert not reading.twist.any()
    assert reading.deadman
    assert reading.capture_ns == before.capture_ns
    assert "spacenavd has stopped" in rig.mouse.problem


def test_when_the_device_is_unplugged_the_reading_comes_to_rest(rig: Rig) -> None:
    rig.daemon.move(x=350)
    before = rig.read()
    rig.daemon.unplug()
    rig.clock.advance_s(0.01)
    reading = rig.read()
    assert not reading.twist.any()
    assert reading.capture_ns == before.capture_ns
    assert "sees no SpaceMouse" in rig.mouse.problem


def test_motion_from_before_a_loss_does_not_come_back(rig: Rig) -> None:
    rig.daemon.move(x=350)
    rig.read()
    rig.daemon.unplug()
    rig.read()
    rig.daemon.plug(COMPACT)
    rig.is_back()
    assert not rig.read().twist.any()


def test_a_puck_that_is_still_held_when_the_link_is_back_moves_nothing_before_it_was_at_rest(rig: Rig) -> None:
    rig.daemon.move(x=350)
    rig.read()
    rig.daemon.unplug()
    rig.read()
    rig.daemon.plug(COMPACT)
    rig.is_back()
    for deflection in (350, 340, 350, 340, 350):
        rig.daemon.move(x=deflection)
        rig.clock.advance_s(0.1)
        assert not rig.read().twist.any()
    rig.daemon.move(x=0)
    for _ in range(4):
        rig.clock.advance_s(0.1)
        assert not rig.read().twist.any()
    rig.daemon.move(x=350)
    assert rig.read().twist.any()


def test_a_dead_man_button_that_is_let_go_unplugged_neither_drives_nor_hands_back_before_the_next_press(
    rig: Rig,
) -> None:
    rig.daemon.press(1)
    assert rig.read().deadman
    rig.daemon.unplug()
    rig.read()
    rig.daemon.plug(COMPACT)
    rig.is_back()
    for deflection in (0, 0, 0, 0, 350, 0):
        rig.daemon.move(x=deflection)
        rig.clock.advance_s(0.1)
        reading = rig.read()
        assert reading.deadman
        assert not reading.twist.any()
    assert reading.capture_ns == rig.clock.now_ns()
    rig.daemon.press(1)
    for _ in range(4):
        assert rig.read().deadman
        rig.clock.advance_s(0.1)
    rig.daemon.move(x=350)
    assert rig.read().twist.any()
    rig.daemon.release(1)
    assert not rig.read().deadman


def test_a_button_that_moves_and_is_let_go_unplugged_moves_nothing_afterwards(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "a", COMPACT, MappingConfig(motions={"left": "up"}, buttons={}))
    rig.daemon.press(0)
    assert rig.read().twist.any()
    rig.daemon.unplug()
    rig.read()
    rig.daemon.plug(COMPACT)
    rig.is_back()
    for _ in range(4):
        rig.clock.advance_s(0.1)
        assert not rig.read().twist.any()
    rig.daemon.press(0)
    assert rig.read().twist.any()
    rig.mouse.close()
    rig.daemon.close()


def test_the_left_button_toggles_the_gripper_and_the_right_one_takes_over(rig: Rig) -> None:
    rig.daemon.press(0)
    rig.daemon.release(0)
    assert rig.read().gripper == 0.0
    rig.daemon.press(1)
    reading = rig.read()
    assert reading.verbs == (Verb.TAKEOVER,)
    assert reading.deadman
    reading = rig.read()
    assert reading.verbs == ()
    assert reading.deadman
    rig.daemon.release(1)
    assert not rig.read().deadman


@pytest.mark.parametrize(
    ("offered", "taps", "verb"),
    [
        ((Verb.SUCCEED, Verb.FAIL), 1, Verb.SUCCEED),
        ((Verb.RESUME, Verb.RESET), 1, Verb.RESET),
        ((Verb.SUCCEED, Verb.FAIL), 2, Verb.FAIL),
        ((Verb.RESUME, Verb.DROP_LAST), 2, Verb.DROP_LAST),
        ((Verb.DISCARD,), 3, Verb.DISCARD),
        ((Verb.RESUME, Verb.ROLLBACK), 3, Verb.ROLLBACK),
        ((Verb.HOLD,), 4, Verb.HOLD),
        ((Verb.TRAIN_NOW,), 5, Verb.TRAIN_NOW),
    ],
)
def test_with_left_held_taps_of_right_ask_for_the_rest_and_take_nothing_over(
    rig: Rig, offered: tuple[Verb, ...], taps: int, verb: Verb
) -> None:
    rig.mouse.offer(offered)
    rig.daemon.press(0)
    rig.read()
    for _ in range(taps):
        rig.clock.advance_s(0.15)
        rig.daemon.press(1)
        reading = rig.read()
        assert reading.verbs == ()
        assert not reading.deadman
        rig.daemon.release(1)
        rig.read()
    rig.daemon.release(0)
    reading = rig.read()
    assert reading.verbs == (verb,)
    assert reading.gripper == 1.0


@pytest.mark.parametrize(
    ("offered", "verb"),
    [
        ((Verb.RECOVERED, Verb.HOLD), Verb.RECOVERED),
        ((Verb.TAKEOVER, Verb.HOLD), Verb.HOLD),
        ((Verb.RESUME, Verb.RESET), Verb.RESUME),
    ],
)
def test_a_long_press_of_left_marks_holds_or_goes_on(rig: Rig, offered: tuple[Verb, ...], verb: Verb) -> None:
    rig.mouse.offer(offered)
    rig.daemon.press(0)
    rig.read()
    rig.clock.advance_s(0.8)
    assert rig.read().verbs == (verb,)
    rig.daemon.release(0)
    assert rig.read().gripper == 1.0


def test_a_long_press_that_should_hold_does_not_let_go_of_an_arm_that_has_just_held_by_itself(rig: Rig) -> None:
    rig.mouse.offer((Verb.TAKEOVER, Verb.HOLD))
    rig.daemon.press(0)
    rig.read()
    rig.mouse.offer((Verb.TAKEOVER, Verb.HANDBACK, Verb.RESUME))
    rig.clock.advance_s(0.8)
    assert rig.read().verbs == (Verb.HOLD,)
    rig.daemon.release(0)
    rig.read()
    rig.daemon.press(0)
    rig.read()
    rig.clock.advance_s(0.8)
    assert rig.read().verbs == (Verb.RESUME,)


def test_one_button_takes_over_and_hands_back(rig: Rig) -> None:
    for offered in (Verb.TAKEOVER, Verb.HANDBACK):
        rig.mouse.offer((offered, Verb.HOLD))
        rig.daemon.press(1)
        rig.daemon.release(1)
        assert rig.read().verbs == (offered,)


def test_in_the_dead_man_style_the_button_is_held_and_presses_nothing(tmp_path: Path) -> None:
    daemon = EmulatedSpacenavd(tmp_path / "spnav.sock")
    mouse = SpaceMouse(SpacenavLink(str(tmp_path / "spnav.sock")), ManualClock(10**9), style="deadman")
    mouse.offer((Verb.TAKEOVER, Verb.HANDBACK))
    daemon.press(1)
    reading = mouse.read()
    assert reading.deadman
    assert reading.verbs == ()
    mouse.close()
    daemon.close()


def test_a_gesture_that_a_lost_link_has_cut_short_comes_to_nothing(rig: Rig) -> None:
    rig.mouse.offer((Verb.RESUME,))
    rig.daemon.press(0)
    rig.read()
    rig.daemon.unplug()
    rig.read()
    rig.clock.advance_s(5.0)
    assert rig.read().verbs == ()


def test_a_press_and_release_between_two_readings_is_not_missed(rig: Rig) -> None:
    rig.daemon.press(1)
    rig.daemon.release(1)
    reading = rig.read()
    assert reading.verbs == (Verb.TAKEOVER,)
    assert not reading.deadman


def test_a_press_after_a_release_that_was_missed_counts(rig: Rig) -> None:
    rig.daemon.press(1)
    rig.read()
    rig.daemon.press(1)
    assert rig.read().verbs == (Verb.TAKEOVER,)


@pytest.mark.parametrize(
    ("number", "verb"),
    [
        (0, Verb.SUCCEED),
        (1, Verb.FAIL),
        (2, Verb.DISCARD),
        (3, Verb.RESET),
        (6, Verb.DROP_LAST),
        (8, Verb.TRAIN_NOW),
        (9, Verb.ROLLBACK),
        (10, Verb.RECOVERED),
        (11, Verb.HOLD),
        (12, Verb.RESUME),
        (13, Verb.TAKEOVER),
        (14, Verb.HANDBACK),
    ],
)
def test_a_pro_has_a_button_for_every_verb(pro: Rig, number: int, verb: Verb) -> None:
    pro.daemon.press(number)
    assert pro.read().verbs == (verb,)
    assert set(Verb) <= set(pro.mouse.mapping.buttons.values())


def test_the_gripper_goes_on_from_where_it_is(rig: Rig) -> None:
    rig.mouse.adopt_gripper(0.0)
    assert rig.read().gripper == 0.0
    rig.daemon.press(0)
    rig.daemon.release(0)
    assert rig.read().gripper == 1.0


def test_a_mapping_of_ones_own_is_taken_and_checked(tmp_path: Path) -> None:
    own = MappingConfig(motions={"rz": "up"}, buttons={"button 5": Verb.HOLD}, speed_m_s=0.05)
    rig = Rig(tmp_path / "a", COMPACT, own)
    rig.daemon.move(ry=350)
    rig.daemon.press(5)
    reading = rig.read()
    assert reading.twist == pytest.approx([0, 0, 0.05, 0, 0, 0])
    assert reading.verbs == (Verb.HOLD,)
    rig.mouse.close()
    link = SpacenavLink(str(tmp_path / "a"))
    with pytest.raises(DeviceError, match="mapping names lever; a SpaceMouse Compact has x, y, z, rx, ry, rz, left, r"):
        SpaceMouse(link, rig.clock, MappingConfig(motions={"lever": "up"}, buttons={}))
    link.close()
    rig.daemon.close()


@pytest.mark.parametrize("model", {model.name: model for model in USB_IDS.values()}.values(), ids=lambda m: m.name)
def test_a_ready_map_names_only_controls_that_its_model_has(model) -> None:
    controls = {*AXES, *model.numbers.values()}
    assert set(model.numbers.values()) == set(model.bits.values())
    assert model.mapping.controls <= controls
    assert set(model.mapping.motions) == set(AXES)


@given(st.lists(st.integers(-2000, 2000), min_size=6, max_size=6), st.sampled_from([COMPACT_MAPPING, PRO_MAPPING]))
def test_no_deflection_exceeds_the_configured_speeds(counts: list[int], mapping: MappingConfig) -> None:
    result = twist(mapping, {axis: count / FULL_SCALE for axis, count in zip(AXES, counts, strict=True)})
    assert np.linalg.norm(result[:3]) <= mapping.speed_m_s + 1e-12
    assert np.linalg.norm(result[3:]) <= mapping.rotation_speed_rad_s + 1e-12


@given(st.integers(-350, 350), st.integers(-350, 350))
def test_more_deflection_is_never_less_speed(a: int, b: int) -> None:
    low, high = sorted((a, b))
    assert response(COMPACT_MAPPING, low / FULL_SCALE) <= response(COMPACT_MAPPING, high / FULL_SCALE)


def test_without_daemon_and_device_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPNAV_SOCKET", str(tmp_path / "nothing"))
    with pytest.raises(DeviceError, match="No SpaceMouse is plugged in"):
        open_link()


def test_with_the_daemon_the_link_goes_through_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPNAV_SOCKET", str(tmp_path / "spnav.sock"))
    daemon = EmulatedSpacenavd(tmp_path / "spnav.sock")
    link = open_link()
    assert isinstance(link, SpacenavLink)
    link.close()
    daemon.close()

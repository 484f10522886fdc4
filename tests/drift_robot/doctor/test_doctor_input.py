"""The doctor on a virtual gamepad and on an emulated spacenavd: what was tried is ticked off, what was not is named."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drift_robot.doctor.findings import Check, Finding, Level
from drift_robot.doctor.input import check_input, open_device, try_controls
from hardware.emulation.gamepad import VirtualPad
from hardware.emulation.spacenavd import PRO, EmulatedSpacenavd
from hardware.input_devices.mapping import XBOX, MappingChange

NO_CHANGE = MappingChange()


def findings(check: Check, operator: Callable[[], None] = lambda: None) -> list[Finding]:
    """Run a check; the operator does one more thing each time that she is told what is still missing."""
    found = []
    for said in check:
        if isinstance(said, Finding):
            found.append(said)
        elif "move or press" in said:
            operator()
    return found


@pytest.fixture
def pad() -> Iterator[VirtualPad]:
    pad = VirtualPad()
    yield pad
    pad.unplug()


def tries(pad: VirtualPad, controls: list[str]) -> Callable[[], None]:
    """Return an operator who moves one control after the other."""
    left = iter(controls)

    def operator() -> None:
        if (control := next(left, None)) is not None:
            pad.set(control, 1.0)

    return operator


def test_every_axis_and_button_that_is_tried_is_ticked_off(pad: VirtualPad) -> None:
    device = open_device("gamepad", NO_CHANGE)
    rest, tried = findings(try_controls("gamepad", device, 60.0), tries(pad, [*XBOX.motions, *XBOX.buttons]))
    device.close()
    assert rest.level is Level.OK
    assert tried.level is Level.OK
    assert tried.found == "all 6 axes and 13 buttons work"


def test_what_is_still_missing_is_shown_while_it_is_tried(pad: VirtualPad) -> None:
    device = open_device("gamepad", NO_CHANGE)
    shown = []
    for said in try_controls("gamepad", device, 60.0):
        if isinstance(said, str) and "move or press" in said:
            shown.append(said.partition(": ")[2].split(", "))
            for control in XBOX.motions if len(shown) == 1 else XBOX.buttons:
                pad.set(control, 1.0)
    device.close()
    assert len(shown[0]) == 19
    assert "Left stick ↔" in shown[0]
    assert "Left stick ↔" not in shown[-1]


def test_a_control_that_is_never_seen_is_named(pad: VirtualPad) -> None:
    device = open_device("gamepad", NO_CHANGE)
    working = [control for control in (*XBOX.motions, *XBOX.buttons) if control not in ("left_x", "b")]
    _, tried = findings(try_controls("gamepad", device, 3.0), lambda: [pad.set(c, 1.0) for c in working] and None)
    device.close()
    assert tried.level is Level.WARNING
    assert "never seen: Left stick ↔, B." in tried.found


def test_a_takeover_button_that_is_never_seen_stops_a_session(pad: VirtualPad) -> None:
    device = open_device("gamepad", NO_CHANGE)
    _, tried = findings(try_controls("gamepad", device, 0.5))
    device.close()
    assert tried.level is Level.PROBLEM
    assert "You could not take over." in tried.found


def test_a_stick_that_drifts_and_a_button_that_sticks_are_seen(pad: VirtualPad) -> None:
    device = open_device("gamepad", NO_CHANGE)
    pad.set("left_x", 0.3)
    rest = findings(try_controls("gamepad", device, 0.0))[0]
    assert rest.level is Level.WARNING
    assert "Left stick ↔ at +0.30" in rest.found
    pad.set("left_x", 0.0)
    pad.set("a", 1.0)
    rest, tried = findings(try_controls("gamepad", device, 0.5))
    device.close()
    assert "pressed at rest: A" in rest.found
    assert "A, " in tried.found.partition("never seen: ")[2]  # stuck is not pressed


def test_unplugging_ends_the_trial(pad: VirtualPad) -> None:
    device = open_device("gamepad", NO_CHANGE)
    tried = findings(try_controls("gamepad", device, 60.0), pad.unplug)[-1]
    device.close()
    assert tried.level is Level.PROBLEM
    assert "unplugged" in tried.found


def test_the_operators_own_mapping_decides_what_is_tried(pad: VirtualPad) -> None:
    change = MappingChange(motions=dict.fromkeys(XBOX.motions), buttons=dict.fromkeys(set(XBOX.buttons) - {"a"}))
    device = open_device("gamepad", change)
    _, tried = findings(try_controls("gamepad", device, 60.0), tries(pad, ["a", "right_shoulder"]))
    device.close()
    assert tried.level is Level.OK


def test_no_gamepad_stops_a_session() -> None:
    (found,) = findings(check_input("gamepad", NO_CHANGE, 0.0))
    assert found.level is Level.PROBLEM
    assert "No gamepad is plugged in" in found.found


@pytest.fixture
def spacenavd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatedSpacenavd]:
    monkeypatch.setenv("SPNAV_SOCKET", str(tmp_path / "socket"))
    daemon = EmulatedSpacenavd(tmp_path / "socket", PRO)
    yield daemon
    daemon.close()


def test_a_spacemouse_is_tried_through_its_daemon(spacenavd: EmulatedSpacenavd) -> None:
    axes = iter(("x", "y", "z", "rx", "ry", "rz"))

    def operator() -> None:
        if (axis := next(axes, None)) is not None:
            spacenavd.move(**{axis: 300})
        for number in range(15):
            spacenavd.press(number)

    rest, tried = findings(check_input("spacemouse", NO_CHANGE, 60.0), operator)
    assert (rest.level, tried.level) == (Level.OK, Level.OK)
    assert tried.found == "all 6 axes and 14 buttons work"


def test_without_its_daemon_a_spacemouse_stops_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPNAV_SOCKET", str(tmp_path / "nothing"))
    (found,) = findings(check_input("spacemouse", NO_CHANGE, 20.0))
    assert found.level is Level.PROBLEM


def test_the_trial_can_be_left_out(spacenavd: EmulatedSpacenavd) -> None:
    rest, tried = findings(check_input("spacemouse", NO_CHANGE, 0.0))
    assert (rest.level, tried.level) == (Level.OK, Level.NOTE)

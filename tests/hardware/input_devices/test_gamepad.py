import os
from collections.abc import Callable, Iterator

os.environ["SDL_VIDEODRIVER"] = "dummy"

import numpy as np
import pygame
import pytest
from pygame._sdl2 import controller

from hardware.clock import ManualClock
from hardware.emulation.gamepad import VirtualPad
from hardware.errors import DeviceError
from hardware.input_devices.gamepad import Gamepad
from hardware.input_devices.mapping import PLAYSTATION, XBOX, MappingChange, MappingConfig
from hardware.interfaces import Verb


@pytest.fixture
def plug() -> Iterator[Callable[..., VirtualPad]]:
    """A function that plugs a pad in; all are unplugged at the end of the test."""
    pads: list[VirtualPad] = []

    def plug(name: str = "Virtual Xbox Pad") -> VirtualPad:
        pads.append(VirtualPad(name))
        return pads[-1]

    pygame.display.init()
    yield plug
    for pad in pads:
        pad.unplug()
    pygame.event.get()


@pytest.fixture
def pad(plug: Callable[..., VirtualPad]) -> VirtualPad:
    return plug()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000)


def test_a_stick_pushed_away_moves_the_arm_away_from_the_operator(pad: VirtualPad, clock: ManualClock) -> None:
    gamepad = Gamepad(clock)
    pad.set("left_y", -1.0)
    np.testing.assert_allclose(gamepad.read().twist, [-XBOX.speed_m_s, 0, 0, 0, 0, 0], atol=1e-4)


def test_a_resting_pad_gives_no_motion(pad: VirtualPad, clock: ManualClock) -> None:
    assert not Gamepad(clock).read().twist.any()


def test_a_trigger_tilts(pad: VirtualPad, clock: ManualClock) -> None:
    gamepad = Gamepad(clock)
    pad.set("right_trigger", 1.0)
    assert np.linalg.norm(gamepad.read().twist[3:]) == pytest.approx(XBOX.rotation_speed_rad_s, rel=1e-3)


def test_a_button_tapped_between_two_readings_is_handed_out_once(pad: VirtualPad, clock: ManualClock) -> None:
    gamepad = Gamepad(clock)
    pad.tap("right_shoulder")
    pad.tap("x")
    assert gamepad.read().verbs == (Verb.TAKEOVER, Verb.HOLD)
    assert gamepad.read().verbs == ()


def test_a_stick_in_motion_leaves_nothing_in_the_queue_which_would_fill_up_and_lose_buttons(
    pad: VirtualPad, clock: ManualClock
) -> None:
    gamepad = Gamepad(clock)
    for value in (0.2, 0.6, -0.9, 0.0):
        pad.set("left_x", value)
        gamepad.read()
    pad.set("left_x", 0.5)
    gamepad.read()
    assert pygame.event.get(pump=False) == []


def test_the_gripper_toggles_and_goes_on_from_where_the_arm_was(pad: VirtualPad, clock: ManualClock) -> None:
    gamepad = Gamepad(clock)
    gamepad.adopt_gripper(0.3)
    assert gamepad.read().gripper == 0.3
    pad.tap("a")
    assert gamepad.read().gripper == 1.0
    pad.tap("a")
    assert gamepad.read().gripper == 0.0


def test_unplugged_it_rests_grows_old_keeps_the_dead_man_and_says_so(pad: VirtualPad, clock: ManualClock) -> None:
    gamepad = Gamepad(clock)
    pad.set("left_x", 1.0)
    pad.set("right_shoulder", 1.0)
    driving = gamepad.read()
    assert driving.twist.any()
    assert driving.deadman
    assert gamepad.problem == ""
    pad.unplug()
    clock.advance_s(1.0)
    silent = gamepad.read()
    assert not silent.twist.any()
    assert silent.deadman
    assert silent.verbs == ()
    assert silent.capture_ns == driving.capture_ns
    assert "unplugged" in gamepad.problem


def test_plugged_in_again_it_goes_on_but_a_stick_that_is_still_held_moves_nothing(
    pad: VirtualPad, plug: Callable[..., VirtualPad], clock: ManualClock
) -> None:
    gamepad = Gamepad(clock)
    pad.unplug()
    gamepad.read()
    second = plug()
    second.tap("x")
    gamepad.read()
    second.tap("x")
    second.set("left_x", 1.0)
    for _ in range(10):
        clock.advance_s(0.1)
        assert not gamepad.read().twist.any()
    second.set("left_x", 0.0)
    gamepad.read()
    clock.advance_s(0.3)
    gamepad.read()
    second.tap("x")
    second.set("left_x", 1.0)
    reading = gamepad.read()
    assert gamepad.problem == ""
    assert reading.capture_ns == clock.now_ns()
    assert reading.twist.any()
    assert Verb.HOLD in reading.verbs


def test_a_dead_man_button_that_is_let_go_unplugged_neither_drives_nor_hands_back_before_it_is_held_again(
    pad: VirtualPad, plug: Callable[..., VirtualPad], clock: ManualClock
) -> None:
    gamepad = Gamepad(clock, style="deadman")
    pad.set("right_shoulder", 1.0)
    assert gamepad.read().deadman
    pad.unplug()
    gamepad.read()
    second = plug()
    for side in (0.0, 0.0, 0.0, 0.0, 1.0, 0.0):
        second.set("left_x", side)
        clock.advance_s(0.1)
        reading = gamepad.read()
        assert reading.deadman
        assert not reading.twist.any()
    assert reading.capture_ns == clock.now_ns()
    second.set("right_shoulder", 1.0)
    for _ in range(4):
        clock.advance_s(0.1)
        assert gamepad.read().deadman
    second.set("left_x", 1.0)
    assert gamepad.read().twist.any()
    second.set("right_shoulder", 0.0)
    assert not gamepad.read().deadman


def test_another_pads_buttons_do_nothing(pad: VirtualPad, plug: Callable[..., VirtualPad], clock: ManualClock) -> None:
    gamepad = Gamepad(clock)
    other = plug()
    opened = controller.Controller(1)
    other.tap("x")
    assert gamepad.read().verbs == ()
    opened.quit()


def test_the_make_of_the_pad_decides_the_words_for_its_buttons(
    plug: Callable[..., VirtualPad], clock: ManualClock
) -> None:
    plug("Sony DualSense")
    gamepad = Gamepad(clock)
    assert gamepad.mapping == PLAYSTATION
    assert gamepad.mapping.label_of(Verb.HOLD) == "Square"


def test_no_pad_is_one_sentence(plug: Callable[..., VirtualPad], clock: ManualClock) -> None:
    with pytest.raises(DeviceError, match="No gamepad is plugged in"):
        Gamepad(clock)


def test_an_unknown_control_in_the_mapping_is_named(pad: VirtualPad, clock: ManualClock) -> None:
    with pytest.raises(DeviceError, match="lever"):
        Gamepad(clock, MappingConfig(motions={"lever": "up"}, buttons={}))


def test_closed_it_can_be_opened_again(pad: VirtualPad, clock: ManualClock) -> None:
    Gamepad(clock).close()
    gamepad = Gamepad(clock)
    pad.tap("x")
    assert gamepad.read().verbs == (Verb.HOLD,)


def test_the_make_of_the_pad_in_use_is_told_also_when_another_one_takes_its_place(
    plug: Callable[..., VirtualPad], clock: ManualClock
) -> None:
    first = plug("Sony PS5 Controller")
    gamepad = Gamepad(clock)
    assert gamepad.kind == "PlayStation pad"
    first.unplug()
    gamepad.read()
    plug("Virtual Xbox Pad")
    gamepad.read()
    assert gamepad.kind == "Xbox pad"


def test_a_button_that_is_down_while_the_pad_is_pulled_out_comes_to_nothing(
    pad: VirtualPad, clock: ManualClock
) -> None:
    gamepad = Gamepad(clock, change=MappingChange(buttons={"guide long": Verb.ROLLBACK}))
    gamepad.offer((Verb.ROLLBACK,))
    pad.set("guide", 1.0)
    gamepad.read()
    pad.unplug()
    clock.advance_s(2.0)
    assert gamepad.read().verbs == ()


def test_a_dangerous_verb_can_be_put_on_a_long_press(pad: VirtualPad, clock: ManualClock) -> None:
    gamepad = Gamepad(clock, change=MappingChange(buttons={"guide": None, "guide long": Verb.ROLLBACK}))
    pad.tap("guide")
    assert gamepad.read().verbs == ()
    pad.set("guide", 1.0)
    gamepad.read()
    clock.advance_s(1.0)
    assert gamepad.read().verbs == (Verb.ROLLBACK,)

import numpy as np

from hardware.clock import NS_PER_S
from hardware.input_devices.keyboard import Keyboard, KeyEvent
from hardware.input_devices.mapping import KEYBOARD
from hardware.interfaces import Verb

TENTH_NS = NS_PER_S // 10


def test_a_held_key_moves_until_it_is_let_go() -> None:
    keyboard = Keyboard()
    keyboard.feed([KeyEvent("r", True)], 10)
    np.testing.assert_allclose(keyboard.read().twist, [0, 0, KEYBOARD.speed_m_s, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(keyboard.read().twist, [0, 0, KEYBOARD.speed_m_s, 0, 0, 0], atol=1e-12)
    keyboard.feed([KeyEvent("r", False)], 20)
    assert not keyboard.read().twist.any()


def test_a_key_that_repeats_while_held_asks_once() -> None:
    keyboard = Keyboard()
    keyboard.feed([KeyEvent("t", True), KeyEvent("t", True)], 10)
    assert keyboard.read().verbs == (Verb.TAKEOVER,)
    keyboard.feed([KeyEvent("t", True)], 20)
    assert keyboard.read().verbs == ()
    keyboard.feed([KeyEvent("t", False), KeyEvent("t", True)], 30)
    assert keyboard.read().verbs == (Verb.TAKEOVER,)


def test_a_reading_is_as_old_as_the_windows_last_sign_of_life() -> None:
    keyboard = Keyboard()
    assert keyboard.read().capture_ns == 0
    keyboard.feed([KeyEvent("w", True)], 10)
    keyboard.feed([], 20)
    assert keyboard.read().capture_ns == 20
    assert keyboard.read().capture_ns == 20


def test_the_dead_man_key_is_held_or_not() -> None:
    keyboard = Keyboard()
    keyboard.feed([KeyEvent(KEYBOARD.deadman, True)], 10)
    assert keyboard.read().deadman
    keyboard.feed([KeyEvent(KEYBOARD.deadman, False)], 20)
    assert not keyboard.read().deadman


def test_a_key_that_is_let_go_while_the_window_is_silent_moves_nothing_afterwards() -> None:
    keyboard = Keyboard()
    keyboard.feed([KeyEvent("w", True)], TENTH_NS)
    assert keyboard.read().twist.any()
    for tenths in range(30, 40):
        keyboard.feed([], tenths * TENTH_NS)
        reading = keyboard.read()
        assert reading.capture_ns == tenths * TENTH_NS
        assert not reading.twist.any()
    keyboard.feed([KeyEvent("w", True)], 40 * TENTH_NS)
    assert keyboard.read().twist.any()


def test_a_key_that_goes_down_in_the_silence_moves_nothing_before_all_were_let_go() -> None:
    keyboard = Keyboard()
    keyboard.feed([], TENTH_NS)
    keyboard.feed([KeyEvent("w", True)], 30 * TENTH_NS)
    for tenths in range(31, 40):
        assert not keyboard.read().twist.any()
        keyboard.feed([], tenths * TENTH_NS)


def test_a_dead_man_key_that_may_be_let_go_in_the_silence_neither_drives_nor_hands_back_before_the_next_press() -> None:
    keyboard = Keyboard(KEYBOARD.styled("deadman"))
    keyboard.feed([KeyEvent(KEYBOARD.deadman, True)], TENTH_NS)
    assert keyboard.read().deadman
    for tenths in range(30, 40):
        keyboard.feed([KeyEvent("w", tenths > 35)], tenths * TENTH_NS)
        reading = keyboard.read()
        assert reading.deadman
        assert not reading.twist.any()
    keyboard.feed([KeyEvent("w", False), KeyEvent(KEYBOARD.deadman, True)], 40 * TENTH_NS)
    for tenths in range(41, 44):
        keyboard.feed([], tenths * TENTH_NS)
        assert keyboard.read().deadman
    keyboard.feed([KeyEvent("w", True)], 44 * TENTH_NS)
    assert keyboard.read().twist.any()
    keyboard.feed([KeyEvent(KEYBOARD.deadman, False)], 45 * TENTH_NS)
    assert not keyboard.read().deadman


def test_a_takeover_drops_nothing_because_the_gripper_goes_on_from_its_command() -> None:
    keyboard = Keyboard()
    keyboard.adopt_gripper(0.0)
    assert keyboard.read().gripper == 0.0
    keyboard.feed([KeyEvent("space", True)], 10)
    assert keyboard.read().gripper == 1.0


def test_closed_it_rests() -> None:
    keyboard = Keyboard()
    keyboard.feed([KeyEvent("w", True)], 10)
    keyboard.close()
    assert not keyboard.read().twist.any()

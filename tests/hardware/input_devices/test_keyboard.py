import numpy as np

from hardware.input_devices.keyboard import Keyboard, KeyEvent
from hardware.input_devices.mapping import KEYBOARD
from hardware.interfaces import Verb


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

"""What the input device's process does between window, device and arm."""

import pytest

from drift_robot.realtime.lines import Lines
from drift_robot.realtime.messages import MESSAGE_SLOTS, Keys, Listener, Speaker
from drift_robot.realtime.teleop_process import feed
from hardware.input_devices.keyboard import Keyboard, KeyEvent
from hardware.interfaces import Verb

PICTURE_NS = 50_000_000


@pytest.mark.parametrize("lost", [1, 3, 100])
def test_a_key_whose_release_was_lost_in_a_stall_moves_nothing_and_what_was_heard_counts(
    lost: int, lines: Lines
) -> None:
    window, keyboard = Speaker(lines.words["window"]), Keyboard()
    words = Listener(lines.words["window"], True)
    window.say(Keys(PICTURE_NS, (KeyEvent("w", True),)))
    feed(keyboard, words)
    assert keyboard.read().twist.any()
    for picture in range(2, 2 + lost + MESSAGE_SLOTS):
        events = {2: (KeyEvent("w", False),), 1 + lost + MESSAGE_SLOTS: (KeyEvent("t", True),)}.get(picture, ())
        window.say(Keys(picture * PICTURE_NS, events))
    feed(keyboard, words)
    reading = keyboard.read()
    assert reading.capture_ns == (1 + lost + MESSAGE_SLOTS) * PICTURE_NS
    assert not reading.twist.any()
    assert reading.verbs == (Verb.TAKEOVER,)

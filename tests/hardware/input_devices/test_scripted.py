import numpy as np

from hardware.clock import ManualClock
from hardware.input_devices.scripted import ScriptedExpert
from hardware.interfaces import InputDevice, Verb


def test_it_drives_as_the_script_says_at_the_time_of_the_reading() -> None:
    clock = ManualClock(7)
    device: InputDevice = ScriptedExpert(lambda: (np.full(6, 0.1), 0.25), clock)
    clock.advance_s(1e-9)
    reading = device.read()
    assert reading.capture_ns == 8
    assert reading.gripper == 0.25
    np.testing.assert_array_equal(reading.twist, np.full(6, 0.1))


def test_verbs_that_code_presses_are_handed_out_once() -> None:
    device = ScriptedExpert(lambda: (np.zeros(6), 1.0), ManualClock())
    device.press(Verb.TAKEOVER)
    device.press(Verb.RECOVERED, Verb.HANDBACK)
    assert device.read().verbs == (Verb.TAKEOVER, Verb.RECOVERED, Verb.HANDBACK)
    assert device.read().verbs == ()


def test_code_can_hold_the_dead_man_button() -> None:
    device = ScriptedExpert(lambda: (np.zeros(6), 1.0), ManualClock())
    device.deadman = True
    assert device.read().deadman

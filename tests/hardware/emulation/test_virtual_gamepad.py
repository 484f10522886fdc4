"""A script on a virtual pad: what the real driver reads is what the script wanted, as far as a pad can say it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hardware.clock import ManualClock
from hardware.emulation.gamepad import ScriptedPad, VirtualPad, played, toggles
from hardware.errors import DeviceError
from hardware.input_devices.mapping import DIRECTIONS, PLAYSTATION, XBOX, MappingChange, MappingConfig
from hardware.interfaces import Verb
from hardware.poses import Array, rotation_matrix

RESOLUTION = 1.0 / 32767
NO_ROLL = np.array([1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
"""Which components of a twist in the operator's view the ready maps can give."""
Script = Callable[[], tuple[Array, float]]


@contextmanager
def scripted(script: Script, mapping: MappingConfig | None = None) -> Iterator[ScriptedPad]:
    pad = ScriptedPad(script, ManualClock(1_000), mapping)
    try:
        yield pad
    finally:
        pad.close()


def rest(opening: float = 1.0) -> Script:
    return lambda: (np.zeros(6), opening)


def in_base(config: MappingConfig, view: Array) -> Array:
    """A twist in the operator's view, as shares of the map's speeds, in base."""
    turn = rotation_matrix(np.array([0.0, 0.0, config.facing_rad]))
    return np.concatenate([turn @ view[:3] * config.speed_m_s, turn @ view[3:] * config.rotation_speed_rad_s])


shares = st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6).map(np.array)
changes = st.builds(
    MappingChange,
    speed_m_s=st.floats(0.01, 1.0),
    rotation_speed_rad_s=st.floats(0.01, 3.0),
    dead_zone=st.floats(0.0, 0.5),
    response_exponent=st.floats(1.0, 4.0),
    facing_rad=st.floats(-6.0, 6.0),
)


@settings(max_examples=100, deadline=None)
@given(shares, changes, st.sampled_from([XBOX, PLAYSTATION]))
def test_the_driver_reads_any_twist_within_the_maps_speeds_but_for_the_roll_that_pads_do_not_have(
    view: Array, change: MappingChange, ready: MappingConfig
) -> None:
    assume(np.linalg.norm(view[:3]) <= 1.0 and np.linalg.norm(view[3:]) <= 1.0)
    config = change.applied_to(ready)
    wanted = in_base(config, view)
    with scripted(lambda: (wanted, 1.0), config) as pad:
        read = pad.read().twist
    # One step of an axis changes the effect by the response's slope at most, in each of three directions.
    step = 2.0 * RESOLUTION * config.response_exponent / (1.0 - config.dead_zone)
    expected = in_base(config, view * NO_ROLL)
    np.testing.assert_allclose(read[:3], expected[:3], atol=step * config.speed_m_s)
    np.testing.assert_allclose(read[3:], expected[3:], atol=step * config.rotation_speed_rad_s)


def test_a_twist_that_is_too_fast_keeps_its_direction_at_the_maps_speed() -> None:
    wanted = np.array([0.3, -0.4, 0.0, 0.0, 0.0, 9.0])
    with scripted(lambda: (wanted, 1.0)) as pad:
        read = pad.read().twist
    np.testing.assert_allclose(read[:3], np.array([0.6, -0.8, 0.0]) * XBOX.speed_m_s, atol=1e-4)
    assert read[5] == pytest.approx(XBOX.rotation_speed_rad_s, abs=1e-4)


def test_every_direction_of_the_map_is_played_by_a_control_of_its_own() -> None:
    for direction in set(XBOX.motions.values()):
        component, sign = DIRECTIONS[direction]
        view = np.zeros(6)
        view[component] = sign
        moved = [control for control, value in played(XBOX, in_base(XBOX, view)).items() if abs(value) > 0.5]
        assert len(moved) == 1


def test_the_gripper_is_tapped_only_when_it_should_be_elsewhere() -> None:
    wanted = [1.0, 1.0, 0.0, 0.0, 1.0]
    script = iter(wanted)
    with scripted(lambda: (np.zeros(6), next(script))) as pad:
        assert [pad.read().gripper for _ in wanted] == wanted


@pytest.mark.parametrize(("opening", "wanted", "taps"), [(0.3, 0.0, 2), (0.3, 1.0, 1), (0.7, 0.0, 1), (0.7, 1.0, 2)])
def test_an_opening_that_was_adopted_is_left_for_the_wanted_end(opening: float, wanted: float, taps: int) -> None:
    assert toggles(opening, wanted) == taps
    with scripted(rest(wanted)) as pad:
        pad.adopt_gripper(opening)
        assert pad.read().gripper == wanted


def test_verbs_are_tapped_once_in_their_order() -> None:
    with scripted(rest()) as pad:
        pad.press(Verb.TAKEOVER, Verb.SUCCEED)
        assert pad.read().verbs == (Verb.TAKEOVER, Verb.SUCCEED)
        assert pad.read().verbs == ()


def test_the_dead_man_button_is_held_until_it_is_let_go() -> None:
    with scripted(rest()) as pad:
        held = []
        for pad.deadman in (False, True, True, False):
            held.append(pad.read().deadman)
    assert held == [False, True, True, False]


def test_a_verb_without_a_button_is_one_sentence() -> None:
    bare = MappingChange(buttons={"x": None}).applied_to(XBOX)
    with scripted(rest(), bare) as pad, pytest.raises(DeviceError, match="no button for 'hold'"):
        pad.press(Verb.HOLD)


def test_beside_another_pad_a_script_does_not_play() -> None:
    other = VirtualPad()
    with pytest.raises(DeviceError, match="unplug all others first"):
        ScriptedPad(rest(), ManualClock())
    other.unplug()


def test_closed_it_is_unplugged() -> None:
    with scripted(rest()) as pad:
        pass
    pad.read()
    assert "unplugged" in pad.problem

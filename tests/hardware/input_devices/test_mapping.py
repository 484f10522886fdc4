import numpy as np
import pygame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hardware.input_devices.gamepad import AXES, BUTTONS
from hardware.input_devices.gestures import CHORD_NS, LONG_NS, parts
from hardware.input_devices.mapping import (
    KEYBOARD,
    PLAYSTATION,
    XBOX,
    Mapper,
    MappingChange,
    MappingConfig,
    response,
    twist,
)
from hardware.input_devices.puck import COMPACT_MAPPING
from hardware.input_devices.ready_maps import READY_MAPS
from hardware.interfaces import Verb

READY = {kind: mapping for kind, mapping in READY_MAPS.items() if kind != "script"}
VALUE = st.floats(-1, 1)
EVERYTHING_AT_ONCE = MappingConfig(
    motions={}, buttons={"a": tuple(Verb), "b": tuple(Verb), "b long": tuple(Verb), "b + a": tuple(Verb)[::-1]}
)


@given(st.dictionaries(st.sampled_from(sorted(XBOX.motions)), VALUE))
def test_no_combination_of_sticks_exceeds_the_configured_speeds(values: dict[str, float]) -> None:
    result = twist(XBOX, values)
    assert np.isfinite(result).all()
    assert np.linalg.norm(result[:3]) <= XBOX.speed_m_s + 1e-12
    assert np.linalg.norm(result[3:]) <= XBOX.rotation_speed_rad_s + 1e-12


@given(VALUE, VALUE)
def test_the_response_is_odd_and_never_falls(a: float, b: float) -> None:
    assert response(XBOX, -a) == -response(XBOX, a)
    assert (response(XBOX, max(a, b)) - response(XBOX, min(a, b))) >= 0


@given(st.floats(-XBOX.dead_zone, XBOX.dead_zone))
def test_the_dead_zone_gives_exactly_nothing(value: float) -> None:
    assert response(XBOX, value) == 0


def test_the_response_starts_from_zero_at_the_dead_zone_and_ends_at_one() -> None:
    assert response(XBOX, XBOX.dead_zone + 1e-3) < 1e-4
    assert response(XBOX, 1.0) == 1.0


def test_half_a_stick_follows_the_power_law() -> None:
    config = MappingConfig(motions={"stick": "up"}, buttons={}, dead_zone=0.2, response_exponent=2.0, speed_m_s=0.1)
    np.testing.assert_allclose(twist(config, {"stick": 0.6}), [0, 0, 0.1 * 0.5**2, 0, 0, 0])


@pytest.mark.parametrize(
    ("facing_rad", "expected"), [(0.0, [1, 0]), (np.pi / 2, [0, 1]), (np.pi, [-1, 0])], ids=["behind", "right", "front"]
)
def test_forward_is_away_from_the_operator_wherever_she_stands(facing_rad: float, expected: list[float]) -> None:
    config = MappingConfig(motions={"w": "forward"}, buttons={}, facing_rad=facing_rad, speed_m_s=1.0)
    np.testing.assert_allclose(twist(config, {"w": 1.0})[:2], expected, atol=1e-12)


def test_left_is_left_in_her_view_and_turning_left_is_anticlockwise_from_above() -> None:
    config = MappingConfig(motions={"a": "left", "q": "turn_left"}, buttons={}, speed_m_s=1.0, rotation_speed_rad_s=1.0)
    np.testing.assert_allclose(twist(config, {"a": 1.0, "q": 1.0}), [0, -1, 0, 0, 0, 1], atol=1e-12)


def test_verbs_are_handed_out_once_in_order() -> None:
    mapper = Mapper(KEYBOARD)
    for key in ("t", "m", "nothing"):
        mapper.press(key, 0)
    assert mapper.reading({}, 5).verbs == (Verb.TAKEOVER, Verb.RECOVERED)
    assert mapper.reading({}, 5).verbs == ()


OFFERED = st.sets(st.sampled_from(Verb)).map(tuple)


@pytest.mark.parametrize("config", [COMPACT_MAPPING, EVERYTHING_AT_ONCE], ids=["compact", "everything at once"])
@given(meant=OFFERED, meanwhile=OFFERED, at_last=OFFERED)
def test_of_several_verbs_a_gesture_asks_for_the_one_that_was_offered_when_it_began(
    config: MappingConfig, meant: tuple[Verb, ...], meanwhile: tuple[Verb, ...], at_last: tuple[Verb, ...]
) -> None:
    for control in config.buttons:
        mapper, now_ns = Mapper(config), 0
        mapper.offered = meant
        mapper.press(parts(control)[0], now_ns)
        mapper.offered = meanwhile
        for _ in range(int(control[-1]) if " x" in control else len(parts(control)) - 1):
            now_ns += 2 * CHORD_NS
            mapper.press(parts(control)[1], now_ns)
            mapper.release(parts(control)[1], now_ns)
        mapper.offered = at_last
        now_ns += LONG_NS if control.endswith("long") else 0
        verbs = mapper.reading({}, now_ns).verbs
        mapper.release(parts(control)[0], now_ns)
        verbs += mapper.reading({}, now_ns).verbs
        function = config.function_now(control, meant)
        assert verbs == ((function,) if function != "gripper" else ())


@pytest.mark.parametrize(("commanded", "after_one_press"), [(1.0, 0.0), (0.6, 0.0), (0.4, 1.0), (0.0, 1.0)])
def test_the_gripper_keeps_the_adopted_opening_until_the_toggle_is_pressed(
    commanded: float, after_one_press: float
) -> None:
    mapper = Mapper(KEYBOARD, gripper=commanded)
    assert mapper.reading({}, 0).gripper == commanded
    mapper.press("space", 0)
    assert mapper.reading({}, 0).gripper == after_one_press


@pytest.mark.parametrize("config", READY.values(), ids=READY)
def test_every_ready_map_offers_every_verb_and_the_gripper_on_distinct_labels(config: MappingConfig) -> None:
    functions = [function for control in config.buttons for function in config.functions(control)]
    assert set(functions) == {*Verb, "gripper"}
    controls = [*config.buttons, *config.motions]
    assert len({config.label(control) for control in controls}) == len(controls)


@pytest.mark.parametrize("config", [XBOX, PLAYSTATION], ids=["xbox", "playstation"])
def test_the_pad_maps_name_only_controls_that_a_pad_has(config: MappingConfig) -> None:
    assert config.controls <= {*AXES, *BUTTONS}


def test_the_keyboard_map_names_only_keys_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame.display.init()
    for key in (*KEYBOARD.motions, *KEYBOARD.buttons, KEYBOARD.deadman):
        assert pygame.key.name(pygame.key.key_code(key)) == key


@pytest.mark.parametrize(
    "wrong", [{"motions": {"w": "sideways"}}, {"buttons": {"t": "dance"}}, {"speed_m_s": 0.0}, {"dead_zone": 1.0}]
)
def test_a_wrong_mapping_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MappingConfig(**{"motions": {}, "buttons": {}, **wrong})


def test_an_operators_changes_replace_and_take_away_entries_of_the_ready_map() -> None:
    change = MappingChange(
        motions={"left_trigger": None, "right_y": "up"}, buttons={"a": Verb.TAKEOVER, "b": None}, speed_m_s=0.05
    )
    changed = change.applied_to(XBOX)
    assert "left_trigger" not in changed.motions
    assert changed.motions["right_y"] == "up"
    assert changed.motions["left_x"] == XBOX.motions["left_x"]
    assert changed.buttons["a"] is Verb.TAKEOVER
    assert "b" not in changed.buttons
    assert (changed.speed_m_s, changed.dead_zone) == (0.05, XBOX.dead_zone)
    assert MappingChange().applied_to(XBOX) == XBOX

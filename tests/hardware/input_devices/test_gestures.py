"""Gestures of two buttons, with time as an argument; in the tests' words: l and r go down, L and R go up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.input_devices.gestures import CHORD_NS, LONG_NS, Gestures, parts
from hardware.input_devices.mapping import MappingConfig
from hardware.input_devices.puck import COMPACT_MAPPING
from hardware.input_devices.ready_maps import READY_MAPS
from hardware.interfaces import Verb

COMPACT = ("left", "right", "left long", "left + right", "left + right x2", "left + right x3")
BUTTONS = {"l": "left", "r": "right"}
SHORT_NS = 150_000_000


def played(score: str, mapped: tuple[str, ...] = COMPACT, between_ns: int = SHORT_NS) -> list[str]:
    """Return what counts when letters are played one after another; "-" is the time of a long press."""
    gestures, now_ns, counted = Gestures(mapped), 0, list[str]()
    for letter in score:
        now_ns += LONG_NS if letter == "-" else between_ns
        counted += gestures.long(now_ns)
        if letter != "-":
            turn = gestures.down if letter.islower() else gestures.up
            counted += turn(BUTTONS[letter.lower()], now_ns)
    return counted


@pytest.mark.parametrize(
    ("score", "counted"),
    [
        ("r", ["right"]),
        ("rR", ["right"]),
        ("l", []),
        ("lL", ["left"]),
        ("l-", ["left long"]),
        ("l-L", ["left long"]),
        ("l--L", ["left long"]),
        ("lrR", []),
        ("lrRL", ["left + right"]),
        ("lrRrRL", ["left + right x2"]),
        ("lrRrRrRL", ["left + right x3"]),
        ("lrRrRrRrRL", []),
        ("lr-L", ["left + right"]),
        ("lrLR", ["left + right"]),
        ("rlLR", ["right", "left"]),
        ("rl-LR", ["right", "left long"]),
        ("lLlL", ["left", "left"]),
        ("lrRLr", ["left + right", "right"]),
        ("l-rRL", ["left long", "right"]),
    ],
)
def test_what_counts(score: str, counted: list[str]) -> None:
    assert played(score) == counted


def test_a_hand_that_grabs_both_buttons_at_once_takes_over_at_once_and_does_nothing_else() -> None:
    assert played("lr", between_ns=CHORD_NS // 2) == ["right"]
    assert played("lrRL", between_ns=CHORD_NS // 2) == ["right"]


def test_without_gestures_a_button_counts_when_it_goes_down() -> None:
    assert played("lrLR", ("left", "right")) == ["left", "right"]


def test_the_second_button_of_a_chord_is_not_held_for_anything_else() -> None:
    gestures = Gestures(COMPACT)
    gestures.down("left", 0)
    gestures.down("right", SHORT_NS)
    assert gestures.consumed == {"right"}
    gestures.up("right", 2 * SHORT_NS)
    assert gestures.consumed == set()


def test_a_gesture_that_is_forgotten_comes_to_nothing() -> None:
    gestures = Gestures(COMPACT)
    gestures.down("left", 0)
    gestures.forget()
    assert gestures.long(10 * LONG_NS) == gestures.up("left", 11 * LONG_NS) == []


@given(st.lists(st.sampled_from(["left", "right", "wait"]), max_size=30))
def test_a_press_of_the_takeover_button_counts_at_once_unless_the_other_one_is_held(moves: list[str]) -> None:
    gestures, now_ns, down = Gestures(COMPACT), 0, set[str]()
    for move in moves:
        now_ns += LONG_NS if move == "wait" else SHORT_NS
        counted = gestures.long(now_ns)
        if move != "wait":
            counted += (gestures.up if move in down else gestures.down)(move, now_ns)
            down ^= {move}
        assert set(counted) <= set(COMPACT)
        if move == "right" and down == {"right"}:
            assert counted == ["right"]


def test_names_of_gestures_and_of_plain_controls_are_told_apart() -> None:
    assert parts("left + right x3") == ("left", "right")
    assert parts("left long") == ("left",)
    for plain in ("left shift", "+", "[+]", "right view", "button 7", "x", "long"):
        assert parts(plain) == (plain,)
    assert all(part in {"left", "right"} for control in COMPACT_MAPPING.buttons for part in parts(control))


@pytest.mark.parametrize("style", ["toggle", "deadman"])
@pytest.mark.parametrize("kind", [kind for kind in READY_MAPS if kind != "script"])
def test_on_every_device_every_verb_can_be_reached_in_both_styles(kind: str, style: str) -> None:
    mapping = READY_MAPS[kind].styled(style)  # type: ignore[index, arg-type]
    reachable = {mapping.function_now(control, (verb,)) for control in mapping.buttons for verb in Verb}
    by_button = {Verb.TAKEOVER, Verb.HANDBACK} if style == "deadman" else set()
    assert set(Verb) - by_button <= reachable
    assert not by_button & reachable, "nobody drives without holding the button"
    assert "gripper" in reachable
    assert bool(mapping.deadman) == (style == "deadman")
    assert mapping.deadman not in mapping.buttons


def test_of_several_functions_the_first_that_is_offered_is_done() -> None:
    mapping = MappingConfig(motions={}, buttons={"b": (Verb.TAKEOVER, Verb.HANDBACK)})
    assert mapping.function_now("b", (Verb.HOLD, Verb.HANDBACK)) is Verb.HANDBACK
    assert mapping.function_now("b", (Verb.HANDBACK, Verb.TAKEOVER)) is Verb.TAKEOVER
    assert mapping.function_now("b", (Verb.HOLD,)) is Verb.HANDBACK, "one of them is refused in words"
    assert mapping.function_now("b", ()) is Verb.TAKEOVER, "what is unknown is not in the way of a takeover"
    assert mapping.label_of(Verb.HANDBACK, (Verb.HANDBACK,)) == "B"
    assert mapping.label_of(Verb.HANDBACK, (Verb.TAKEOVER,)) == ""


def test_gestures_are_named_for_people() -> None:
    assert [COMPACT_MAPPING.label(control) for control in COMPACT_MAPPING.buttons][2:5] == [
        "Left long",
        "Left + Right",
        "Left + 2× Right",
    ]


def test_without_a_dead_man_control_its_style_leaves_the_verbs_that_take_over() -> None:
    mapping = MappingConfig(motions={}, buttons={"b": Verb.TAKEOVER})
    assert mapping.styled("deadman").functions("b") == (Verb.TAKEOVER,)

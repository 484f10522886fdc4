"""From the controls of any device to a twist, a gripper opening and verbs; ready maps for keyboard and gamepads.

A control is a named stick axis, trigger, button or key with a value in [-1, 1], or a gesture of buttons (`gestures`).
Directions are the operator's own: forward is away from her. No device library here.
"""

from collections.abc import Collection, Mapping
from dataclasses import field, fields, replace
from math import cos, pi, sin
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hardware.clock import NS_PER_S
from hardware.input_devices.gestures import Gestures, parts
from hardware.interfaces import Teleop, Verb
from hardware.poses import Array

Direction = Literal[
    "forward", "backward", "left", "right", "up", "down",
    "turn_left", "turn_right", "tilt_forward", "tilt_backward", "roll_left", "roll_right",
]  # fmt: skip
Function = Verb | Literal["gripper"]
Functions = Function | tuple[Function, ...]
"""What a control does; of several, the first one that would be followed when it goes down."""
Style = Literal["toggle", "deadman"]
SILENT_NS = NS_PER_S // 5
"""How long nothing may be heard of what moves the arm before it counts as let go."""
REST_NS = NS_PER_S // 5
"""How long a device that was lost has to be at rest before it moves the arm again."""

# Twist (6,) in the operator's view: x forward, y left, z up, and turns about them by the right-hand rule.
DIRECTIONS: dict[Direction, tuple[int, float]] = {
    "forward": (0, 1.0), "backward": (0, -1.0), "left": (1, 1.0), "right": (1, -1.0), "up": (2, 1.0), "down": (2, -1.0),
    "roll_right": (3, 1.0), "roll_left": (3, -1.0), "tilt_forward": (4, 1.0), "tilt_backward": (4, -1.0),
    "turn_left": (5, 1.0), "turn_right": (5, -1.0),
}  # fmt: skip


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MappingConfig:
    """What a device's controls do.

    `motions` names the direction of each control at value +1; `buttons` the verb, or "gripper" for the toggle, or
    several, of which the first does that would be followed when it goes down; `deadman` the control that is held for a
    dead-man takeover. `facing_rad` is the operator's line of sight about the base's z axis: pi where she faces the arm.
    `labels` are the words on the controls for people.
    """

    motions: dict[str, Direction]
    buttons: dict[str, Functions]
    deadman: str = ""
    speed_m_s: Annotated[float, Field(gt=0, le=1)] = 0.15
    rotation_speed_rad_s: Annotated[float, Field(gt=0, le=3)] = 0.8
    dead_zone: Annotated[float, Field(ge=0, lt=1)] = 0.12
    response_exponent: Annotated[float, Field(ge=1, le=4)] = 2.0
    facing_rad: Annotated[float, Field(ge=-2 * pi, le=2 * pi)] = pi
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def controls(self) -> frozenset[str]:
        """All sticks, triggers, buttons and keys that are used, by themselves or in a gesture."""
        buttons = [part for control in self.buttons for part in parts(control)]
        return frozenset([*self.motions, *buttons, *([self.deadman] if self.deadman else [])])

    def functions(self, control: str) -> tuple[Function, ...]:
        """Return what a control can do, most wanted first."""
        does = self.buttons.get(control, ())
        return does if isinstance(does, tuple) else (does,)

    def function_now(self, control: str, offered: Collection[Verb]) -> Function | None:
        """Return what a control does while these verbs would be followed, None if it has no function.

        Where none of several would be followed, it is the last, which is refused in words; where nothing is known of
        what is offered, the first.
        """
        functions = self.functions(control)
        followed = [does for does in functions if does == "gripper" or does in offered]
        refused = functions[::-1] if offered else functions
        return next(iter([*followed, *refused]), None)

    def styled(self, style: Style) -> "MappingConfig":
        """Return the map for a style of the gate: a dead-man control drives while it is held, and is nothing else.

        With it, no other control takes over or hands back: nobody drives without holding it. A map without one is
        as in the toggle style.
        """
        if style == "toggle" or not self.deadman:
            return replace(self, deadman="")
        authority = (Verb.TAKEOVER, Verb.HANDBACK)
        buttons = {
            control: tuple(does for does in self.functions(control) if does not in authority)
            for control in self.buttons
            if control != self.deadman
        }
        return replace(self, buttons={control: does for control, does in buttons.items() if does})

    def label(self, control: str) -> str:
        """Return a control's name for people."""
        if control in self.labels or parts(control) == (control,):
            return self.labels.get(control, control.upper() if len(control) == 1 else control.capitalize())
        first, *second = (self.label(part) for part in parts(control))
        if not second:
            return f"{first} long"
        taps = f"{control[-1]}× " if control[-2:-1] == "x" else ""
        return f"{first} + {taps}{second[0]}"

    def control_of(self, function: Function, offered: Collection[Verb] = ()) -> str:
        """Return the control that does this while these verbs would be followed, or nothing."""
        return next((control for control in self.buttons if self.function_now(control, offered) == function), "")

    def label_of(self, function: Function, offered: Collection[Verb] = ()) -> str:
        """Return that control's name for people, or nothing."""
        control = self.control_of(function, offered)
        return self.label(control) if control else ""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MappingChange:
    """What an operator has otherwise than the ready map of her device; None leaves a value as it is.

    In `motions`, `buttons` and `labels` an entry replaces the ready one of the same control; null takes it away.
    """

    motions: dict[str, Direction | None] = field(default_factory=dict)
    buttons: dict[str, Functions | None] = field(default_factory=dict)
    deadman: str | None = None
    speed_m_s: Annotated[float, Field(gt=0, le=1)] | None = None
    rotation_speed_rad_s: Annotated[float, Field(gt=0, le=3)] | None = None
    dead_zone: Annotated[float, Field(ge=0, lt=1)] | None = None
    response_exponent: Annotated[float, Field(ge=1, le=4)] | None = None
    facing_rad: Annotated[float, Field(ge=-2 * pi, le=2 * pi)] | None = None
    labels: dict[str, str | None] = field(default_factory=dict)

    def applied_to(self, ready: MappingConfig) -> MappingConfig:
        """Return the ready map with these changes."""
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        changes = {name: value for name, value in values.items() if value is not None}
        for name in ("motions", "buttons", "labels"):
            merged = getattr(ready, name) | changes[name]
            changes[name] = {control: value for control, value in merged.items() if value is not None}
        return replace(ready, **changes)


class Mapper:
    """The state between two readings of one device: gestures, the gripper's toggle and the verbs not yet handed out.

    `offered` are the verbs that would be followed now. Of several, a gesture asks for the one that was offered when its
    first button went down: a long press that should hold the arm must not set one going that has just held by itself.
    """

    def __init__(self, config: MappingConfig, gripper: float = 1.0) -> None:
        self.config = config
        self.gripper = gripper
        self.offered: tuple[Verb, ...] = ()
        self._offered_at: dict[str, tuple[Verb, ...]] = {}
        self._gestures = Gestures(config.buttons)
        self._verbs: tuple[Verb, ...] = ()
        self._held = self._doubtful = False
        self._lost = False
        self._resting_ns: int | None = None

    def press(self, control: str, now_ns: int) -> None:
        """Take note that a button or key went down."""
        self._offered_at[control] = self.offered
        self._do(self._gestures.down(control, now_ns))

    def release(self, control: str, now_ns: int) -> None:
        """Take note that a button or key went up."""
        self._do(self._gestures.up(control, now_ns))

    def forget(self) -> None:
        """Let go of a gesture that has begun, as when the device is unplugged.

        Motion is withheld until the controls were at rest for a moment: a stick that is still held over when the device
        is back would else set the arm moving by itself. A dead-man control that was held may be let go meanwhile: it
        moves nothing and hands nothing back before it is held again.
        """
        self._gestures.forget()
        self._doubtful = self._held
        self._lost, self._resting_ns = True, None

    def reading(self, values: Mapping[str, float], capture_ns: int) -> Teleop:
        """Return the reading for the controls' present values in [-1, 1]; absent controls are at rest."""
        self._do(self._gestures.long(capture_ns))
        verbs, self._verbs = self._verbs, ()
        held = self.config.deadman not in self._gestures.consumed and values.get(self.config.deadman, 0.0) > 0.5
        self._doubtful = self._doubtful and not held
        self._held = held or self._doubtful
        wanted = twist(self.config, values)
        if self._lost:
            self._watch_rest(self._doubtful or bool(wanted.any()), capture_ns)
            wanted = np.zeros(6)
        return Teleop(capture_ns, wanted, self.gripper, verbs, self._held)

    def _watch_rest(self, withheld: bool, now_ns: int) -> None:
        """Let motion through again once nothing has withheld it for long enough."""
        if withheld:
            self._resting_ns = None
        elif self._resting_ns is None:
            self._resting_ns = now_ns
        elif now_ns - self._resting_ns >= REST_NS:
            self._lost = False

    def _do(self, controls: list[str]) -> None:
        for control in controls:
            function = self.config.function_now(control, self._offered_at[parts(control)[0]])
            if isinstance(function, Verb):
                self._verbs += (function,)
            elif function == "gripper":
                self.gripper = 0.0 if self.gripper > 0.5 else 1.0


def twist(config: MappingConfig, values: Mapping[str, float]) -> Array:
    """Return the twist (6,) in the base frame, m/s and rad/s, never above the configured speeds."""
    view = np.zeros(6)
    for control, direction in config.motions.items():
        component, sign = DIRECTIONS[direction]
        view[component] += sign * response(config, values.get(control, 0.0))
    linear = config.speed_m_s * _at_most_one(view[:3])
    angular = config.rotation_speed_rad_s * _at_most_one(view[3:])
    base_from_view = np.array(
        [
            [cos(config.facing_rad), -sin(config.facing_rad), 0.0],
            [sin(config.facing_rad), cos(config.facing_rad), 0.0],
            [0.0, 0.0, 1.0],
        ]
    )
    return np.concatenate([base_from_view @ linear, base_from_view @ angular])


def response(config: MappingConfig, value: float) -> float:
    """Return a control's effect in [-1, 1]: none in the dead zone, then a power law that starts there from zero."""
    travel = (min(abs(value), 1.0) - config.dead_zone) / (1.0 - config.dead_zone)
    return float(np.copysign(max(travel, 0.0) ** config.response_exponent, value))


def _at_most_one(vector: Array) -> Array:
    return vector / max(float(np.linalg.norm(vector)), 1.0)


KEYBOARD = MappingConfig(
    motions={
        "w": "forward", "s": "backward", "a": "left", "d": "right", "r": "up", "f": "down",
        "q": "turn_left", "e": "turn_right",
        "up": "tilt_forward", "down": "tilt_backward", "left": "roll_left", "right": "roll_right",
    },
    buttons={
        "space": "gripper", "t": Verb.TAKEOVER, "g": Verb.HANDBACK, "h": Verb.HOLD, "c": Verb.RESUME,
        "m": Verb.RECOVERED, "y": Verb.SUCCEED, "n": Verb.FAIL, "delete": Verb.DISCARD, "return": Verb.RESET,
        "backspace": Verb.DROP_LAST, "l": Verb.TRAIN_NOW, "f9": Verb.ROLLBACK,
    },
    deadman="left shift",
    labels={"return": "Enter", "delete": "Del", "up": "↑", "down": "↓", "left": "←", "right": "→"},
)  # fmt: skip

XBOX = MappingConfig(
    motions={
        "left_y": "backward", "left_x": "right", "right_y": "down", "right_x": "turn_right",
        "left_trigger": "tilt_backward", "right_trigger": "tilt_forward",
    },
    buttons={
        "a": "gripper", "right_shoulder": Verb.TAKEOVER, "left_shoulder": Verb.HANDBACK, "x": Verb.HOLD,
        "y": Verb.RESUME, "b": Verb.RECOVERED, "dpad_up": Verb.SUCCEED, "dpad_down": Verb.FAIL,
        "dpad_left": Verb.DISCARD, "dpad_right": Verb.RESET, "back": Verb.DROP_LAST, "start": Verb.TRAIN_NOW,
        "guide": Verb.ROLLBACK,
    },
    deadman="right_shoulder",
    labels={
        "left_y": "Left stick ↕", "left_x": "Left stick ↔", "right_y": "Right stick ↕", "right_x": "Right stick ↔",
        "left_trigger": "LT", "right_trigger": "RT", "left_shoulder": "LB", "right_shoulder": "RB", "back": "View",
        "start": "Menu", "guide": "Xbox", "dpad_up": "Pad ↑", "dpad_down": "Pad ↓", "dpad_left": "Pad ←",
        "dpad_right": "Pad →",
    },
)  # fmt: skip

PLAYSTATION = MappingConfig(
    motions=XBOX.motions,
    buttons=XBOX.buttons,
    deadman=XBOX.deadman,
    labels={
        **XBOX.labels, "a": "Cross", "b": "Circle", "x": "Square", "y": "Triangle", "left_trigger": "L2",
        "right_trigger": "R2", "left_shoulder": "L1", "right_shoulder": "R1", "back": "Share", "start": "Options",
        "guide": "PS",
    },
)  # fmt: skip

"""What every link to a SpaceMouse tells of its puck and buttons; the models and their ready maps.

The axes are named in the operator's view, whatever the link: `x` right, `y` forward, `z` up, and `rx`, `ry`, `rz` the
turns about them by the right-hand rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from hardware.input_devices.mapping import MappingConfig
from hardware.interfaces import Verb

AXES = ("x", "y", "z", "rx", "ry", "rz")
FULL_SCALE = 350.0


@dataclass(frozen=True)
class Motion:
    """The puck's deflection in the order of `AXES`, in counts: 350 is the end of its travel."""

    counts: tuple[int, int, int, int, int, int]


@dataclass(frozen=True)
class Button:
    """A button, by name, going down or up."""

    name: str
    down: bool


@dataclass(frozen=True)
class Model:
    """A kind of SpaceMouse: the names of its buttons by spacenavd's numbers and by the bits of its HID report."""

    name: Literal["SpaceMouse Compact", "SpaceMouse Pro"]
    numbers: Mapping[int, str]
    bits: Mapping[int, str]
    mapping: MappingConfig = field(repr=False)

    def numbered(self, number: int) -> str:
        """Return the name of the button with a spacenavd number."""
        return self.numbers.get(number, f"button {number}")

    def bit(self, bit: int) -> str:
        """Return the name of the button with a HID bit."""
        return self.bits.get(bit, f"button {bit}")


class PuckLink(Protocol):
    """A way to a SpaceMouse."""

    @property
    def model(self) -> Model:
        """The kind of SpaceMouse at the other end."""
        ...

    @property
    def problem(self) -> str:
        """What is wrong with the link now, in one sentence, or nothing."""
        ...

    def events(self) -> list[Motion | Button]:
        """Return what came since the last call, in order; never waits. A lost link is looked for again."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


_LABELS = {
    "x": "Puck ↔", "y": "Puck forward", "z": "Puck up", "rx": "Puck tilt", "ry": "Puck roll", "rz": "Puck twist",
}  # fmt: skip

# Two buttons for everything. The right one takes over in the moment in which it goes down, so no gesture begins with
# it. The chords come in the order of how often they are wanted.
COMPACT_MAPPING = MappingConfig(
    motions={"x": "right", "y": "forward", "z": "up", "rx": "tilt_backward", "ry": "roll_right", "rz": "turn_left"},
    buttons={
        "left": "gripper",
        "right": (Verb.TAKEOVER, Verb.HANDBACK),
        "left long": (Verb.RECOVERED, Verb.HOLD, Verb.RESUME),
        "left + right": (Verb.SUCCEED, Verb.RESET),
        "left + right x2": (Verb.FAIL, Verb.DROP_LAST),
        "left + right x3": (Verb.DISCARD, Verb.ROLLBACK),
        "left + right x4": Verb.HOLD,
        "left + right x5": Verb.TRAIN_NOW,
    },
    deadman="right",
    dead_zone=0.08,
    labels={**_LABELS, "left": "Left", "right": "Right"},
)

PRO_MAPPING = MappingConfig(
    motions=COMPACT_MAPPING.motions,
    buttons={
        "menu": "gripper", "fit": "gripper", "shift": Verb.TAKEOVER, "ctrl": Verb.HANDBACK, "esc": Verb.HOLD,
        "alt": Verb.RESUME, "lock": Verb.RECOVERED, "1": Verb.SUCCEED, "2": Verb.FAIL, "3": Verb.DISCARD,
        "4": Verb.RESET, "top": Verb.DROP_LAST, "front": Verb.TRAIN_NOW, "roll": Verb.ROLLBACK,
    },
    deadman="shift",
    dead_zone=0.08,
    labels={**_LABELS, "top": "T", "right view": "R", "front": "F", "roll": "Roll", "lock": "Rotation lock"},
)  # fmt: skip

COMPACT = Model("SpaceMouse Compact", {0: "left", 1: "right"}, {0: "left", 1: "right"}, COMPACT_MAPPING)

# spacenavd numbers the Pro's buttons itself from 1.0 on (`bnhack_smpro` in its dev.c); the bits are the device's own.
PRO = Model(
    "SpaceMouse Pro",
    {
        0: "1", 1: "2", 2: "3", 3: "4", 4: "menu", 5: "fit", 6: "top", 7: "right view", 8: "front", 9: "roll",
        10: "lock", 11: "esc", 12: "alt", 13: "shift", 14: "ctrl",
    },
    {
        0: "menu", 1: "fit", 2: "top", 4: "right view", 5: "front", 8: "roll", 12: "1", 13: "2", 14: "3", 15: "4",
        22: "esc", 23: "alt", 24: "shift", 25: "ctrl", 26: "lock",
    },
    PRO_MAPPING,
)  # fmt: skip

USB_IDS: dict[tuple[int, int], Model] = {
    (0x046D, 0xC626): COMPACT,  # SpaceNavigator
    (0x046D, 0xC628): COMPACT,  # SpaceNavigator for Notebooks
    (0x256F, 0xC62E): COMPACT,  # SpaceMouse Wireless, by cable
    (0x256F, 0xC62F): COMPACT,  # SpaceMouse Wireless, receiver
    (0x256F, 0xC635): COMPACT,  # SpaceMouse Compact
    (0x256F, 0xC63A): COMPACT,  # SpaceMouse Wireless
    (0x046D, 0xC62B): PRO,  # SpaceMouse Pro
    (0x256F, 0xC631): PRO,  # SpaceMouse Pro Wireless, by cable
    (0x256F, 0xC632): PRO,  # SpaceMouse Pro Wireless, receiver
    (0x256F, 0xC638): PRO,  # SpaceMouse Pro Wireless, Bluetooth edition
}


def model_of(usb_id: tuple[int, int]) -> Model:
    """Return the model with a USB id; one that is not known counts as a Compact, its further buttons by number."""
    return USB_IDS.get(usb_id, COMPACT)

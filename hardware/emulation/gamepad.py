"""A gamepad without hardware: SDL's own virtual joystick, in the SDL that pygame has loaded, read by the real driver.

`ScriptedPad` lets a script play on it as a person would; how its sticks have to stand is the inverse of the map.
"""

import ctypes
from collections.abc import Callable, Collection
from math import cos, sin
from pathlib import Path

import numpy as np

from hardware.clock import Clock
from hardware.errors import DeviceError
from hardware.input_devices import DeviceKind
from hardware.input_devices.gamepad import AXES, BUTTONS, Gamepad, start_sdl
from hardware.input_devices.mapping import DIRECTIONS, Function, MappingConfig
from hardware.interfaces import Teleop, Verb
from hardware.poses import Array

import pygame  # after the driver, which sets SDL's switches before it loads it  # isort: skip

FULL_SCALE = 32767
TRIGGERS = frozenset({"left_trigger", "right_trigger"})


class VirtualPad:
    """A pad that is plugged in as long as it is not unplugged; its controls have the driver's names."""

    def __init__(self, name: str = "Virtual Xbox Pad") -> None:
        """Plug it in. Raises DeviceError if SDL cannot make it."""
        start_sdl()
        pygame.joystick.init()
        self._sdl = _loaded_sdl()
        description = _Description(
            version=1,
            type=1,
            naxes=len(AXES),
            nbuttons=len(BUTTONS),
            vendor_id=0x1209,
            product_id=0x0001,
            button_mask=(1 << len(BUTTONS)) - 1,
            axis_mask=(1 << len(AXES)) - 1,
            name=name.encode(),
        )
        index = self._sdl.SDL_JoystickAttachVirtualEx(ctypes.byref(description))
        if index < 0:
            problem = self._sdl.SDL_GetError().decode(errors="replace")
            raise DeviceError(f"SDL cannot make a virtual gamepad ({problem}); install pygame-ce 2.5 or newer.")
        self._joystick = pygame.joystick.Joystick(index)
        self._instance = self._joystick.get_instance_id()
        self._handle = ctypes.c_void_p(self._sdl.SDL_JoystickFromInstanceID(self._instance))
        for axis in AXES:
            self.set(axis, 0.0)

    def set(self, control: str, value: float) -> None:
        """Put a control where the driver reads `value`: a stick in [-1, 1], a trigger in [0, 1], a button down at 1."""
        if control in BUTTONS:
            self._sdl.SDL_JoystickSetVirtualButton(self._handle, BUTTONS[control], ctypes.c_uint8(value > 0.5))
        else:
            travel = 2.0 * value - 1.0 if control in TRIGGERS else value
            self._sdl.SDL_JoystickSetVirtualAxis(
                self._handle, AXES[control], ctypes.c_int16(round(min(max(travel, -1.0), 1.0) * FULL_SCALE))
            )

    def tap(self, button: str) -> None:
        """Press a button and let go of it."""
        for value in (1.0, 0.0):
            self.set(button, value)
            pygame.event.pump()

    def unplug(self) -> None:
        """Pull the plug; out is out, however often."""
        for index in range(self._sdl.SDL_NumJoysticks()):
            if self._sdl.SDL_JoystickGetDeviceInstanceID(index) == self._instance:
                self._sdl.SDL_JoystickDetachVirtual(index)
                return


class ScriptedPad:
    """An InputDevice: the real `Gamepad`, on a virtual pad that `expert` plays.

    `expert` returns a twist (6,) in base, m/s and rad/s, and a gripper opening. Speeds above the map's, directions that
    it gives to no stick or trigger, and openings between closed (up to 0.5) and open cannot be played.
    """

    def __init__(
        self, expert: Callable[[], tuple[Array, float]], clock: Clock, mapping: MappingConfig | None = None
    ) -> None:
        """Plug the pad in. Raises DeviceError if there is another one, which the driver might open in its place."""
        start_sdl()
        pygame.joystick.init()
        if pygame.joystick.get_count():
            raise DeviceError("A script plays on a gamepad of its own: unplug all others first.")
        self._expert = expert
        self._pad = VirtualPad()
        self._gamepad = Gamepad(clock, mapping)
        self._opening = 1.0
        self._verbs: tuple[Verb, ...] = ()
        self.deadman = False

    @property
    def mapping(self) -> MappingConfig:
        """What the pad's controls do."""
        return self._gamepad.mapping

    @property
    def kind(self) -> DeviceKind:
        """What kind of pad it passes for."""
        return self._gamepad.kind

    @property
    def problem(self) -> str:
        """What is wrong with the pad now, in one sentence, or nothing."""
        return self._gamepad.problem

    def press(self, *verbs: Verb) -> None:
        """Tap the verbs' buttons at the next reading. Raises DeviceError if the map has none for one of them."""
        for verb in verbs:
            self._button(verb)
        self._verbs += verbs

    def adopt_gripper(self, opening: float) -> None:
        """Go on from the opening that the arm is commanded to."""
        self._opening = opening
        self._gamepad.adopt_gripper(opening)

    def offer(self, verbs: tuple[Verb, ...]) -> None:
        """Take note of what would be followed now."""
        self._gamepad.offer(verbs)

    def read(self) -> Teleop:
        """Ask the script what to do, play it, and return what the driver makes of it."""
        twist, opening = self._expert()
        for control, value in played(self.mapping, twist).items():
            self._pad.set(control, value)
        if self.mapping.deadman:
            self._pad.set(self.mapping.deadman, float(self.deadman))
        for _ in range(toggles(self._opening, opening)):
            self._pad.tap(self._button("gripper"))
        verbs, self._verbs = self._verbs, ()
        for verb in verbs:
            self._pad.tap(self._button(verb))
        reading = self._gamepad.read()
        self._opening = reading.gripper
        return reading

    def close(self) -> None:
        """Unplug the pad."""
        self._gamepad.close()
        self._pad.unplug()

    def _button(self, function: Function) -> str:
        for control in self.mapping.buttons:
            if function in self.mapping.functions(control) and control in BUTTONS:
                return control
        raise DeviceError(f"The gamepad's map has no button for '{function}'; give it one in input.mapping.buttons.")


def played(config: MappingConfig, twist: Array, axes: Collection[str] = AXES) -> dict[str, float]:
    """Return where sticks and triggers have to stand so that `mapping.twist` gives `twist` (6,), as far as it can.

    Another device has other `axes`.
    """
    c, s = cos(config.facing_rad), sin(config.facing_rad)
    view_from_base = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    wanted = np.concatenate(
        [view_from_base @ twist[:3] / config.speed_m_s, view_from_base @ twist[3:] / config.rotation_speed_rad_s]
    )
    values = {control: 0.0 for control in config.motions if control in axes}
    movers: dict[int, tuple[str, float]] = {}
    for control in values:
        component, sign = DIRECTIONS[config.motions[control]]
        if control not in TRIGGERS or sign * wanted[component] > 0.0:
            movers.setdefault(component, (control, sign))
    effects = np.zeros(6)
    effects[list(movers)] = wanted[list(movers)]
    for half in (effects[:3], effects[3:]):
        half /= max(float(np.linalg.norm(half)), 1.0)
    for component, (control, sign) in movers.items():
        values[control] = deflection(config, sign * effects[component])
    return values


def deflection(config: MappingConfig, effect: float) -> float:
    """Return the value of a control that has an effect in [-1, 1]: the inverse of `mapping.response`."""
    if effect == 0.0:
        return 0.0
    travel = min(abs(effect), 1.0) ** (1.0 / config.response_exponent)
    return float(np.copysign(config.dead_zone + (1.0 - config.dead_zone) * travel, effect))


def toggles(opening: float, wanted: float) -> int:
    """Return how often the gripper's button has to be tapped to get from an opening to the wanted end of the stroke.

    A tap closes from above 0.5 and opens from below; an opening in between that was adopted may take two.
    """
    end = 1.0 if wanted > 0.5 else 0.0
    if opening == end:
        return 0
    return 1 if (opening > 0.5) != (end > 0.5) else 2


class _Description(ctypes.Structure):
    """SDL_VirtualJoystickDesc; source: SDL_joystick.h of SDL 2.24 and later."""

    _fields_ = [
        ("version", ctypes.c_uint16),
        ("type", ctypes.c_uint16),
        ("naxes", ctypes.c_uint16),
        ("nbuttons", ctypes.c_uint16),
        ("nhats", ctypes.c_uint16),
        ("vendor_id", ctypes.c_uint16),
        ("product_id", ctypes.c_uint16),
        ("padding", ctypes.c_uint16),
        ("button_mask", ctypes.c_uint32),
        ("axis_mask", ctypes.c_uint32),
        ("name", ctypes.c_char_p),
        *[(f"callback{i}", ctypes.c_void_p) for i in range(7)],
    ]


def _loaded_sdl() -> ctypes.CDLL:
    """Return the SDL 2 library that pygame uses in this process."""
    mapped = Path("/proc/self/maps").read_text().splitlines()
    path = next((line.split()[-1] for line in mapped if "libSDL2-2" in line), None)
    if path is None:
        raise DeviceError("pygame has not loaded SDL 2, so there can be no virtual gamepad; install pygame-ce 2.5.")
    sdl = ctypes.CDLL(path)
    sdl.SDL_JoystickFromInstanceID.restype = ctypes.c_void_p
    sdl.SDL_GetError.restype = ctypes.c_char_p
    return sdl

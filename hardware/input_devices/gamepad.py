"""A gamepad through SDL (pygame-ce), which knows the layouts of a few hundred pads and gives them common names."""

import os
from dataclasses import replace

import numpy as np

from hardware.clock import Clock
from hardware.errors import DeviceError
from hardware.input_devices import DeviceKind
from hardware.input_devices.mapping import Mapper, MappingChange, MappingConfig, Style
from hardware.input_devices.ready_maps import READY_MAPS
from hardware.interfaces import Teleop, Verb

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")

import pygame
from pygame._sdl2 import controller as sdl

AXES = {
    "left_x": pygame.CONTROLLER_AXIS_LEFTX,
    "left_y": pygame.CONTROLLER_AXIS_LEFTY,
    "right_x": pygame.CONTROLLER_AXIS_RIGHTX,
    "right_y": pygame.CONTROLLER_AXIS_RIGHTY,
    "left_trigger": pygame.CONTROLLER_AXIS_TRIGGERLEFT,
    "right_trigger": pygame.CONTROLLER_AXIS_TRIGGERRIGHT,
}
BUTTONS = {
    "a": pygame.CONTROLLER_BUTTON_A,
    "b": pygame.CONTROLLER_BUTTON_B,
    "x": pygame.CONTROLLER_BUTTON_X,
    "y": pygame.CONTROLLER_BUTTON_Y,
    "back": pygame.CONTROLLER_BUTTON_BACK,
    "guide": pygame.CONTROLLER_BUTTON_GUIDE,
    "start": pygame.CONTROLLER_BUTTON_START,
    "left_stick": pygame.CONTROLLER_BUTTON_LEFTSTICK,
    "right_stick": pygame.CONTROLLER_BUTTON_RIGHTSTICK,
    "left_shoulder": pygame.CONTROLLER_BUTTON_LEFTSHOULDER,
    "right_shoulder": pygame.CONTROLLER_BUTTON_RIGHTSHOULDER,
    "dpad_up": pygame.CONTROLLER_BUTTON_DPAD_UP,
    "dpad_down": pygame.CONTROLLER_BUTTON_DPAD_DOWN,
    "dpad_left": pygame.CONTROLLER_BUTTON_DPAD_LEFT,
    "dpad_right": pygame.CONTROLLER_BUTTON_DPAD_RIGHT,
}
PLAYSTATION_WORDS = ("PS3", "PS4", "PS5", "DualS", "Sony", "PlayStation")
NAMES = {number: name for name, number in BUTTONS.items()}
FULL_SCALE = 32767.0


def start_sdl() -> None:
    """Make SDL ready for pads, without a window unless the process has one."""
    if not pygame.display.get_init():
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        pygame.display.init()
    sdl.init()


class Gamepad:
    """An InputDevice on the first gamepad that is plugged in.

    Unplugged, it goes on returning its last reading at rest, which grows old: the arm stops and the expert stays in
    charge, for a held dead-man control is not taken for released. Plugged in again, it goes on once its sticks have
    been at rest.
    """

    def __init__(
        self,
        clock: Clock,
        mapping: MappingConfig | None = None,
        change: MappingChange | None = None,
        style: Style | None = None,
    ) -> None:
        """Open the pad; its make decides the mapping to be changed, unless one is given. Raises DeviceError.

        Without a `style` of the gate, the dead-man control drives and does what it does as a button.
        """
        start_sdl()
        self._clock = clock
        self._pad = self._first_pad()
        if self._pad is None:
            raise DeviceError("No gamepad is plugged in: plug one in, or choose the keyboard.")
        self.kind = self._kind(self._pad)
        ready = mapping or READY_MAPS[self.kind]
        mapping = change.applied_to(ready) if change else ready
        self.mapping = mapping.styled(style) if style else mapping
        if unknown := self.mapping.controls - set(AXES) - set(BUTTONS):
            raise DeviceError(
                f"The gamepad's mapping names {', '.join(sorted(unknown))}; a pad has {', '.join([*AXES, *BUTTONS])}."
            )
        self._mapper = Mapper(self.mapping)
        self._last = Teleop(clock.now_ns())

    @property
    def problem(self) -> str:
        """What is wrong with the device now, in one sentence, or nothing."""
        return "" if self._pad is not None else "The gamepad is unplugged: plug it in again; the arm waits."

    def read(self) -> Teleop:
        """Return the newest reading; verbs are handed out once. Takes all of SDL's events in this process."""
        # All of them: the queue would fill with a moving stick's, and once full, it loses the buttons.
        events = pygame.event.get()
        if self._pad is not None and not self._pad.attached():
            self._pad = None
            self._mapper.forget()  # SDL lets go of every button of a pad that is pulled out
        for event in events:
            if self._pad is None and event.type == pygame.CONTROLLERDEVICEADDED:
                self._pad = self._first_pad()
                self.kind = self.kind if self._pad is None else self._kind(self._pad)
            if (
                self._pad is not None
                and event.type in (pygame.CONTROLLERBUTTONDOWN, pygame.CONTROLLERBUTTONUP)
                and event.instance_id == self._pad.as_joystick().get_instance_id()
            ):
                turn = self._mapper.press if event.type == pygame.CONTROLLERBUTTONDOWN else self._mapper.release
                turn(NAMES.get(event.button, ""), self._clock.now_ns())
        if self._pad is None:
            self._last = replace(self._last, twist=np.zeros(6), verbs=())
        else:
            self._last = self._mapper.reading(self._values(self._pad), self._clock.now_ns())
        return self._last

    def controls(self) -> dict[str, float]:
        """Return every control's value at the last reading, by name, before dead zone and map; none if unplugged."""
        return {} if self._pad is None else self._values(self._pad)

    def adopt_gripper(self, opening: float) -> None:
        """Go on from the opening that the arm is commanded to, so that a takeover drops nothing."""
        self._mapper.gripper = opening

    def offer(self, verbs: tuple[Verb, ...]) -> None:
        """Take note of what would be followed now, for buttons that do the first of several."""
        self._mapper.offered = verbs

    def close(self) -> None:
        """Release the pad."""
        self._pad = None

    @staticmethod
    def _first_pad() -> "sdl.Controller | None":
        return next((sdl.Controller(i) for i in range(sdl.get_count()) if sdl.is_controller(i)), None)

    @staticmethod
    def _kind(pad: "sdl.Controller") -> DeviceKind:
        return "PlayStation pad" if any(word in pad.name for word in PLAYSTATION_WORDS) else "Xbox pad"

    @staticmethod
    def _values(pad: "sdl.Controller") -> dict[str, float]:
        axes = {name: pad.get_axis(number) / FULL_SCALE for name, number in AXES.items()}
        return axes | {name: float(pad.get_button(number)) for name, number in BUTTONS.items()}

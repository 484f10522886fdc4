"""A SpaceMouse as an input device: six axes of a puck and its buttons, through spacenavd or straight from USB HID."""

from dataclasses import replace

import numpy as np

from hardware.clock import Clock
from hardware.errors import DeviceError
from hardware.input_devices import DeviceKind
from hardware.input_devices.mapping import SILENT_NS, Mapper, MappingChange, MappingConfig, Style
from hardware.input_devices.puck import AXES, FULL_SCALE, Motion, PuckLink
from hardware.input_devices.spacemouse_hid import HidLink
from hardware.input_devices.spacenav import SpacenavLink
from hardware.interfaces import Teleop, Verb

AT_REST = Motion((0, 0, 0, 0, 0, 0))


def open_link() -> PuckLink:
    """Return a link through spacenavd or, where that fails, through raw HID. Raises DeviceError if both do."""
    try:
        return SpacenavLink()
    except DeviceError:
        return HidLink()


class SpaceMouse:
    """An InputDevice on a link to a SpaceMouse.

    At rest a SpaceMouse is silent; so a deflection of which nothing more is heard for 0.2 s counts as none. With the
    link lost, the last reading at rest is returned and grows old: the arm stops and the expert stays in charge. Back
    again, it goes on once the puck has been at rest.
    """

    def __init__(
        self,
        link: PuckLink,
        clock: Clock,
        mapping: MappingConfig | None = None,
        change: MappingChange | None = None,
        style: Style | None = None,
    ) -> None:
        """Drive from a link; its model decides the mapping to be changed, unless one is given.

        Without a `style` of the gate, the dead-man control drives and does what it does as a button. Raises
        DeviceError for a mapping that names what the model has not.
        """
        self._link, self._clock = link, clock
        ready = mapping or link.model.mapping
        self.kind: DeviceKind = link.model.name
        mapping = change.applied_to(ready) if change else ready
        self.mapping = mapping.styled(style) if style else mapping
        known = {*AXES, *link.model.numbers.values(), *link.model.bits.values()}
        if unknown := {control for control in self.mapping.controls - known if not control.startswith("button ")}:
            raise DeviceError(
                f"The SpaceMouse's mapping names {', '.join(sorted(unknown))}; "
                f"a {link.model.name} has {', '.join([*AXES, *sorted(known - set(AXES))])}."
            )
        self._mapper = Mapper(self.mapping)
        self._motion = AT_REST
        self._held: set[str] = set()
        self._moved_ns = clock.now_ns()
        self._last = Teleop(clock.now_ns())

    @property
    def problem(self) -> str:
        """What is wrong with the device now, in one sentence, or nothing."""
        return self._link.problem

    def read(self) -> Teleop:
        """Return the newest reading; verbs are handed out once."""
        events = self._link.events()
        now_ns = self._clock.now_ns()
        for event in events:
            if isinstance(event, Motion):
                self._motion, self._moved_ns = event, now_ns
            elif event.down:
                self._mapper.press(event.name, now_ns)
                self._held.add(event.name)
            else:
                self._mapper.release(event.name, now_ns)
                self._held.discard(event.name)
        lost = bool(self._link.problem)
        if lost or now_ns - self._moved_ns > SILENT_NS:
            self._motion = AT_REST
        reading = self._mapper.reading(self._values(), now_ns)
        if lost:
            self._mapper.forget()
            self._held.clear()  # nobody will tell of their release
            reading = replace(reading, capture_ns=self._last.capture_ns, twist=np.zeros(6))
        self._last = reading
        return reading

    def controls(self) -> dict[str, float]:
        """Return every control's value at the last reading, by name, before dead zone and map; none if unplugged."""
        return {} if self._link.problem else self._values()

    def adopt_gripper(self, opening: float) -> None:
        """Go on from the opening that the arm is commanded to, so that a takeover drops nothing."""
        self._mapper.gripper = opening

    def offer(self, verbs: tuple[Verb, ...]) -> None:
        """Take note of what would be followed now, for buttons that do the first of several."""
        self._mapper.offered = verbs

    def close(self) -> None:
        """Release the device."""
        self._link.close()

    def _values(self) -> dict[str, float]:
        axes = {axis: count / FULL_SCALE for axis, count in zip(AXES, self._motion.counts, strict=True)}
        return axes | dict.fromkeys(self._held, 1.0)

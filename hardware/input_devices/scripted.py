"""A script in the operator's place: it drives, and code presses its verbs."""

from collections.abc import Callable

from hardware.clock import Clock
from hardware.input_devices import DeviceKind
from hardware.interfaces import Teleop, Verb
from hardware.poses import Array


class ScriptedExpert:
    """An InputDevice around `expert`, which returns a twist (6,) in base, m/s and rad/s, and a gripper opening."""

    kind: DeviceKind = "script"

    def __init__(self, expert: Callable[[], tuple[Array, float]], clock: Clock) -> None:
        self._expert = expert
        self._clock = clock
        self._verbs: tuple[Verb, ...] = ()
        self.deadman = False

    def press(self, *verbs: Verb) -> None:
        """Press verbs, to be handed out at the next reading."""
        self._verbs += verbs

    @property
    def problem(self) -> str:
        """Nothing: a script does not fail."""
        return ""

    def adopt_gripper(self, opening: float) -> None:
        """The script decides about the gripper."""

    def offer(self, verbs: tuple[Verb, ...]) -> None:
        """The script knows what it asks for."""

    def read(self) -> Teleop:
        """Ask the script what to do now; verbs are handed out once."""
        verbs, self._verbs = self._verbs, ()
        twist, gripper = self._expert()
        return Teleop(self._clock.now_ns(), twist, gripper, verbs, self.deadman)

    def close(self) -> None:
        """Nothing to release."""

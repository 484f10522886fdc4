"""Who puts up the scene for an episode, and when it stands: the simulated cell, a person, or the emulated cell."""

from collections.abc import Callable
from typing import Any, Protocol

from drift_robot.arm_loop import ArmSnapshot
from drift_robot.realtime.child import Life
from drift_robot.realtime.messages import SceneWanted
from hardware.emulation.link import EmulatedCellLink


class Scenes(Protocol):
    """Scenes as control sees them; they are numbered from 1 as they are put up."""

    def standing(self) -> int:
        """Return the number of the scene that stands at the start of the process, 0 for none."""
        ...

    def ask(self, number: int, seed: int) -> None:
        """Ask for the scene of a seed."""
        ...

    def stands(self, arm: ArmSnapshot) -> bool:
        """Tell whether the scene asked for last stands and the arm is where an episode starts."""
        ...


class SimulatedScenes:
    """The simulated cell puts scene and arm where they have to be."""

    def __init__(self, life: Life, cell_record: Callable[[], Any]) -> None:
        self._life = life
        self._cell_record = cell_record
        self._wanted = 0

    def standing(self) -> int:
        """Return the number in the cell's state."""
        return int(self._cell_record()["scene"])

    def ask(self, number: int, seed: int) -> None:
        """Tell the cell."""
        self._wanted = number
        self._life.say(SceneWanted(number, seed))

    def stands(self, arm: ArmSnapshot) -> bool:
        """Tell whether the cell's state is of that scene."""
        return self.standing() == self._wanted


class RealScenes:
    """The arm goes back to its start by itself; the scene is rebuilt by hand, before the operator starts an episode.

    In an emulated cell, whose objects nobody can touch, it is rebuilt here once the arm is out of the way.
    """

    def __init__(self, emulator: str | None) -> None:
        self._emulator = emulator
        self._seed: int | None = None

    def standing(self) -> int:
        """Return 0: nobody knows."""
        return 0

    def ask(self, number: int, seed: int) -> None:
        """Note the seed for the emulated cell."""
        self._seed = seed

    def stands(self, arm: ArmSnapshot) -> bool:
        """Tell whether the arm is at its start. Raises DeviceError if the emulated cell has gone."""
        if not arm.at_start:
            return False
        if self._emulator is not None and self._seed is not None:
            with EmulatedCellLink(self._emulator) as cell:
                cell.put_up(self._seed)
            self._seed = None
        return True

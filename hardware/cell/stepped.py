"""A simulated cell as lock-step runs see it, whichever simulator is behind it, and the choice of that simulator."""

from typing import Protocol

from hardware.cell.cell import Cell
from hardware.cell.task import Scene, ScriptedTask
from hardware.cell.tasks import ROBOSUITE_TASKS, TASKS
from hardware.cell.tracker import Tracker
from hardware.clock import Clock
from hardware.interfaces import Arm, Camera, Gripper
from hardware.poses import Array


class SteppedCell(Protocol):
    """A task in a simulated cell, which moves when it is told to. Lengths of time in seconds."""

    @property
    def task(self) -> ScriptedTask:
        """What is to be done."""
        ...

    @property
    def servo_period_s(self) -> float:
        """The time that passes in a step."""
        ...

    @property
    def arm(self) -> Arm:
        """The arm."""
        ...

    @property
    def gripper(self) -> Gripper:
        """The gripper."""
        ...

    @property
    def tracker(self) -> Tracker:
        """What tracks the task's objects."""
        ...

    def reset(self, seed: int) -> None:
        """Start an episode, as a seed decides it."""
        ...

    def step(self) -> None:
        """Advance by one servo period. The readings are stamped with what the clock says then: advance it first."""
        ...

    def scene(self) -> Scene:
        """Return the true state, which only scripted experts and success tests see."""
        ...

    def succeeded(self) -> bool:
        """Tell whether the task is done."""
        ...

    def camera(self, name: str, height: int = 240, width: int = 320) -> Camera:
        """Return a camera. Raises DeviceError if there is none of that name."""
        ...

    def state_vector(self) -> Array:
        """Return where everything is, for drawing it later."""
        ...


def open_cell(
    task: str,
    *,
    physics_step_s: float,
    servo_period_s: float,
    clock: Clock,
    perception_offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> SteppedCell:
    """Return the cell of a task by its name. Raises DeviceError if it needs robosuite and that is not installed."""
    if task in TASKS:
        return Cell(
            TASKS[task],
            physics_step_s=physics_step_s,
            servo_period_s=servo_period_s,
            clock=clock,
            perception_offset_m=perception_offset_m,
        )
    from hardware.cell.robosuite_cell import RobosuiteCell

    return RobosuiteCell(
        ROBOSUITE_TASKS[task],
        physics_step_s=physics_step_s,
        servo_period_s=servo_period_s,
        clock=clock,
        perception_offset_m=perception_offset_m,
    )

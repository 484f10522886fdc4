"""Drives a cell as the lock-step session does: 10 Hz twists held between, integrated onto the commanded pose."""

from collections.abc import Callable

import numpy as np

from hardware.cell.cell import Cell
from hardware.cell.stepped import SteppedCell
from hardware.cell.task import Scene, Task
from hardware.cell.tasks import ROBOSUITE_TASKS
from hardware.clock import ManualClock
from hardware.poses import Array, Pose, integrate_twist, rotation_vector

POLICY_PERIOD_S = 0.1
LOWEST = np.array([0.15, -0.6, 0.012])  # the workspace limit keeps the finger tips off the table
ROBOSUITE_LOWEST = np.array([0.15, -0.5, -0.1])
Driver = Callable[[Scene], tuple[Array, float]]


def make_cell(task: Task, physics_step_s: float = 0.005, **options: tuple[float, float, float]) -> Cell:
    return Cell(task, physics_step_s=physics_step_s, servo_period_s=0.01, clock=ManualClock(), **options)


def hold(cell: SteppedCell, commanded: Pose, twist: Array, opening: float, seconds: float = POLICY_PERIOD_S) -> Pose:
    """Apply a twist and an opening for a while; return the pose commanded last."""
    lowest = ROBOSUITE_LOWEST if cell.task.name in ROBOSUITE_TASKS else LOWEST
    cell.gripper.move(opening)
    for _ in range(round(seconds / cell.servo_period_s)):
        moved = integrate_twist(commanded, twist, cell.servo_period_s)
        commanded = Pose(np.maximum(moved.position, lowest), moved.rotation)
        cell.arm.servo(commanded)
        cell.step()
    return commanded


def move_to(cell: SteppedCell, commanded: Pose, target: Pose, opening: float, seconds: float = 1.2) -> Pose:
    """Move the TCP to a pose in a straight line."""
    twist = np.append(
        (target.position - commanded.position) / seconds,
        rotation_vector(target.rotation @ commanded.rotation.T) / seconds,
    )
    return hold(cell, commanded, twist, opening, seconds)


def drive(cell: SteppedCell, driver: Driver, commanded: Pose | None = None) -> float | None:
    """Let a driver act until success or the time limit; return the time that it took, None for a failure."""
    commanded = cell.scene().base_from_tcp if commanded is None else commanded
    for step in range(round(cell.task.time_limit_s / POLICY_PERIOD_S)):
        twist, opening = driver(cell.scene())
        commanded = hold(cell, commanded, twist, opening)
        if cell.succeeded():
            return (step + 1) * POLICY_PERIOD_S
    return None


class Noisy:
    """An expert whose actions are spoilt in bursts of 0.3 to 0.8 s: 6 cm/s, 0.3 rad/s, now and then the wrong grip."""

    def __init__(self, expert: Driver, rng: np.random.Generator) -> None:
        self._expert, self._rng = expert, rng
        self._left, self._twist, self._flip = 0, np.zeros(6), False

    def __call__(self, scene: Scene) -> tuple[Array, float]:
        twist, opening = self._expert(scene)
        if self._left == 0 and self._rng.random() < 0.06:
            self._left = int(self._rng.integers(3, 9))
            self._twist = self._rng.normal(0.0, [0.06] * 3 + [0.3] * 3)
            self._flip = bool(self._rng.random() < 0.1)
        if self._left == 0:
            return twist, opening
        self._left -= 1
        return twist + self._twist, 1.0 - opening if self._flip else opening

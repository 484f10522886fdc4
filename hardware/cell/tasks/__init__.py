"""The tasks, by name."""

from hardware.cell.task import RobosuiteTask, ScriptedTask, Task
from hardware.cell.tasks.board import BoardScene
from hardware.cell.tasks.drawer_assembling import DrawerAssembling
from hardware.cell.tasks.drawer_interaction import DrawerInteraction
from hardware.cell.tasks.lift import Lift
from hardware.cell.tasks.microwave import Microwave
from hardware.cell.tasks.pick_and_place import PickAndPlace
from hardware.cell.tasks.robosuite import RobosuiteCan, RobosuiteLift
from hardware.cell.tasks.stacking import Stacking
from hardware.cell.tasks.table import TableScene

TASKS: dict[str, Task] = {
    task.name: task
    for task in (Lift(), PickAndPlace(), Stacking(), Microwave(), DrawerAssembling(), DrawerInteraction())
}
"""The jobs in the simulated cell."""
ROBOSUITE_TASKS: dict[str, RobosuiteTask] = {task.name: task for task in (RobosuiteLift(), RobosuiteCan())}
"""Robosuite's own, in lock-step alone."""
LOCKSTEP_TASKS: dict[str, ScriptedTask] = {**TASKS, **ROBOSUITE_TASKS}
SCENES: dict[str, Task] = TASKS | {
    scene.name: scene for scene in (BoardScene(held=False), BoardScene(held=True), TableScene())
}
"""The jobs in the simulated cell, and the scenes for calibrating."""

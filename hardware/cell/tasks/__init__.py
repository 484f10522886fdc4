"""The tasks of the simulated cell, by name."""

from hardware.cell.task import Task
from hardware.cell.tasks.board import BoardScene
from hardware.cell.tasks.drawer_assembling import DrawerAssembling
from hardware.cell.tasks.drawer_interaction import DrawerInteraction
from hardware.cell.tasks.lift import Lift
from hardware.cell.tasks.microwave import Microwave
from hardware.cell.tasks.pick_and_place import PickAndPlace
from hardware.cell.tasks.stacking import Stacking
from hardware.cell.tasks.table import TableScene

TASKS: dict[str, Task] = {
    task.name: task
    for task in (Lift(), PickAndPlace(), Stacking(), Microwave(), DrawerAssembling(), DrawerInteraction())
}
"""The jobs, by name."""
SCENES: dict[str, Task] = TASKS | {
    scene.name: scene for scene in (BoardScene(held=False), BoardScene(held=True), TableScene())
}
"""The jobs, and the scenes for calibrating."""

"""The simulated cell in real time: physics at the servo rate, in the place of arm, gripper and tracker."""

from dataclasses import dataclass

from drift_robot.realtime import records
from drift_robot.realtime.child import Life
from drift_robot.realtime.messages import SceneWanted
from hardware.cell.cell import Cell
from hardware.cell.realtime import run_realtime
from hardware.cell.tasks import TASKS
from hardware.clock import MonotonicClock
from hardware.rings import RingReader, RingWriter

PRIORITY = 20


@dataclass(frozen=True)
class CellSetup:
    """The cell to be simulated; `perception_offset_m` in base displaces the tracked objects."""

    task: str
    physics_step_s: float
    servo_period_s: float
    perception_offset_m: tuple[float, float, float]

    def build(self) -> Cell:
        """Return the cell on the real clock."""
        return Cell(
            TASKS[self.task],
            physics_step_s=self.physics_step_s,
            servo_period_s=self.servo_period_s,
            clock=MonotonicClock(),
            perception_offset_m=self.perception_offset_m,
        )


def run_cell(setup: CellSetup, life: Life) -> None:
    """Simulate until the session is over. An arm process that falls silent leaves the arm at its last target."""
    cell = setup.build()
    servo, state = RingReader(life.lines.servo), RingWriter(life.lines.cell)
    (control,) = life.listen("control")
    followed = scene = 0

    def tick(now_ns: int) -> None:
        nonlocal followed, scene
        command = servo.latest()
        if command is not None and command.sequence > followed:
            followed = command.sequence
            target = records.servo_target(command.value)
            if target is None:
                cell.arm.stop()
            else:
                cell.arm.servo(target)
            cell.gripper.move(float(command.value["opening"]))
        for message in control.hear():
            if isinstance(message, SceneWanted):
                cell.reset(message.seed)
                scene = message.number
        state.write(
            records.cell_fields(
                cell.arm.read(),
                cell.gripper.read(),
                cell.object_poses(),
                cell.tracker.read().base_from_object,
                cell.state_vector(),
                scene,
                cell.succeeded(),
            )
        )

    life.ready()
    life.ask_for_real_time(PRIORITY)
    run_realtime(cell, MonotonicClock(), life.over, tick)

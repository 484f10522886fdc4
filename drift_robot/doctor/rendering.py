"""Whether the simulated cell can be drawn, and how fast; its pictures stand for those of cameras."""

import time
from collections.abc import Mapping
from pathlib import Path

from drift_robot.doctor.cameras import judge_picture, subject
from drift_robot.doctor.findings import Check, Finding, ok, warning
from drift_robot.doctor.pictures import save_picture
from hardware.cell.cell import Cell
from hardware.cell.rendering import Backend, Renderer, backend
from hardware.cell.tasks import TASKS
from hardware.clock import ManualClock

CAMERA_PERIOD_S = 1 / 30


def check_rendering(task: str, cameras: Mapping[str, tuple[int, int]], folder: Path) -> Check:
    """Draw the cell as each camera, of size (height, width), sees it; keep the pictures as NAME.png in a folder."""
    yield "drawing the simulated cell"
    cell = Cell(TASKS[task], physics_step_s=0.005, servo_period_s=0.01, clock=ManualClock())
    state = cell.state_vector()
    chosen, why = backend()
    renderer = Renderer(TASKS[task], chosen)
    taken_s = []
    for name, (height, width) in cameras.items():
        image = renderer.render(state, name, height, width)
        began_s = time.perf_counter()
        image = renderer.render(state, name, height, width)
        taken_s.append(time.perf_counter() - began_s)
        save_picture(image, folder / f"{name}.png")
        yield judge_picture(subject(name), image)
    yield judge_rendering(chosen, why, max(taken_s))


def judge_rendering(chosen: Backend, why: str, taken_s: float) -> Finding:
    """Judge the time that a picture takes."""
    found = f"{chosen.value}, {1e3 * taken_s:.0f} ms a picture"
    if chosen is Backend.RAYCAST:
        return warning("rendering", f"{found}.", why)
    if taken_s > CAMERA_PERIOD_S:
        return warning("rendering", f"{found}, too slow for 30 Hz.", "Use a smaller picture, or a GPU with EGL.")
    return ok("rendering", found)

"""Pictures of the cell, by the best means that this machine has: EGL, else OSMesa, else ray-casting without GL."""

import atexit
import os
import subprocess
import sys
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from hardware.cell import gl
from hardware.cell.model import CAMERAS, FIXED_CAMERA, build
from hardware.cell.raycast import RayPainter
from hardware.cell.task import Task
from hardware.errors import DeviceError
from hardware.poses import Array

VARIABLE = "DRIFT_ROBOT_RENDERER"
"""Environment variable that sets the backend; the choice is left there for child processes."""
TRIAL_TIMEOUT_S = 30.0


class Backend(StrEnum):
    """The ways to draw, best first."""

    EGL = "egl"
    OSMESA = "osmesa"
    RAYCAST = "raycast"


@cache
def backend() -> tuple[Backend, str]:
    """Return the backend in use and one sentence that says why. The first call tries the candidates (seconds)."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        try:
            return Backend(named), f"Pictures are drawn with {named}, as {VARIABLE} says."
        except ValueError as error:
            known = ", ".join(candidate.value for candidate in Backend)
            raise DeviceError(f"{VARIABLE} is {named!r}; expected one of {known}, or unset it.") from error
    for candidate in (Backend.EGL, Backend.OSMESA):
        if _works(candidate):
            os.environ[VARIABLE] = candidate.value
            return candidate, f"Pictures are drawn with {candidate.value}, which works here."
    os.environ[VARIABLE] = Backend.RAYCAST.value
    return Backend.RAYCAST, (
        "Pictures are ray-cast, several times slower than OpenGL, because neither EGL nor OSMesa works here;"
        " on Debian or Ubuntu install libegl1, libopengl0 and libgl1, or libosmesa6."
    )


class Renderer:
    """Draws a task's cell from a state vector (`Cell.state_vector`), in this or any other process.

    `perception_offset_m` in base is how far things appear displaced to the fixed camera, which has moved the other way.
    """

    def __init__(
        self,
        task: Task,
        chosen: Backend | None = None,
        perception_offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        self._model: Any = build(task.mjcf, physics_step_s=0.005)
        self._model.camera(FIXED_CAMERA).pos -= perception_offset_m
        self._data: Any = mujoco.MjData(self._model)
        self._painter: _Painter
        chosen = chosen or backend()[0]
        self._painter = (
            RayPainter(self._model) if chosen is Backend.RAYCAST else gl.GlPainter(self._model, chosen.value)
        )
        atexit.register(self.close)

    def render(self, state: Array, camera: str, height: int = 240, width: int = 320) -> NDArray[np.uint8]:
        """Return a picture (height, width, 3) RGB of camera "front" or "wrist"."""
        if camera not in CAMERAS:
            raise DeviceError(f"The simulated cell has no camera {camera!r}; choose one of {', '.join(CAMERAS)}.")
        set_state_vector(self._model, self._data, state)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        return self._painter.paint(self._data, self._model.camera(camera).id, height, width)

    def close(self) -> None:
        """Free the GL context, if there is one."""
        atexit.unregister(self.close)
        self._painter.close()


def state_vector(data: Any) -> Array:
    """Return what a picture depends on: joint positions, then positions and quaternions of fixed objects."""
    return np.concatenate([data.qpos, data.mocap_pos.ravel(), data.mocap_quat.ravel()])


def set_state_vector(model: Any, data: Any, state: Array) -> None:
    """Put the numbers of `state_vector` back."""
    positions, quaternions = model.nq + 3 * model.nmocap, model.nq + 7 * model.nmocap
    data.qpos[:] = state[: model.nq]
    data.mocap_pos[:] = state[model.nq : positions].reshape(-1, 3)
    data.mocap_quat[:] = state[positions:quaternions].reshape(-1, 4)


class _Painter(Protocol):
    def paint(self, data: Any, camera_id: int, height: int, width: int) -> NDArray[np.uint8]: ...

    def close(self) -> None: ...


def _works(candidate: Backend) -> bool:
    """Try a GL platform in another process, which may crash or hang."""
    environment = {**os.environ, "MUJOCO_GL": "disable"}
    environment.pop("PYOPENGL_PLATFORM", None)
    try:
        trial = subprocess.run(
            [sys.executable, "-P", str(Path(gl.__file__)), candidate.value],
            env=environment,
            capture_output=True,
            timeout=TRIAL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return trial.returncode == 0

"""Off-screen GL contexts, and a trial of them: `python gl.py egl` draws one picture and fails loudly if it cannot.

The trial runs as a process of its own because a broken GL installation may crash the interpreter. So this file
imports nothing of the project.
"""

import os
import sys
from importlib import import_module
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

_TRIAL = '<mujoco><worldbody><light pos="0 0 3"/><geom size="0.5"/><camera name="c" pos="0 0 3"/></worldbody></mujoco>'


class GlPainter:
    """Draws a model's cameras through OpenGL; `platform` is "egl" or "osmesa"."""

    def __init__(self, model: Any, platform: str) -> None:
        self._model = model
        os.environ["MUJOCO_GL"] = platform  # MuJoCo's own GL loader reads it as well
        self._size = (int(model.vis.global_.offheight), int(model.vis.global_.offwidth))
        self._gl = import_module(f"mujoco.{platform}").GLContext(self._size[1], self._size[0])
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, 1000)
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED

    def paint(self, data: Any, camera_id: int, height: int, width: int) -> NDArray[np.uint8]:
        """Return the picture (height, width, 3) of `data`, whose kinematics are up to date."""
        self._gl.make_current()
        if height > self._size[0] or width > self._size[1]:
            self._size = (max(height, self._size[0]), max(width, self._size[1]))
            mujoco.mjr_resizeOffscreen(self._size[1], self._size[0], self._context)
        self._camera.fixedcamid = camera_id
        rectangle = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        mujoco.mjr_render(rectangle, self._scene, self._context)
        image = np.empty((height, width, 3), np.uint8)
        mujoco.mjr_readPixels(image, None, rectangle, self._context)
        return np.ascontiguousarray(image[::-1])

    def close(self) -> None:
        """Free the context."""
        self._gl.make_current()
        self._context.free()
        self._gl.free()


def _try(platform: str) -> None:
    model = mujoco.MjModel.from_xml_string(_TRIAL)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    painter = GlPainter(model, platform)
    image = painter.paint(data, 0, 16, 16)
    painter.close()
    if int(image.max()) == int(image.min()):
        raise RuntimeError(f"{platform} drew an empty picture")


if __name__ == "__main__":
    _try(sys.argv[1])

"""Pictures without any GL library: one ray a pixel through MuJoCo's primitives, shaded by colour and normal.

Flat meshes with a texture show it, averaged over each pixel; other textures are left out.
"""

from math import radians, tan
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from hardware.poses import Array

TEXTURE_ROLE = int(mujoco.mjtTextureRole.mjTEXROLE_RGB)
SAMPLES = 4
"""A texture is looked up at so many points across and down each pixel."""


class RayPainter:
    """Draws a model's cameras by ray-casting, with the lights that the GL picture has: head light and directional."""

    def __init__(self, model: Any) -> None:
        self._model = model
        has_material = model.geom_matid >= 0
        self._colours = np.where(
            has_material[:, None], model.mat_rgba[np.maximum(model.geom_matid, 0), :3], model.geom_rgba[:, :3]
        )
        self._background = model.tex_data[:3].astype(np.float64) / 255.0
        self._prints = {
            geom: _Print(model, geom)
            for geom in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_MESH).tolist()
            if has_material[geom] and model.mat_texid[model.geom_matid[geom], TEXTURE_ROLE] >= 0
        }
        self._rays: dict[tuple[int, int, int], Array] = {}

    def paint(self, data: Any, camera_id: int, height: int, width: int) -> NDArray[np.uint8]:
        """Return the picture (height, width, 3) of `data`, whose kinematics are up to date."""
        rays = self._camera_rays(camera_id, height, width) @ data.cam_xmat[camera_id].reshape(3, 3).T
        count = height * width
        geom, distance, normal = np.empty(count, np.int32), np.empty(count), np.empty(3 * count)
        mujoco.mj_multiRay(
            self._model, data, data.cam_xpos[camera_id], rays.ravel(), None, 1, -1, geom, distance, normal, count, 100.0
        )
        normals = normal.reshape(-1, 3)
        head = np.maximum(normals @ data.cam_xmat[camera_id].reshape(3, 3)[:, 2], 0.0)
        lamp = np.maximum(-normals @ data.light_xdir[0], 0.0)
        light = (
            self._model.vis.headlight.ambient
            + head[:, None] * self._model.vis.headlight.diffuse
            + lamp[:, None] * self._model.light_diffuse[0]
        )
        own = self._colours[geom]
        for number, drawn in self._prints.items():
            if (hit := geom == number).any():
                own[hit] = drawn.colours(data, number, data.cam_xpos[camera_id], rays, hit, width)
        colours = np.where((geom >= 0)[:, None], own * light, self._background)
        image: NDArray[np.uint8] = np.minimum(colours * 255.0, 255.0).astype(np.uint8)
        return image.reshape(height, width, 3)

    def close(self) -> None:
        """Nothing to free."""

    def _camera_rays(self, camera_id: int, height: int, width: int) -> Array:
        """Return unit vectors (height * width, 3) through the pixels' centres in the camera's frame."""
        key = (camera_id, height, width)
        if key not in self._rays:
            half = tan(radians(float(self._model.cam_fovy[camera_id])) / 2)
            y = (1.0 - (2.0 * np.arange(height) + 1.0) / height) * half
            x = ((2.0 * np.arange(width) + 1.0) / width - 1.0) * half * width / height
            grid = np.stack([*np.meshgrid(x, y), np.full((height, width), -1.0)], axis=-1).reshape(-1, 3)
            self._rays[key] = grid / np.linalg.norm(grid, axis=1, keepdims=True)
        return self._rays[key]


class _Print:
    """The texture on a flat mesh."""

    def __init__(self, model: Any, geom: int) -> None:
        mesh = int(model.geom_dataid[geom])
        first, count = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
        vertices: Array = model.mesh_vert[first : first + count].astype(np.float64)
        begin = int(model.mesh_texcoordadr[mesh])
        corners = model.mesh_texcoord[begin : begin + int(model.mesh_texcoordnum[mesh])].astype(np.float64)
        self._origin = vertices.mean(axis=0)
        _, _, axes = np.linalg.svd(vertices - self._origin)
        self._normal: Array = axes[2]
        # From a point on the plane to its place on the texture: an affine map, told by the corners.
        flat = np.column_stack([(vertices - self._origin) @ axes[:2].T, np.ones(count)])
        self._axes, self._map = axes[:2], np.linalg.lstsq(flat, corners, rcond=None)[0]
        texture = int(model.mat_texid[model.geom_matid[geom], TEXTURE_ROLE])
        height, width = int(model.tex_height[texture]), int(model.tex_width[texture])
        start, channels = int(model.tex_adr[texture]), int(model.tex_nchannel[texture])
        texels = model.tex_data[start : start + height * width * channels].reshape(height, width, channels)
        self._texels: Array = texels[..., :3].astype(np.float64) / 255.0

    def colours(self, data: Any, geom: int, eye: Array, rays: Array, hit: NDArray[np.bool_], width: int) -> Array:
        """Return the colour (k, 3) of each pixel that is hit, of the `rays` (n, 3) of a picture of some width."""
        rotation = data.geom_xmat[geom].reshape(3, 3)
        local_eye = (eye - data.geom_xpos[geom]) @ rotation - self._origin
        spread = rays.reshape(-1, width, 3)
        across, down = (np.asarray(np.gradient(spread, axis=axis)).reshape(-1, 3) for axis in (1, 0))
        offsets = (np.arange(SAMPLES) + 0.5) / SAMPLES - 0.5
        height, breadth = self._texels.shape[:2]
        total = np.zeros((int(hit.sum()), 3))
        for x in offsets:
            for y in offsets:
                toward = (rays[hit] + x * across[hit] + y * down[hit]) @ rotation
                distance = -(local_eye @ self._normal) / (toward @ self._normal)
                flat = (local_eye + distance[:, None] * toward) @ self._axes.T
                u, v = (np.column_stack([flat, np.ones(len(flat))]) @ self._map).T
                column = np.clip((u * breadth).astype(np.int64), 0, breadth - 1)
                row = np.clip((v * height).astype(np.int64), 0, height - 1)
                total += self._texels[row, column]
        colours: Array = total / SAMPLES**2
        return colours

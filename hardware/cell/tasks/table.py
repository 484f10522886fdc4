"""A scene for calibrating the workspace: a bare table, nothing to be done. It can be replaced by one that is tilted."""

from dataclasses import dataclass

import numpy as np

from hardware.cell.task import Props, Scene, TaskObject
from hardware.poses import Array, Pose, rotation_matrix

THICKNESS_M = 0.02
CENTRE_M = (0.35, 0.0)


@dataclass(frozen=True)
class TableScene:
    """The cell's own table at height 0; or, with a height at its centre or a tilt about x and y, another one on it."""

    height_m: float = 0.0
    tilt_rad: tuple[float, float] = (0.0, 0.0)

    name = "bare_table"
    objects: tuple[TaskObject, ...] = ()
    time_limit_s = 60.0

    @property
    def base_from_table(self) -> Pose:
        """The table's pose: origin on its middle, z its normal."""
        return Pose(np.array([*CENTRE_M, self.height_m]), rotation_matrix(np.array([*self.tilt_rad, 0.0])))

    @property
    def mjcf(self) -> Props:
        """The other table, if there is one."""
        if not self.height_m and not any(self.tilt_rad):
            return Props()
        table = self.base_from_table
        x, y, z = (table.position - THICKNESS_M / 2 * table.rotation[:, 2]).tolist()
        axes = " ".join(f"{value:.9g}" for value in (*table.rotation[:, 0], *table.rotation[:, 1]))
        return Props(
            f'<geom name="other_table" type="box" size="0.5 0.6 {THICKNESS_M / 2:g}" pos="{x:.9g} {y:.9g} {z:.9g}"'
            f' xyaxes="{axes}" material="table" friction="1 0.01 0.001"/>'
        )

    def sample(self, rng: np.random.Generator) -> tuple[Pose, ...]:
        """Return nothing: the table is bare."""
        return ()

    def succeeded(self, scene: Scene) -> bool:
        """Tell that there is nothing to succeed in."""
        return False

    def expert(self, scene: Scene) -> tuple[Array, float]:
        """Hold still."""
        return np.zeros(6), 1.0

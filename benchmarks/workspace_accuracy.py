"""How exactly a table is found by touching it in the simulated cell, over seeds, against its truth.

    python benchmarks/workspace_accuracy.py --seeds 12

Each seed draws another table (up to 30 mm high and 2 degrees tilted about both axes), another start of the arm, other
noise of the force (1 N on each axis at every reading) and another error of the arm's pose at every touch (0.2 mm and
0.3 mrad, norms). The plane is compared with the true one at the corners of the workspace's touched part. The arm is put
above each place at once; it goes down as a real one does.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from calibration.guide import conduct, unattended
from calibration.simulated_rig import SimulatedRig
from calibration.teaching import calibrate_workspace, feeling
from calibration.workspace import Plane, plane_of
from hardware.arms.limits import ArmLimits
from hardware.board import BoardConfig
from hardware.cell.tasks.table import TableScene

CORNERS = np.array([[x, y] for x in (0.2, 0.75) for y in (-0.4, 0.4)])


def measured(seed: int) -> tuple[float, ...]:
    """Return the table's tilt (degrees), the found plane's largest error in height (mm) and in angle, its rms (mm)."""
    rng = np.random.default_rng(seed)
    tilt_x, tilt_y = np.radians(rng.uniform(-2.0, 2.0, 2)).tolist()
    scene = TableScene(rng.uniform(0.025, 0.030), (tilt_x, tilt_y))
    limits = replace(ArmLimits(), table_height_m=0.01)
    rig = SimulatedRig("front", BoardConfig(), feeling(limits), False, seed=seed, turn_s=0.25, jumps=True, table=scene)
    rig.cameras = {}  # nobody looks on
    found = conduct(calibrate_workspace(rig, limits, {}, None, {}, ""), unattended(lambda sentence: None)).calibration
    plane, table = plane_of(found), scene.base_from_table
    true = Plane(table.rotation[:, 2], float(table.rotation[:, 2] @ table.position))
    return (
        float(np.degrees(true.tilt_rad)),
        1000 * float(np.abs(plane.height_m(CORNERS) - true.height_m(CORNERS)).max()),
        float(np.degrees(np.arccos(min(1.0, plane.normal @ true.normal)))),
        found.residuals["rms_mm"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    print("seed  tilt deg  error mm  error deg  rms mm", flush=True)
    rows = []
    for seed in range(parser.parse_args().seeds):
        rows.append(measured(seed))
        print(f"{seed:4}" + "".join(f"{value:10.3f}" for value in rows[-1]), flush=True)
    print(" rms" + "".join(f"{value:10.3f}" for value in np.sqrt(np.mean(np.square(rows), axis=0))))
    print(" max" + "".join(f"{value:10.3f}" for value in np.max(rows, axis=0)))


if __name__ == "__main__":
    main()

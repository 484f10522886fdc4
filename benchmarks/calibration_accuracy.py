"""How exact lens and hand-eye calibrations are in the simulated cell, over seeds, against its truth.

    python benchmarks/calibration_accuracy.py --seeds 8

Each seed draws another place of the board and start of the arm, other noise of the pictures (standard deviation of 3
grey levels) and another error of the arm's pose at every standstill (0.2 mm and 0.3 mrad, norms). The lens is
calibrated first, then the hand-eye pose with that lens. The arm is put to each pose at once, as the way there does not
matter.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from calibration.board import Board
from calibration.files import lens_of, pose_of
from calibration.guide import conduct, unattended
from calibration.hand_eye import difference
from calibration.intrinsics import largest_difference
from calibration.procedures import calibrate_hand_eye, calibrate_intrinsics
from calibration.simulated_rig import SimulatedRig
from hardware.arms.limits import ArmLimits
from hardware.board import BoardConfig

LINKS = {"wrist": "tcp", "front": "base"}


def measured(camera: str, seed: int) -> tuple[float, ...]:
    """Return the errors of lens (focal length in %, px) and pose (mm, degrees), those expected, the residual."""
    board, nobody = Board(BoardConfig()), unattended(lambda sentence: None)

    def cell() -> SimulatedRig:
        return SimulatedRig(camera, board.config, ArmLimits(), camera == "wrist", seed=seed, jumps=True)

    rig = cell()
    intrinsics = conduct(calibrate_intrinsics(rig, camera, board, ""), nobody).calibration
    lens, true = lens_of(intrinsics), rig.true_lens()
    rig = cell()
    hand_eye = conduct(calibrate_hand_eye(rig, camera, board, intrinsics, ""), nobody).calibration
    off_m, off_rad = difference(pose_of(hand_eye, f"{LINKS[camera]}_from_camera"), rig.true_link_from_camera())
    residuals = hand_eye.residuals
    return (
        100 * (lens.fx / true.fx - 1),
        largest_difference(lens, true),
        1000 * off_m,
        float(np.degrees(off_rad)),
        residuals["expected_error_mm"],
        residuals["expected_error_deg"],
        residuals["rms_px"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    seeds = parser.parse_args().seeds
    print("camera  seed  focal %  lens px  error mm  error deg  expected mm  expected deg  rms px", flush=True)
    for camera in LINKS:
        rows = []
        for seed in range(seeds):
            rows.append(measured(camera, seed))
            print(f"{camera:6} {seed:5}" + "".join(f"{value:10.3f}" for value in rows[-1]), flush=True)
        print(f"{camera:6}   rms" + "".join(f"{value:10.3f}" for value in np.sqrt(np.mean(np.square(rows), axis=0))))


if __name__ == "__main__":
    main()

"""How exact measured latencies are in the simulated cell, over seeds, against those that were injected.

    python benchmarks/latency_accuracy.py --seeds 6

Each seed draws latencies (camera 0 to 150 ms, arm states 0 to 30, arm commands 0 to 60, gripper commands 0 to 80), the
place of board and arm, and noise (pictures 3 grey levels, the arm's reported position 0.2 mm in norm at every state).
Of arm and gripper the injected part is what comes on top of the same seed without any. Everything is in simulated time,
so the load of the machine does not matter.
"""

import argparse
import sys
from contextlib import closing
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from calibration.board import Board
from calibration.guide import Procedure, conduct, unattended
from calibration.late_rig import Lateness, LateRig
from calibration.latency import calibrate_arm_latency, calibrate_camera_latency, calibrate_gripper_latency
from calibration.procedures import Result
from hardware.arms.limits import ArmLimits
from hardware.board import BoardConfig

BOARD = Board(BoardConfig())
MOST_S = np.array([0.15, 0.03, 0.06, 0.08])


def rig(camera: str, seed: int, late: Lateness) -> LateRig:
    return LateRig(camera, BOARD.config, ArmLimits(), camera == "wrist", seed=seed, late=late)


def found(procedure: Procedure[Result]) -> tuple[dict[str, float], dict[str, float]]:
    """Return values and residuals of a calibration."""
    calibration = conduct(procedure, unattended(lambda sentence: None)).calibration
    return dict(calibration.values), dict(calibration.residuals)


def measured(seed: int) -> list[tuple[str, float, float, float]]:
    """Return what was measured, and of each the injected latency, the error and the expected error, all in ms."""
    late = Lateness(*np.random.default_rng([seed, 7]).uniform(0.0, MOST_S).tolist())
    rows = []
    for camera in ("wrist", "front"):
        with closing(rig(camera, seed, late)) as cell:
            values, residuals = found(calibrate_camera_latency(cell, camera, BOARD, (0.0, 0.0), "", 0.0))
        against_s = late.camera_s - late.arm_state_s
        off_s, screen_off_s = values["against_arm_s"] - against_s, values["shown_s"] - late.camera_s
        rows.append((f"{camera} against arm", against_s, off_s, residuals["motion_expected_error_ms"]))
        rows.append((f"{camera} against screen", late.camera_s, screen_off_s, residuals["screen_expected_error_ms"]))
    loops = []
    for injected in (Lateness(), late):
        with closing(rig("wrist", seed, injected)) as cell:
            arm, arm_off = found(calibrate_arm_latency(cell, 0.0, ""))
            gripper, gripper_off = found(calibrate_gripper_latency(cell, ""))
        loops.append((arm["command_to_state_s"], gripper["command_to_report_s"]))
    arm_s, gripper_s = np.subtract(loops[1], loops[0]).tolist()
    both_s = late.arm_command_s + late.arm_state_s
    rows.append(("arm command to state", both_s, arm_s - both_s, arm_off["expected_error_ms"]))
    gripper_off_s = gripper_s - late.gripper_command_s
    rows.append(("gripper command to report", late.gripper_command_s, gripper_off_s, gripper_off["expected_error_ms"]))
    return [(name, 1000 * truth_s, 1000 * error_s, error_ms) for name, truth_s, error_s, error_ms in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    errors: dict[str, list[float]] = {}
    print(f"{'latency of':27} seed  injected ms  error ms  expected error ms", flush=True)
    for seed in range(parser.parse_args().seeds):
        for name, truth_ms, error_ms, expected_ms in measured(seed):
            errors.setdefault(name, []).append(error_ms)
            print(f"{name:27} {seed:4} {truth_ms:12.1f} {error_ms:9.2f} {expected_ms:18.2f}", flush=True)
    for name, off_ms in errors.items():
        print(f"{name:27} rms {np.sqrt(np.mean(np.square(off_ms))):.2f} ms, largest {np.abs(off_ms).max():.2f} ms")


if __name__ == "__main__":
    main()

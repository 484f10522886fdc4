"""The simulated cell to be calibrated: a board is in it, time passes only when told to, and nothing is perfect.

For each standstill the arm's pose is reported a little wrong, as a real arm's is; pictures get noise. The truth can be
asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.rig import CameraSite, SlowArm
from hardware.arms.limits import ArmLimits
from hardware.board import BoardConfig
from hardware.cameras.lens import Lens
from hardware.cell.cell import Cell
from hardware.cell.model import CAMERAS, TOOL0_FROM_TCP
from hardware.cell.optics import true_lens, true_pose
from hardware.cell.tasks.board import BoardScene
from hardware.cell.tasks.table import TableScene
from hardware.clock import NS_PER_S, ManualClock
from hardware.errors import DeviceError
from hardware.interfaces import Arm, ArmState, Frame
from hardware.poses import Pose, rotation_matrix

HEIGHT, WIDTH = 480, 640
NOISE_SPARE = 64
"""Each picture's noise is a random piece of one field larger by so many pixels: drawing it anew takes long."""
SERVO_PERIOD_S, PHYSICS_STEP_S = 0.01, 0.005


@dataclass(frozen=True)
class Imperfections:
    """Standard deviations: of the reported pose (norms, m and rad, anew at each place), of pixels (grey levels), of
    each axis of the force (N, anew at every reading).

    `factory_focal` is by what share the factory's focal length is off. The defaults are those of a good arm and camera.
    """

    arm_m: float = 2e-4
    arm_rad: float = 3e-4
    grey: float = 3.0
    force_n: float = 1.0
    factory_focal: float = 0.004


class Grain:
    """Noise of pictures of (HEIGHT, WIDTH), by its standard deviation in grey levels."""

    def __init__(self, rng: np.random.Generator, grey: float) -> None:
        size = (HEIGHT + NOISE_SPARE, WIDTH + NOISE_SPARE, 3)
        self._rng, self._noise = rng, np.rint(rng.normal(0.0, grey, size)).astype(np.int16)

    def on(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a picture with noise."""
        row, column = self._rng.integers(0, NOISE_SPARE, 2).tolist()
        noisy = image + self._noise[row : row + HEIGHT, column : column + WIDTH]
        return np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)


class SimulatedRig:
    """A `Rig`: one camera of the simulated cell, the board on the table or in the gripper as that camera needs it.

    Instead of the board there can be a bare `table` to touch. `others` are cameras beside the first, and whether they
    ride on the arm. One that `jumps` is at every goal at once, as what is measured there does not depend on the way.
    """

    drives = True
    flange_from_tcp = TOOL0_FROM_TCP

    def __init__(
        self,
        camera: str,
        board: BoardConfig,
        limits: ArmLimits,
        on_arm: bool,
        *,
        seed: int = 0,
        turn_s: float = 0.05,
        jumps: bool = False,
        imperfections: Imperfections | None = None,
        table: TableScene | None = None,
        others: Mapping[str, bool] | None = None,
    ) -> None:
        riding = {camera: on_arm, **(others or {})}
        if unknown := [name for name in riding if name not in CAMERAS]:
            raise DeviceError(f"The simulated cell has no camera {unknown[0]!r}; choose one of {', '.join(CAMERAS)}.")
        self.limits = limits
        self.scene = BoardScene(held=not on_arm, board=board)
        self._camera = camera
        self._off = imperfections or Imperfections()
        self._jumps = jumps
        self._turns = max(1, round(turn_s / SERVO_PERIOD_S))
        self._rng = np.random.default_rng(seed)
        self._clock = ManualClock(NS_PER_S)
        self._cell = Cell(
            table or self.scene, physics_step_s=PHYSICS_STEP_S, servo_period_s=SERVO_PERIOD_S, clock=self._clock
        )
        self._cell.reset(seed)
        self._arm = SlowArm(_NoisyForce(self._cell.arm, self._off.force_n, seed), limits, self._clock)
        self._eyes = {name: self._cell.camera(name, HEIGHT, WIDTH) for name in riding}
        self._error = self._drawn_error()
        self._grain = Grain(self._rng, self._off.grey)
        self.cameras: Mapping[str, CameraSite] = {
            name: CameraSite(on_arm, f"simulated-{name}", self._factory_lens(name)) for name, on_arm in riding.items()
        }

    @property
    def arrived(self) -> bool:
        """Whether the arm is where it was last told to go."""
        return self._arm.arrived

    def turn(self) -> None:
        """Let the simulated time of a turn pass."""
        if self._jumps and self._arm.arrived:
            self._clock.advance_s(self._turns * SERVO_PERIOD_S)
            self._cell.arm.capture(self._clock.now_ns())
            return
        for _ in range(self._turns):
            _, stopped = self._arm.tick()
            if stopped is not None:
                raise DeviceError(stopped)
            self._clock.advance_s(SERVO_PERIOD_S)
            self._cell.step()

    def look(self, camera: str) -> Frame:
        """Return the camera's picture of this moment."""
        frame = self._eyes[camera].read(0.0)
        return Frame(frame.capture_ns, self._grain.on(frame.image))

    def arm(self) -> ArmState:
        """Return the arm's state, its pose a little wrong."""
        state = self._cell.arm.read()
        return replace(state, base_from_tcp=self._misread(state.base_from_tcp))

    def go(self, base_from_tcp: Pose) -> None:
        """Begin to move there."""
        self._error = self._drawn_error()
        if self._jumps:
            self._cell.place_arm(base_from_tcp)
        else:
            self._arm.go(base_from_tcp)

    def touch(self, depth_m: float) -> None:
        """Begin to move straight down, until something is touched or that far."""
        self._error = self._drawn_error()
        self._arm.touch(depth_m)

    @property
    def touched(self) -> Pose | None:
        """Where the TCP was when the last `touch` felt something, a little wrong."""
        return None if self._arm.touched is None else self._misread(self._arm.touched)

    def hold(self) -> None:
        """Decelerate and hold."""
        self._arm.hold()

    def close(self) -> None:
        """Nothing to release."""

    def true_lens(self) -> Lens:
        """Return the camera's lens as it is."""
        return true_lens(self._camera, HEIGHT, WIDTH)

    def true_link_from_camera(self) -> Pose:
        """Return where the camera is on its link: the TCP or the base."""
        return true_pose(self._camera)

    def true_base_from_board(self) -> Pose:
        """Return where the board is, on the table or in the gripper."""
        if self.scene.held:
            return self._cell.arm.pose() @ self.scene.tcp_from_board()
        return self._cell.object_poses()[0] @ self.scene.plate_from_board()

    def _factory_lens(self, camera: str) -> Lens:
        lens = true_lens(camera, HEIGHT, WIDTH)
        focal = lens.fx * (1.0 + self._off.factory_focal)
        return replace(lens, fx=focal, fy=focal)

    def _misread(self, pose: Pose) -> Pose:
        return Pose(pose.position + self._error.position, self._error.rotation @ pose.rotation)

    def _drawn_error(self) -> Pose:
        share = 1.0 / np.sqrt(3.0)  # of a norm, on each axis
        return Pose(
            self._rng.normal(0.0, self._off.arm_m * share, 3),
            rotation_matrix(self._rng.normal(0.0, self._off.arm_rad * share, 3)),
        )


class _NoisyForce:
    """An `Arm` whose force is read with noise."""

    def __init__(self, arm: Arm, force_n: float, seed: int) -> None:
        self._arm, self._force_n = arm, force_n
        self._rng = np.random.default_rng((seed, 1))
        self.servo, self.stop, self.recover, self.close = arm.servo, arm.stop, arm.recover, arm.close

    @property
    def servo_period_s(self) -> float:
        return self._arm.servo_period_s

    @property
    def fault(self) -> str | None:
        return self._arm.fault

    def read(self) -> ArmState:
        state = self._arm.read()
        noise = self._rng.normal(0.0, self._force_n, 3)
        return replace(state, wrench=np.concatenate([state.wrench[:3] + noise, state.wrench[3:]]))

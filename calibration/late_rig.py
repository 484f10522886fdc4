"""The simulated cell to measure latencies in: time passes only when told to, and every device is late by a known time.

Whatever is late is so by interpolation in the past, so that the truth is exact and not a whole number of periods.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.lag import Signal
from calibration.rig import CameraSite, Log, SlowArm
from calibration.simulated_rig import HEIGHT, PHYSICS_STEP_S, SERVO_PERIOD_S, WIDTH, Grain, Imperfections
from hardware.arms.limits import ArmLimits
from hardware.board import BoardConfig
from hardware.cell.cell import Cell
from hardware.cell.rendering import Renderer
from hardware.cell.tasks.board import BoardScene
from hardware.clock import NS_PER_S, ManualClock
from hardware.errors import DeviceError
from hardware.interfaces import Arm, ArmState, Frame, Gripper
from hardware.poses import Array, Pose, pose_from_vector, pose_vector

TURNS = 6
"""Servo periods of a turn: the camera's pictures come at 17 Hz, each captured at some time since the last turn."""
MEMORY_S = 1.5
SCREEN_SEEN = np.array([[150, 80], [520, 60], [540, 400], [130, 380]], dtype=np.float32)
"""Where the corners of a screen before the camera are in the picture."""


@dataclass(frozen=True)
class Lateness:
    """By how much devices are late, in s: pictures and states after what they show, motions after their commands."""

    camera_s: float = 0.0
    arm_state_s: float = 0.0
    arm_command_s: float = 0.0
    gripper_command_s: float = 0.0


class LateRig:
    """A `TimingRig`: one camera of the simulated cell, the board as that camera needs it, everything late as told."""

    serial = "simulated"

    def __init__(
        self,
        camera: str,
        board: BoardConfig,
        limits: ArmLimits,
        on_arm: bool,
        *,
        seed: int = 0,
        late: Lateness | None = None,
        imperfections: Imperfections | None = None,
    ) -> None:
        self.limits = limits
        self.cameras: Mapping[str, CameraSite] = {camera: CameraSite(on_arm, f"simulated-{camera}")}
        late = late or Lateness()
        off = imperfections or Imperfections()
        self._rng = np.random.default_rng(seed)
        self._clock = ManualClock(NS_PER_S)
        scene = BoardScene(held=not on_arm, board=board)
        self._cell = Cell(scene, physics_step_s=PHYSICS_STEP_S, servo_period_s=SERVO_PERIOD_S, clock=self._clock)
        self._cell.reset(seed)
        self._late_arm = _LateArm(self._cell.arm, late, self._clock, self._rng, off.arm_m / np.sqrt(3.0))
        self._gripper = _LateGripper(self._cell.gripper, late.gripper_command_s, self._clock)
        self._arm = SlowArm(self._late_arm, limits, self._clock, self._gripper)
        self._scene = scene
        self._renderer: Renderer | None = None
        self._drawings = _Past()
        self._grain = Grain(self._rng, off.grey)
        self._camera_late_ns = round(late.camera_s * NS_PER_S)
        self._screens: list[tuple[int, NDArray[np.uint8] | None]] = []
        self._rows: list[tuple[int, int, Array]] = []
        self.turn()

    @property
    def swaying(self) -> bool:
        """Whether the small motion goes on."""
        return self._arm.swaying

    def now_ns(self) -> int:
        """Return the simulated time."""
        return self._clock.now_ns()

    def turn(self) -> None:
        """Let the simulated time of a turn pass."""
        for _ in range(TURNS):
            now_ns = self._clock.now_ns()
            self._drawings.add(now_ns, self._cell.state_vector())
            state, stopped = self._arm.tick()
            if stopped is not None:
                raise DeviceError(stopped)
            commanded = self._arm.commanded or state.base_from_tcp
            row = [*commanded.position, *state.base_from_tcp.position]
            row += [self._arm.commanded_opening, self._gripper.read()]
            self._rows.append((now_ns, state.capture_ns, np.array(row)))
            self._clock.advance_s(SERVO_PERIOD_S)
            self._cell.step()

    def look(self, camera: str) -> Frame:
        """Return the newest picture, stamped at some time since the last turn, of what was there `camera_s` before."""
        age_s = self._rng.uniform(SERVO_PERIOD_S, (TURNS + 1) * SERVO_PERIOD_S)
        stamp_ns = self._clock.now_ns() - round(age_s * NS_PER_S)
        shows_ns = stamp_ns - self._camera_late_ns
        screen = next((picture for since_ns, picture in reversed(self._screens) if since_ns <= shows_ns), None)
        if screen is None:
            self._renderer = self._renderer or Renderer(self._scene)
            image = self._renderer.render(self._drawings.at(shows_ns), camera, HEIGHT, WIDTH)
        else:
            image = _seen(screen)
        return Frame(stamp_ns, self._grain.on(image))

    def arm(self) -> ArmState:
        """Return the newest state that is reported."""
        return self._late_arm.read()

    def sway(self, grips: bool, again: bool = False) -> None:
        """Begin the small motion."""
        if not again:
            self._rows.clear()
        self._arm.sway(grips)

    def log(self) -> Log:
        """Return what was commanded and reported since the sway began."""
        called = np.array([row[0] for row in self._rows], dtype=np.int64)
        stamped = np.array([row[1] for row in self._rows], dtype=np.int64)
        values = np.array([row[2] for row in self._rows])
        reached = called + round(SERVO_PERIOD_S * NS_PER_S)
        return Log(
            Signal(reached, values[:, :3]),
            Signal(stamped, values[:, 3:6]),
            Signal(called, values[:, 6:7]),
            Signal(stamped, values[:, 7:]),
        )

    def screen(self, picture: NDArray[np.uint8] | None) -> None:
        """Show a picture on a screen before the camera from now on, or take it away."""
        self._screens = [*self._screens[-50:], (self._clock.now_ns(), picture)]

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()


class _Past:
    """Numbers by their time, for a while back, interpolated."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, Array]] = deque()

    def add(self, time_ns: int, numbers: Array) -> None:
        """Keep the newest numbers."""
        self._kept.append((time_ns, numbers))
        while time_ns - self._kept[0][0] > MEMORY_S * NS_PER_S:
            self._kept.popleft()

    def at(self, time_ns: int) -> Array:
        """Return the numbers of a time; the oldest or newest ones outside what is kept."""
        after = next((i for i, (kept_ns, _) in enumerate(self._kept) if kept_ns >= time_ns), len(self._kept))
        if after in (0, len(self._kept)):
            return self._kept[min(after, len(self._kept) - 1)][1]
        (a_ns, a), (b_ns, b) = self._kept[after - 1], self._kept[after]
        return a + (time_ns - a_ns) / (b_ns - a_ns) * (b - a)


class _LateArm:
    """An `Arm` that follows its commands late, and reports late and a little wrong where it is."""

    def __init__(self, arm: Arm, late: Lateness, clock: ManualClock, rng: np.random.Generator, wrong_m: float) -> None:
        self._arm, self._clock, self._rng, self._wrong_m = arm, clock, rng, wrong_m
        self._command_ns, self._state_ns = (round(s * NS_PER_S) for s in (late.arm_command_s, late.arm_state_s))
        self._commands, self._states = _Past(), _Past()

    @property
    def servo_period_s(self) -> float:
        return self._arm.servo_period_s

    @property
    def fault(self) -> str | None:
        return self._arm.fault

    def recover(self) -> None:
        self._arm.recover()

    def read(self) -> ArmState:
        state = self._arm.read()
        self._states.add(state.capture_ns, pose_vector(state.base_from_tcp))
        past = pose_from_vector(self._states.at(state.capture_ns - self._state_ns))
        return replace(
            state, base_from_tcp=Pose(past.position + self._rng.normal(0.0, self._wrong_m, 3), past.rotation)
        )

    def servo(self, base_from_tcp: Pose) -> None:
        now_ns = self._clock.now_ns()
        self._commands.add(now_ns, pose_vector(base_from_tcp))
        self._arm.servo(pose_from_vector(self._commands.at(now_ns - self._command_ns)))

    def stop(self) -> None:
        self._arm.stop()

    def close(self) -> None:
        self._arm.close()


class _LateGripper:
    """A `Gripper` that follows its commands late; one that is told nothing new goes on with the last."""

    def __init__(self, gripper: Gripper, late_s: float, clock: ManualClock) -> None:
        self._gripper, self._late_ns, self._clock = gripper, round(late_s * NS_PER_S), clock
        self._commands = _Past()

    @property
    def fault(self) -> str | None:
        return self._gripper.fault

    def recover(self) -> None:
        self._gripper.recover()

    def read(self) -> float:
        return self._gripper.read()

    def move(self, opening: float) -> None:
        now_ns = self._clock.now_ns()
        self._commands.add(now_ns, np.array([opening]))
        self._gripper.move(float(self._commands.at(now_ns - self._late_ns)[0]))

    def close(self) -> None:
        self._gripper.close()


def _seen(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return how a camera sees a screen that shows a picture."""
    height, width, _ = picture.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    onto = cv2.getPerspectiveTransform(corners, SCREEN_SEEN)
    seen = cv2.warpPerspective(picture, onto, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderValue=(90, 90, 90))
    return np.asarray(seen, dtype=np.uint8)

"""From device readings to what the policy sees: features of tracked objects, aligned samples, their history."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from drift_robot.arm_loop import ArmSnapshot
from hardware.arms import rotations
from hardware.interfaces import ArmState, Frame
from hardware.poses import Pose, pose_vector
from policies.policy import Observation

OBJECT_DIM = 8


@dataclass(frozen=True)
class Reading:
    """The arm's measured state and the gripper's measured opening, at the state's capture time."""

    state: ArmState
    opening: float


@dataclass(frozen=True)
class Sample:
    """What was observed at one policy step. Pose vectors (9,), `objects` (8 per object,), frames by camera.

    `arm` is the newest snapshot, for who drives and what is commanded; `state` was measured when the pictures were
    captured, and `tcp` and `gripper` are of that time.
    """

    time_ns: int
    arm: ArmSnapshot
    state: ArmState
    tcp: NDArray[np.float32]
    commanded: NDArray[np.float32]
    gripper: NDArray[np.float32]
    objects: NDArray[np.float32]
    frames: dict[str, Frame] = field(default_factory=dict)


def object_features(
    base_from_tcp: Pose, base_from_objects: tuple[Pose, ...], symmetries: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return 8 numbers an object: position in base, position minus TCP, cos and sin of its yaw relative to the TCP's.

    The yaw difference is multiplied by the object's symmetry order (4 for a cube), so that equal looks are equal
    numbers.
    """
    tcp_yaw = _yaw(base_from_tcp)
    features = [
        np.concatenate(
            [
                pose.position,
                pose.position - base_from_tcp.position,
                [np.cos(order * (_yaw(pose) - tcp_yaw)), np.sin(order * (_yaw(pose) - tcp_yaw))],
            ]
        )
        for pose, order in zip(base_from_objects, symmetries, strict=True)
    ]
    return np.concatenate(features).astype(np.float32) if features else np.zeros(0, np.float32)


def _yaw(pose: Pose) -> float:
    return float(np.arctan2(pose.rotation[1, 0], pose.rotation[0, 0]))


def together(frames: Mapping[str, Sequence[Frame]]) -> dict[str, Frame]:
    """Return a frame of each camera, captured as near to each other as can be: where the slowest camera's newest was.

    Of every camera the last few frames are given, oldest first; cameras without any are left out.
    """
    seen = {name: recent for name, recent in frames.items() if recent}
    if not seen:
        return {}
    time_ns = min(recent[-1].capture_ns for recent in seen.values())
    return {name: min(recent, key=lambda frame: abs(frame.capture_ns - time_ns)) for name, recent in seen.items()}


def reading_at(readings: Sequence[Reading], time_ns: int) -> Reading:
    """Return what was measured at a time, interpolated between readings, oldest first; outside them the nearest one."""
    after = next((i for i, reading in enumerate(readings) if reading.state.capture_ns >= time_ns), len(readings))
    if after == len(readings) or after == 0:
        return readings[min(after, len(readings) - 1)]
    a, b = readings[after - 1], readings[after]
    span_ns = b.state.capture_ns - a.state.capture_ns
    u = (time_ns - a.state.capture_ns) / span_ns
    turn = rotations.log(b.state.base_from_tcp.rotation @ a.state.base_from_tcp.rotation.T)
    position = a.state.base_from_tcp.position + u * (b.state.base_from_tcp.position - a.state.base_from_tcp.position)
    state = ArmState(
        time_ns,
        a.state.joints + u * (b.state.joints - a.state.joints),
        a.state.joint_velocities + u * (b.state.joint_velocities - a.state.joint_velocities),
        Pose(position, rotations.exp(u * turn) @ a.state.base_from_tcp.rotation),
        a.state.wrench + u * (b.state.wrench - a.state.wrench),
        b.state.safety,
    )
    return Reading(state, a.opening + u * (b.opening - a.opening))


def sample(
    time_ns: int, arm: ArmSnapshot, reading: Reading, objects: NDArray[np.float32], frames: dict[str, Frame]
) -> Sample:
    """Return the sample of one policy step: an arm snapshot, and what was measured and seen."""
    return Sample(
        time_ns=time_ns,
        arm=arm,
        state=reading.state,
        tcp=pose_vector(reading.state.base_from_tcp).astype(np.float32),
        commanded=pose_vector(arm.commanded).astype(np.float32),
        gripper=np.array([reading.opening], np.float32),
        objects=objects,
        frames=frames,
    )


class History:
    """The last `horizon` samples; before there are so many, the first one repeats."""

    def __init__(self, horizon: int) -> None:
        self._samples: deque[Sample] = deque(maxlen=horizon)

    def append(self, new: Sample) -> None:
        """Add the newest sample."""
        self._samples.append(new)

    def clear(self) -> None:
        """Forget everything, at an episode's start."""
        self._samples.clear()

    @property
    def newest(self) -> Sample:
        """The sample of the present step."""
        return self._samples[-1]

    def samples(self) -> list[Sample]:
        """Return `horizon` samples, oldest first."""
        missing = (self._samples.maxlen or 0) - len(self._samples)
        return [self._samples[0]] * missing + list(self._samples)


def batch_observations(histories: list[History]) -> Observation:
    """Stack the histories of one or more cells into one observation for the policy."""
    rows = [history.samples() for history in histories]

    def stack(name: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([np.stack([getattr(sample, name) for sample in row]) for row in rows]))

    cameras = rows[0][-1].frames
    return Observation(
        tcp=stack("tcp"),
        commanded=torch.from_numpy(np.stack([row[-1].commanded for row in rows])),
        gripper=stack("gripper"),
        objects=stack("objects"),
        images={
            name: torch.from_numpy(np.stack([np.stack([s.frames[name].image for s in row]) for row in rows]))
            for name in cameras
        },
    )

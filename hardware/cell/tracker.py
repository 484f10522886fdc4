"""The object tracker of a simulated cell: true poses, or poses that are wrong by a constant offset."""

from collections.abc import Callable
from dataclasses import dataclass

from hardware.poses import Array, Pose


@dataclass(frozen=True)
class TrackedObjects:
    """What the object tracker reports: poses in the task's order, stamped at capture."""

    capture_ns: int
    base_from_object: tuple[Pose, ...]


class Tracker:
    """Tracks the task's objects, wrong by a constant `offset_m` (3,) in base: the deployment shift.

    True poses come from one function, the time of the cell's last step from another.
    """

    def __init__(
        self, object_poses: Callable[[], tuple[Pose, ...]], capture_ns: Callable[[], int], offset_m: Array
    ) -> None:
        self._object_poses, self._capture_ns, self._offset_m = object_poses, capture_ns, offset_m

    def read(self) -> TrackedObjects:
        """Return the objects as perceived after the cell's last step."""
        poses = tuple(Pose(pose.position + self._offset_m, pose.rotation) for pose in self._object_poses())
        return TrackedObjects(self._capture_ns(), poses)

"""The emulated cell from another process: to see it, as a camera or a scripted expert does, and to put up scenes."""

from dataclasses import dataclass
from types import TracebackType

import numpy as np

from hardware.cell.task import Scene
from hardware.emulation.admin import AdminClient
from hardware.poses import Array, Pose

TIMEOUT_S = 1.0


@dataclass(frozen=True)
class CellView:
    """The cell after a step of its physics, true to the last bit.

    `drawing` is the state vector for a `hardware.cell.rendering.Renderer` of the task; `base_from_object` are the
    objects in the task's order. The scene's number rises whenever one is put up. Cameras take longer than their drivers
    know, by `camera_late_s`.
    """

    task: str
    scene_number: int
    capture_ns: int
    drawing: Array
    base_from_object: tuple[Pose, ...]
    base_from_tcp: Pose
    opening: float
    succeeded: bool
    camera_late_s: float

    @property
    def scene(self) -> Scene:
        """What a task's expert decides from."""
        return Scene(self.base_from_tcp, self.opening, self.base_from_object)


class EmulatedCellLink:
    """Asks the emulator at a loopback address (`drift-robot emulate`); a context manager.

    Every request, and the constructor, raises DeviceError if no emulator runs there or it runs without a cell. A
    request after a failure tries anew.
    """

    def __init__(self, host: str) -> None:
        self._admin = AdminClient(host, TIMEOUT_S)
        self.view()

    def view(self) -> CellView:
        """Return the cell as it is now."""
        seen = self._admin.ask("view")
        return CellView(
            task=seen["task"],
            scene_number=seen["scene_number"],
            capture_ns=seen["capture_ns"],
            drawing=np.array(seen["drawing"]),
            base_from_object=tuple(map(_pose, seen["base_from_object"])),
            base_from_tcp=_pose(seen["base_from_tcp"]),
            opening=seen["opening"],
            succeeded=seen["succeeded"],
            camera_late_s=seen["camera_late_s"],
        )

    def put_up(self, seed: int) -> int:
        """Put up the scene of a seed while the arm stays where it is; return the scene's number."""
        number: int = self._admin.ask("scene", seed=seed)["scene_number"]
        return number

    def close(self) -> None:
        """Close the connection."""
        self._admin.close()

    def __enter__(self) -> "EmulatedCellLink":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pose(numbers: list[float]) -> Pose:
    values = np.array(numbers)
    return Pose(values[:3], values[3:].reshape(3, 3))

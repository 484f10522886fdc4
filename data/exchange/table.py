"""A step as other formats know it: state, action, pictures, whether a person drove; and our columns beside them.

State and action are ten numbers each: `base_from_tcp` (position in metres, first two columns of the rotation matrix)
and gripper opening (0 closed, 1 open). Every other column goes along under its own name after `OWN`, so that what was
exported here comes back whole, and nobody's policy mistakes it for an observation.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from data.episode import Episode
from data.schema import IMAGE_CHUNK, OBJECTS, Array, Owner

OWN = "drift."
PICTURES = "observation.images."
BLOCK = IMAGE_CHUNK
"""Steps that are in memory at a time."""

STATE_NAMES = ("x", "y", "z", "r11", "r21", "r31", "r12", "r22", "r32", "gripper")


@dataclass(frozen=True)
class Names:
    """What a format calls the parts of a step; a camera's pictures have a prefix and a suffix around its name."""

    state: str
    action: str
    objects: str
    intervention: str
    picture: tuple[str, str]

    def picture_of(self, camera: str) -> str:
        """Return what the pictures of a camera are called."""
        return f"{self.picture[0]}{camera}{self.picture[1]}"

    def camera_of(self, picture: str) -> str:
        """Return the camera whose pictures are called so."""
        return picture.removeprefix(self.picture[0]).removesuffix(self.picture[1])


def blocks(episode: Episode, names: Names) -> Iterator[dict[str, Array]]:
    """Yield the rows of an episode, `BLOCK` steps at a time, with labels as they are now. Raises DataError."""
    for start in range(0, episode.steps, BLOCK):
        yield _block(episode, names, start, min(start + BLOCK, episode.steps))


def first_row(episode: Episode, names: Names) -> dict[str, Array]:
    """Return the first step of an episode (1, *shape) by column: what shapes and types its rows have."""
    return _block(episode, names, 0, 1)


def _block(episode: Episode, names: Names, start: int, stop: int) -> dict[str, Array]:
    own = {column.name: episode.column(column.name, start, stop) for column in episode.layout.columns()}
    block = {
        names.state: np.concatenate([own.pop("observation.tcp"), own.pop("observation.gripper")], axis=1),
        names.action: own.pop("action.executed"),
        names.intervention: own["owner"] != Owner.LEARNER,
    }
    if OBJECTS in own:
        block[names.objects] = own.pop(OBJECTS)
    for camera in episode.layout.cameras:
        block[names.picture_of(camera)] = own.pop(f"{PICTURES}{camera}")
    return block | {OWN + name: rows for name, rows in own.items()}


def pictures(row: Mapping[str, Array]) -> list[str]:
    """Return the columns of rows (n, *shape) that hold RGB pictures."""
    return [name for name, rows in row.items() if is_picture(rows.shape[1:], rows.dtype)]


def is_picture(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> bool:
    """Tell whether rows of this shape and type are RGB pictures (h, w, 3)."""
    return len(shape) == 3 and shape[2] == 3 and dtype == np.uint8

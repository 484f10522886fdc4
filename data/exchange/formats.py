"""The formats by name. Each one's libraries are loaded when it is asked for."""

from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from data.errors import DataError

if TYPE_CHECKING:
    from data.exchange.exporting import Exporter
    from data.exchange.importing import ForeignSet


class Format(StrEnum):
    """A format of others."""

    LEROBOT = "lerobot"
    DIFFUSION_POLICY = "diffusion-policy"
    ROBOMIMIC = "robomimic"


class Rotation(StrEnum):
    """How a pose writes its rotation: the first two columns of the matrix, x y z w, or axis times angle in radians."""

    COLUMNS = "columns"
    QUATERNION = "quaternion"
    VECTOR = "vector"


_CLASSES = {
    Format.LEROBOT: ("lerobot", "LeRobotExporter", "LeRobotSet"),
    Format.DIFFUSION_POLICY: ("diffusion_policy", "DiffusionPolicyExporter", "ReplayBufferSet"),
    Format.ROBOMIMIC: ("robomimic", "RobomimicExporter", "RobomimicSet"),
}


def exporter(kind: Format) -> "Exporter":
    """Return what writes a format. Raises DataError if its library is not installed."""
    module, name, _ = _CLASSES[kind]
    return cast("Exporter", getattr(_loaded(module), name)())


def open_set(kind: Format, path: Path) -> "ForeignSet":
    """Open a data set. Raises DataError if it is none, or its format's library is not installed."""
    module, _, name = _CLASSES[kind]
    return cast("ForeignSet", getattr(_loaded(module), name)(path))


def _loaded(module: str) -> Any:
    try:
        return import_module(f"data.exchange.{module}")
    except ModuleNotFoundError as error:
        raise DataError(
            f"The format needs the package {error.name}, which is not installed: pip install 'drift-robot[exchange]'."
        ) from error

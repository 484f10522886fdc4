"""No gripper: an arm with a fixed tool."""

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class NoGripperConfig:
    """Nothing to say."""

    driver: Literal["none"] = "none"


class NoGripper:
    """Always fully open."""

    @property
    def fault(self) -> str | None:
        """None: nothing can fail."""
        return None

    def recover(self) -> None:
        """Nothing to make ready."""

    def read(self) -> float:
        """Return 1, open."""
        return 1.0

    def move(self, opening: float) -> None:
        """Nothing moves."""

    def close(self) -> None:
        """Nothing to release."""

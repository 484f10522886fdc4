"""A camera of the simulated cell as a `Camera`: renders when it is read."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hardware.interfaces import Frame


class SimulatedCamera:
    """Pictures from a function that renders the present state, stamps from one that tells when it was reached."""

    def __init__(self, render: Callable[[], NDArray[np.uint8]], capture_ns: Callable[[], int]) -> None:
        self._render, self._capture_ns = render, capture_ns

    def read(self, timeout_s: float) -> Frame:
        """Return a picture of the present state; never waits."""
        return Frame(self._capture_ns(), self._render())

    def close(self) -> None:
        """Nothing to release."""

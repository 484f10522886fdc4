"""A ChArUco board, for calibration and in the simulated cell: its geometry. `charuco.py` draws it."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

Positive = Annotated[float, Field(gt=0)]
Squares = Annotated[int, Field(ge=3, le=20)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class BoardConfig:
    """A chessboard with a marker in every white square. The default fits on A4 and on US letter.

    `square_m` is the side of a square as measured on the print, `marker_m` that of a marker; `dictionary` names
    OpenCV's set of markers (bits, and how many there are). A corner that is only a few pixels from a marker is found
    less well: at 640x480, markers of 27 instead of 24 mm double the error.
    """

    squares_x: Squares = 7
    squares_y: Squares = 5
    square_m: Positive = 0.036
    marker_m: Positive = 0.024
    dictionary: Literal["4X4_50", "4X4_250", "5X5_100", "5X5_250", "6X6_250"] = "4X4_50"

    @model_validator(mode="after")
    def _fits(self) -> "BoardConfig":
        if not self.marker_m < self.square_m:
            raise ValueError("marker_m must be below square_m, as markers lie inside the white squares")
        if self.squares_x * self.squares_y // 2 > int(self.dictionary.split("_")[1]):
            raise ValueError(f"a board of {self.squares_x} x {self.squares_y} squares needs a larger dictionary")
        return self

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height of the chessboard."""
        return self.squares_x * self.square_m, self.squares_y * self.square_m

"""The configuration's section `calibration`: where calibrations are, which board is used, and what is enforced."""

from dataclasses import field
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hardware.board import BoardConfig

STRICT = ConfigDict(extra="forbid")
Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, config=STRICT)
class CalibrationConfig:
    """Calibrations of one cell, one YAML file each in `folder` (relative to where the program is started).

    `arm_cameras` ride on the arm; all others stand still. With `enforce`, recording and adapting refuse a calibration
    that is missing, older than `max_age_days`, worse than `max_residual_px` or, of latencies, than
    `max_latency_error_ms`, unless `override` gives a reason, which is recorded with the data. `check_at_start` looks at
    the board when a session starts; a camera that sees it more than `max_moved_px` from where it was has moved. A
    taught workspace bounds the arm in every session: its tool points keep `workspace_margin_m` from table and walls.
    One whose touches were more than `max_table_residual_m` (rms) off a plane is as bad as none.
    """

    folder: str = "runs/calibration"
    board: BoardConfig = field(default_factory=BoardConfig)
    arm_cameras: tuple[str, ...] = ("wrist",)
    enforce: bool = False
    max_age_days: Positive = 30.0
    max_residual_px: Positive = 1.0
    max_latency_error_ms: Positive = 5.0
    check_at_start: bool = False
    max_moved_px: Positive = 2.0
    workspace_margin_m: Annotated[float, Field(ge=0)] = 0.002
    max_table_residual_m: Positive = 0.001
    override: str = ""

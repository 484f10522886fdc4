"""What an operator says about a UR arm, and the outer bounds that its driver keeps whatever it is told."""

from math import pi
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Six = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class UrConfig:
    """A UR arm of the CB3, e-Series or PolyScope X generation.

    `flange_from_tcp` is position in m and rotation vector in rad. Speeds, steps and the leash (command from measured
    pose) are the last check before the client library, wider than a session's own limits. `max_age_s` is how old the
    controller's time stamp may get before the link counts as lost. `latency_s` is the smallest delay from measuring to
    receipt; calibrated, as stamps do not show it. Without commands for `command_timeout_s` the arm
    decelerates and holds; without any word from the host, the controller's own watchdog stops it in 1 / `watchdog_hz`.
    """

    host: str
    flange_from_tcp: Six = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    payload_kg: Annotated[float, Field(ge=0, le=35)] = 0.0
    payload_center_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    lookahead_s: Annotated[float, Field(ge=0.03, le=0.2)] = 0.05
    gain: Annotated[float, Field(ge=100, le=2000)] = 300.0
    max_speed_m_s: Positive = 1.0
    max_rotation_speed_rad_s: Positive = 3.0
    leash_m: Positive = 0.15
    leash_rad: Positive = 0.8
    joint_limits_rad: Six = (2 * pi, 2 * pi, pi, 2 * pi, 2 * pi, 2 * pi)
    joint_margin_rad: Positive = 0.05
    max_joint_speed_rad_s: Positive = 2.8
    stop_deceleration_m_s2: Positive = 3.0
    watchdog_hz: Annotated[float, Field(ge=1, le=100)] = 10.0
    command_timeout_s: Positive = 0.2
    max_age_s: Positive = 0.02
    latency_s: Annotated[float, Field(ge=0, lt=0.1)] = 0.0
    connect_timeout_s: Positive = 10.0
    respawn_pause_s: Positive = 1.0
    digital_outputs: bool = False
    realtime: bool = True

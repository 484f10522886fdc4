"""How closely the arm follows its commands, when the learner drives and when the expert does.

    python benchmarks/tracking.py [--load]

Commanded and measured poses as the arm process publishes them, of the emulated cell's arm behind a UR controller: the
learner sends chunks along a smooth path, the expert plays as smoothly on the sticks of a virtual gamepad. The lag is
the shift in time at which the two motions agree best; what is left after it is shown beside what there was.
"""

import math
import threading
import time
from typing import Any

import numpy as np
from emulated_session import RATES_HZ, arm_process, emulated_config, emulated_session, played_pad
from measuring import Row, conditions, options, report
from scipy.spatial.transform import Rotation, Slerp

from drift_robot.realtime.child import Life
from hardware.arms.controller import Authority
from hardware.emulation.gamepad import played
from hardware.errors import DeviceError
from hardware.input_devices.mapping import XBOX
from hardware.interfaces import Verb
from hardware.poses import Array

STICK_S = 0.01
GRID_S = 0.001
MOST_LAG_S = 0.3
SETTLING_S = 1.5
"""Left out after a hand-over, as are the ends of a piece, where there is nothing to compare with."""


def play_smoothly(pad: Any, life: Life, over: threading.Event) -> None:
    """Move the sticks so that the arm goes along a smooth closed curve, up to 0.1 m/s and 0.2 rad/s."""
    mapping, began_s = XBOX, time.monotonic()
    while not over.wait(STICK_S):
        t = time.monotonic() - began_s
        twist = np.zeros(6)
        twist[:3] = 0.06 * math.cos(1.3 * t), 0.06 * math.cos(0.9 * t), 0.04 * math.cos(1.7 * t)
        twist[5] = 0.2 * math.cos(1.1 * t)
        for control, value in played(mapping, twist).items():
            pad.set(control, value)


def measure(host: str, rate_hz: int, seconds: float) -> list[Row]:
    """Let the learner drive for some time, then the expert; return a row for each."""
    config = emulated_config(host)
    processes = {"arm": arm_process(config), "teleop": played_pad(config, play_smoothly)}
    with emulated_session(config, rate_hz, processes) as session:
        session.begin()
        session.drive(SETTLING_S + seconds)
        session.press(Verb.TAKEOVER)
        session.drive(SETTLING_S + seconds)
        records = session.arm_records
    return [
        row(name, [record for record in records if int(record["authority"]) == authority])
        for name, authority in (("learner", Authority.LEARNER), ("expert", Authority.EXPERT))
    ]


class Track:
    """A motion through poses (n,) at times (n,) in ns: positions in m and rotations between them by interpolation."""

    def __init__(self, times_ns: Array, poses: Any) -> None:
        self.times, first = np.unique(times_ns / 1e9, return_index=True)
        self._positions = poses["position"][first]
        self._turns = Slerp(self.times, Rotation.from_matrix(poses["rotation"][first]))

    def positions(self, times: Array) -> Array:
        """Return the positions (m, 3) at times (m,)."""
        return np.stack([np.interp(times, self.times, self._positions[:, k]) for k in range(3)], axis=1)

    def rotations(self, times: Array) -> Rotation:
        """Return the rotations at times (m,)."""
        return self._turns(times)


def row(name: str, records: list[Any]) -> Row:
    """Return how far command and arm were apart, as they were and with the lag taken out."""
    fields = np.array(records)
    commanded = Track(fields["time_ns"], fields["commanded"])
    measured = Track(fields["capture_ns"], fields["base_from_tcp"])
    begin_s = max(commanded.times[0], measured.times[0]) + SETTLING_S
    end_s = min(commanded.times[-1], measured.times[-1]) - MOST_LAG_S
    grid = np.arange(begin_s, end_s, GRID_S)
    lag_s = best_lag(commanded, measured, grid)
    speed = np.linalg.norm(np.gradient(commanded.positions(grid), GRID_S, axis=0), axis=1)
    return {
        "driver": name,
        "mean speed, mm/s": float(speed.mean()) * 1e3,
        "lag, ms": lag_s * 1e3,
        **apart("", commanded, measured, grid, 0.0),
        **apart("without lag", commanded, measured, grid, lag_s),
    }


def best_lag(commanded: Track, measured: Track, times: Array) -> float:
    """Return the shift in time, to a millisecond, at which the measured positions are nearest to the commanded."""
    wanted, lags = commanded.positions(times), np.arange(0.0, MOST_LAG_S, GRID_S)
    return float(min(lags, key=lambda lag_s: ((measured.positions(times + lag_s) - wanted) ** 2).sum()))


def apart(name: str, commanded: Track, measured: Track, times: Array, lag_s: float) -> Row:
    """Return RMS and maximum of the distance from command to arm, the arm a lag later."""
    offset = np.linalg.norm(measured.positions(times + lag_s) - commanded.positions(times), axis=1) * 1e3
    turn = np.degrees((measured.rotations(times + lag_s) * commanded.rotations(times).inv()).magnitude())
    return {
        f"{name} {what}".strip(): value
        for values, unit in ((offset, "mm"), (turn, "deg"))
        for what, value in ((f"rms, {unit}", float(np.sqrt((values**2).mean()))), (f"max, {unit}", float(values.max())))
    }


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, "127.0.5.5", 20.0)
    parser.add_argument("--rate", type=int, choices=RATES_HZ, default=500, help="of the robot, Hz")
    chosen = parser.parse_args()
    with conditions(chosen.load) as told:
        rows = measure(chosen.host, chosen.rate, chosen.seconds)
    report(told, {"Tracking": rows}, chosen.json)


if __name__ == "__main__":
    try:
        main()
    except DeviceError as problem:
        raise SystemExit(str(problem)) from None

"""How long it takes from the press of a button until the robot has the expert's command.

    python benchmarks/takeover_latency.py [--load]

A virtual gamepad, the real teleop, arm and UR processes, and an emulated robot. A learner drives; at random
moments the takeover button goes down, and the robot's log is searched for the first target that the arm process
commanded under the expert's authority. Control, cameras and recorder are left out: nobody waits for them here.
"""

import functools
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from emulated_session import RATES_HZ, arm_process, emulated_config, emulated_session, played_pad
from measuring import Row, conditions, figures, options, report

from drift_robot.gate import Phase
from drift_robot.realtime import records
from drift_robot.realtime.child import Life
from hardware.arms.controller import Authority
from hardware.arms.ur_pose import six
from hardware.errors import DeviceError
from hardware.input_devices.mapping import XBOX
from hardware.interfaces import Verb
from hardware.rings import RingReader

LEARNER_S, EXPERT_S, PRESSED_S = (0.35, 0.6), 0.27, 0.05
POLL_S = 0.005
SEARCHED_NS = 200_000_000
"""For how long after the gate's decision a command is looked for."""
MOST_S = 180.0
"""The robot's log holds 100,000 packages."""


def take_over_and_back(file: Path, pad: Any, life: Life, over: threading.Event) -> None:
    """Press takeover at random moments and hand back, until it is over; note the time of every takeover."""
    arm, rng = RingReader(life.lines.arm), random.Random(0)
    button = {verb: control for control, verb in XBOX.buttons.items()}

    def driven_by(*phases: Phase) -> bool:
        newest = arm.latest()
        return newest is not None and records.phase_of(newest.value) in phases

    def press(verb: Verb) -> int:
        now_ns = time.monotonic_ns()
        pad.set(button[verb], 1.0)
        over.wait(PRESSED_S)
        pad.set(button[verb], 0.0)
        return now_ns

    with file.open("w") as log:
        while not over.wait(POLL_S):
            if driven_by(Phase.LEARNER):
                for stick in ("left_x", "left_y", "right_y"):
                    pad.set(stick, rng.uniform(-0.7, 0.7))
                over.wait(rng.uniform(*LEARNER_S))
                print(press(Verb.TAKEOVER), file=log)
                over.wait(EXPERT_S)
            elif driven_by(Phase.TRANSITION, Phase.EXPERT):
                press(Verb.HANDBACK)
                over.wait(PRESSED_S)


def measure(host: str, rate_hz: int, seconds: float) -> tuple[list[Row], dict[str, bool]]:
    """Take over again and again; return a row for the whole way and each part of it, and who has real-time priority."""
    config = emulated_config(host)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "presses"
        processes = {
            "arm": arm_process(config),
            "teleop": played_pad(config, functools.partial(take_over_and_back, file)),
        }
        with emulated_session(config, rate_hz, processes) as session:
            session.begin()
            session.drive(seconds)
            granted = session.has_real_time()
            arm, readings = session.arm_records, session.teleop_records
            session.stop()
            times_s, _, targets = session.logged("packages")
        presses = np.array(file.read_text().split(), dtype=np.int64)
    decoded_ns: dict[tuple[float, ...], int] = {}
    for time_s, target in zip(times_s.tolist(), targets, strict=True):
        decoded_ns.setdefault(target, round(time_s * 1e9))
    read = np.array([int(r["capture_ns"]) for r in readings if Verb.TAKEOVER in records.teleop_of(r).verbs])
    time_ns = np.array([int(record["time_ns"]) for record in arm])
    expert = np.array([int(record["authority"]) == Authority.EXPERT for record in arm])
    parts = []
    for pressed_ns in presses[(presses > time_ns[0]) & (presses < time_ns[-1] - SEARCHED_NS)].tolist():
        first = int(np.argmax(expert & (time_ns > pressed_ns)))
        decided_ns = int(arm[first]["owner_since_ns"])
        last = int(np.searchsorted(time_ns, decided_ns + SEARCHED_NS))
        owned = [record for record, hers in zip(arm[first:last], expert[first:last], strict=True) if hers]
        keys = [tuple(six(records.arm_snapshot(record, ()).commanded).tolist()) for record in owned]
        arrivals = [decoded_ns[key] for key in keys if key in decoded_ns]
        read_ns = read[(read >= pressed_ns) & (read <= decided_ns)]
        if arrivals:
            parts.append((pressed_ns, read_ns[0] if len(read_ns) else np.nan, decided_ns, min(arrivals)))
    stamps = np.array(parts) / 1e6
    ways = {
        "button pressed to first expert command decoded": stamps[:, 3] - stamps[:, 0],
        "of it: button pressed to gamepad read": stamps[:, 1] - stamps[:, 0],
        "of it: gamepad read to gate's decision": stamps[:, 2] - stamps[:, 1],
        "of it: gate's decision to command decoded": stamps[:, 3] - stamps[:, 2],
    }
    counted = {"takeovers": len(stamps), "not traced": int((presses < time_ns[-1] - SEARCHED_NS).sum()) - len(stamps)}
    return [{"ms": name, **figures("", values, 50, 99), **counted} for name, values in ways.items()], granted


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, "127.0.5.2", 170.0)
    parser.add_argument("--rate", type=int, choices=RATES_HZ, default=500, help="of the robot, Hz")
    chosen = parser.parse_args()
    with conditions(chosen.load) as told:
        rows, granted = measure(chosen.host, chosen.rate, min(chosen.seconds, MOST_S))
        told["SCHED_FIFO"] = ", ".join(f"{name} {'granted' if has else 'refused'}" for name, has in granted.items())
    report(told, {"Takeover": rows}, chosen.json)


if __name__ == "__main__":
    try:
        main()
    except DeviceError as problem:
        raise SystemExit(str(problem)) from None

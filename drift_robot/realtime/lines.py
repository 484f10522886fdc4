"""The rings of a session: who writes them is said here, and every process gets the handles of all.

| ring | written by | read by |
|---|---|---|
| `cell` | simulated cell, every servo period | arm, control, teleop (scripted expert), cameras |
| `servo` | arm, every servo period | simulated cell |
| `arm` | arm, every servo period | control, recorder (arm log), teleop, supervisor |
| `chunks` | control | arm |
| `teleop` | teleop | arm, control |
| `recording` | control | recorder |
| `cameras[name]` | that camera | control, window |
| `status` | supervisor | window |
| `stop` | supervisor, once | everybody |
| `words[process]` | that process | whoever is interested |
| `beats[process]` | that process, at every turn of its loop | supervisor |
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.schema import EpisodeLayout
from drift_robot.realtime import records
from drift_robot.realtime.messages import MESSAGE, MESSAGE_SLOTS
from hardware.rings import Ring, RingHandle, remove_abandoned_rings

ARM_SLOTS = 4096
"""The recorder may be 8 s behind the arm at 500 Hz without losing a sample of its log."""
RECORDING_SLOTS = 64
"""The recorder may be 6 s behind control at 10 Hz without losing a step."""
TELEOP_SLOTS = 512
"""The arm process may be 1 s behind at 500 Hz without missing a press."""
NEWEST_ONLY = 8


@dataclass(frozen=True)
class Lines:
    """The handles of all rings of a session."""

    cell: RingHandle
    servo: RingHandle
    arm: RingHandle
    chunks: RingHandle
    teleop: RingHandle
    recording: RingHandle
    status: RingHandle
    stop: RingHandle
    cameras: Mapping[str, RingHandle]
    words: Mapping[str, RingHandle]
    beats: Mapping[str, RingHandle]


@contextmanager
def open_lines(
    processes: tuple[str, ...], layout: EpisodeLayout, horizon: int, objects: int = 0, drawing: int = 0
) -> Iterator[Lines]:
    """Create the rings; they are gone when the context is left.

    `horizon` is the length of a chunk; of a simulated cell, `objects` are the task's and `drawing` is the length of its
    state vector.
    """
    remove_abandoned_rings()
    with ExitStack() as stack:

        def ring(dtype: np.dtype[Any], slots: int = NEWEST_ONLY) -> RingHandle:
            return stack.enter_context(Ring(dtype, slots)).handle

        yield Lines(
            cell=ring(records.cell_dtype(objects, drawing)),
            servo=ring(records.SERVO),
            arm=ring(records.ARM, ARM_SLOTS),
            chunks=ring(records.chunk_dtype(horizon)),
            teleop=ring(records.TELEOP, TELEOP_SLOTS),
            recording=ring(records.recording_dtype(layout), RECORDING_SLOTS),
            status=ring(records.STATUS),
            stop=ring(MESSAGE),
            cameras={name: ring(records.frame_dtype(*size)) for name, size in layout.cameras.items()},
            words={name: ring(MESSAGE, MESSAGE_SLOTS) for name in processes},
            beats={name: ring(records.BEAT) for name in processes},
        )

"""The UR process (hardware/arms/ur_process.py), counting how often it tells the client library to servo.

Started by servo_cadence.py in its place; two numbers in the file that the last argument names: calls that the library
took, and calls that it refused.
"""

import mmap
import struct
import sys
from pathlib import Path
from typing import Any

import rtde_control

from hardware.arms import ur_process

COUNTS = struct.Struct("=QQ")


class Counting(rtde_control.RTDEControlInterface):  # type: ignore[misc]
    taken = refused = 0

    def servoL(self, *arguments: Any) -> bool:  # noqa: N802 - the library's name
        took = bool(super().servoL(*arguments))
        self.taken += took
        self.refused += not took
        COUNTS.pack_into(memory, 0, self.taken, self.refused)
        return took


if __name__ == "__main__":
    path = Path(sys.argv[-1])
    path.write_bytes(bytes(COUNTS.size))
    with path.open("r+b") as file:
        memory = mmap.mmap(file.fileno(), COUNTS.size)
    rtde_control.RTDEControlInterface = Counting
    ur_process.main()

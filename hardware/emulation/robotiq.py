"""The Robotiq URCap's socket server and the gripper's registers. Positions 0 to 255, rising as the fingers close.

Source: Robotiq 2F-85 manual, register mapping; the socket's form as in ur_rtde's `robotiq_gripper`.
"""

OPEN_POSITION, CLOSED_POSITION = 3, 230
ACTIVATION_S = 0.3
STALLED_S = 0.1
ACTIVE, ACTIVATING, RESET = 3, 1, 0
MOVING, OPENING_CONTACT, CLOSING_CONTACT, ARRIVED = 0, 1, 2, 3


class RobotiqServer:
    """One gripper. `tick` once a controller cycle with the measured opening; `target_opening` is the command."""

    def __init__(self) -> None:
        self._registers = dict.fromkeys(("ACT", "GTO", "ATR", "ARD", "FOR", "SPE", "POS", "PRE", "FLT"), 0)
        self._status, self._object = RESET, MOVING
        self._position = float(OPEN_POSITION)
        self._activating_s = self._still_s = 0.0
        self.powered = True
        self.target_opening: float | None = None

    def reply(self, line: str) -> bytes:
        """Act on one line and return the answer; commands are answered without a newline, as the URCap does."""
        words = line.split()
        if len(words) >= 3 and words[0] == "SET":
            for name, value in zip(words[1::2], words[2::2], strict=False):
                if name in self._registers and value.isdigit():
                    self._registers[name] = min(int(value), 255)
            self._commanded("POS" in words)
            return b"ack"
        if len(words) == 2 and words[0] == "GET":
            return f"{words[1]} {self._value(words[1])}\n".encode()
        return b""

    def tick(self, opening: float, seconds: float) -> None:
        """Follow the fingers and the activation."""
        position = CLOSED_POSITION + opening * (OPEN_POSITION - CLOSED_POSITION)
        self._still_s = self._still_s + seconds if abs(position - self._position) < 0.05 else 0.0
        self._position = position
        if self._status == ACTIVATING:
            self._activating_s += seconds
            if self._activating_s >= ACTIVATION_S:
                self._status = ACTIVE
        if self.target_opening is None:
            return
        goal = CLOSED_POSITION + self.target_opening * (OPEN_POSITION - CLOSED_POSITION)
        if abs(goal - position) < 1.0:
            self._object = ARRIVED
        elif self._still_s > STALLED_S:
            self._object = CLOSING_CONTACT if goal > position else OPENING_CONTACT
        else:
            self._object = MOVING

    def _commanded(self, moved: bool) -> None:
        if not self._registers["ACT"]:
            self._status, self.target_opening = RESET, None
        elif self._status == RESET:
            self._status, self._activating_s = ACTIVATING, 0.0
        if moved:
            self._registers["PRE"] = self._registers["POS"]
            self._still_s = 0.0
        if self._status == ACTIVE and self._registers["GTO"]:
            reachable = min(max(self._registers["POS"], OPEN_POSITION), CLOSED_POSITION)
            self.target_opening = (CLOSED_POSITION - reachable) / (CLOSED_POSITION - OPEN_POSITION)
            self._object = MOVING

    def _value(self, name: str) -> str:
        if not self.powered:
            return "?"
        if name == "POS":
            return str(round(self._position))
        if name == "STA":
            return str(self._status)
        if name == "OBJ":
            return str(self._object)
        return str(self._registers.get(name, "?"))

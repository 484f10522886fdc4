"""A UR arm through ur-rtde, as an `Arm`. The library itself lives in a process of its own (ur_process.py), which this
driver starts, watches, kills and starts again; here nothing can hang or crash with it. No threads: every call looks.

After any fault the arm holds until `recover()`, which is the operator's word.
"""

import importlib.util
import json
import logging
import subprocess
import time

import numpy as np
from pydantic import TypeAdapter

from hardware.arms.mailbox import Mailbox
from hardware.arms.supervision import Order, Sight, Supervision
from hardware.arms.ur_config import UrConfig
from hardware.arms.ur_messages import COMMAND_LAYOUT, STATE_LAYOUT, Command, Kind, Line, State, pair
from hardware.arms.ur_pose import pose, six
from hardware.child_process import start_module
from hardware.errors import DeviceError
from hardware.interfaces import ArmState, Safety
from hardware.poses import Array, Pose

INSTALL = "Driving a UR arm needs the package ur-rtde: run  pip install 'drift-robot[ur]'"
CLOSE_S = 1.5
ORTHONORMAL = 1e-6
UNKNOWN_PERIOD_S = 0.002

_log = logging.getLogger(__name__)


class UrArm:
    """One arm. The constructor returns once the arm is ready to move; it raises DeviceError, in a sentence, if not."""

    def __init__(self, config: UrConfig) -> None:
        if importlib.util.find_spec("rtde_control") is None:
            raise DeviceError(INSTALL)
        self._config = config
        self._states, self._commands = Mailbox(STATE_LAYOUT), Mailbox(COMMAND_LAYOUT)
        self._arming = 0
        self._latched = Safety.DISCONNECTED
        self._fault: str | None = None
        self._answered = 0
        self._ready = self._linked = self._failed = False
        self._seen = 0
        self._state: State | None = None
        self._period_s = UNKNOWN_PERIOD_S
        self.realtime = False
        self._spawn()
        self._supervision = Supervision(
            start_timeout_s=config.connect_timeout_s,
            max_age_s=config.max_age_s,
            pause_s=config.respawn_pause_s,
            now_ns=time.monotonic_ns(),
        )
        try:
            self._become_ready()
        except DeviceError:
            self._kill()
            self._close_channels()
            raise

    @property
    def servo_period_s(self) -> float:
        """The controller's cycle: 2 ms, or 8 ms up to CB3."""
        return self._period_s

    @property
    def fault(self) -> str | None:
        """Why the arm holds until `recover()`, in a sentence; None while it is ready to move."""
        return self._fault

    @property
    def armed(self) -> bool:
        """Whether servo commands move the arm."""
        return self._ready and self._linked and self._state is not None and self._state.armed == self._arming

    def read(self) -> ArmState:
        """Return the newest state. `safety` stays at what happened worst since the arm was last ready."""
        self._look()
        state = self._state
        if state is None:
            raise DeviceError(f"The robot at {self._config.host} has not reported any state.")
        return ArmState(
            state.capture_ns,
            state.joints,
            state.joint_velocities,
            pose(state.base_from_tcp),
            state.wrench,
            max(self._latched, state.safety),
        )

    def servo(self, base_from_tcp: Pose) -> None:
        """Move to a target within one servo period; without effect while the arm is not ready (see `fault`).

        Raises DeviceError if the target is not a pose; one that is out of bounds stops the arm instead.
        """
        self._look()
        self._post(Kind.SERVO, six(_checked(base_from_tcp)))

    def stop(self) -> None:
        """Decelerate and hold."""
        self._look()
        self._post(Kind.STOP, np.zeros(6))

    def recover(self) -> None:
        """The operator's word after a fault: unlock, restart the control program, be ready to move.

        Returns at once; `read().safety` turns NORMAL when it is done, `fault` says why if it cannot be, for instance
        because there is no link to the robot yet.
        """
        self._look()
        if not self._linked:
            self._fault = f"There is no link to the robot at {self._config.host} yet: wait for it, then confirm."
        elif not self._ready:
            self._ask_to_arm(unlock=True)

    def set_digital_output(self, output: int, level: bool) -> None:
        """Set a standard digital output (0 to 7); without effect while the arm is not ready.

        Raises DeviceError without `digital_outputs: true` in the configuration.
        """
        if not self._config.digital_outputs:
            raise DeviceError("The arm's digital outputs are not in use: set digital_outputs to true.")
        if not 0 <= output <= 7:
            raise DeviceError(f"There is no standard digital output {output}: choose 0 to 7.")
        self._look()
        if self.armed:
            self._line.send(output=output, level=level)

    def digital_output(self, output: int) -> bool:
        """Return a digital output as the controller reports it."""
        self._look()
        return self._state is not None and bool(self._state.digital_outputs >> output & 1)

    def close(self) -> None:
        """Stop the arm and its program, and end the process."""
        self._line.send(close=True)
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._kill()
        self._line.close()
        self._close_channels()

    # Supervision

    def _become_ready(self) -> None:
        deadline_s = time.monotonic() + self._config.connect_timeout_s
        while not self.armed:
            self._look()
            if self._fault is not None:
                raise DeviceError(self._fault)
            if time.monotonic() > deadline_s:
                raise DeviceError(self._no_answer())
            if self._linked and not self._arming:
                self._ask_to_arm(unlock=False)
            time.sleep(UNKNOWN_PERIOD_S)

    def _ask_to_arm(self, *, unlock: bool) -> None:
        if self._answered == self._arming:
            self._arming += 1
            self._line.send(arm=self._arming, unlock=unlock)

    def _look(self) -> None:
        """Take in what the process has said and judge it."""
        self._listen()
        newest = self._states.read() if self._linked else None
        fresh = newest is not None and newest[0] != self._seen
        if newest is not None and fresh:
            self._seen, self._state = newest[0], State.of(newest[1])
        sight = Sight(fresh, self._linked, self._process.poll() is not None)
        order = self._supervision.look(sight, time.monotonic_ns())
        if order is Order.KILL:
            self._lose(sight)
        elif order is Order.SPAWN:
            self._spawn()

    def _listen(self) -> None:
        for message in self._line.receive():
            if "linked" in message:
                self._linked, self._period_s = True, float(message["linked"])
                self.realtime = bool(message["realtime"])
                if not self.realtime and self._config.realtime:
                    _log.warning("The arm process may not use real-time scheduling; expect more jitter.")
            if "armed" in message:
                self._answered = int(message["armed"])
                self._ready, self._latched, self._fault = True, Safety.NORMAL, None
            if "refused" in message:
                self._answered = int(message["refused"])
            if "failed" in message:
                self._failed = True
                self._fail(message["failed"], Safety.DISCONNECTED)
            if "fault" in message:
                self._fail(message["fault"], Safety(message["safety"]))
            if "notice" in message:
                _log.warning(message["notice"])

    def _lose(self, sight: Sight) -> None:
        host, returncode = self._config.host, self._process.poll()
        if sight.exited:
            crashed = returncode is not None and returncode < 0
            reason = f"signal {-returncode}" if crashed and returncode is not None else f"exit code {returncode}"
            text = f"The process that talks to the robot at {host} ended ({reason}); the arm holds until you confirm."
        elif self._linked:
            silence_ms = 1000 * self._supervision.silence_s
            text = f"The robot at {host} went silent ({silence_ms:.0f} ms); check the cable, then confirm."
        else:
            text = self._no_answer()
        self._kill()
        self._listen()
        if not self._failed:
            self._fail(text, Safety.DISCONNECTED)
        self._linked, self._answered = False, self._arming
        self._line.close()

    def _fail(self, sentence: str, safety: Safety) -> None:
        if sentence != self._fault:
            _log.error(sentence)
        self._ready, self._fault, self._latched = False, sentence, max(self._latched, safety)

    def _no_answer(self) -> str:
        return (
            f"The robot at {self._config.host} did not answer within {self._config.connect_timeout_s:g} s:"
            " check its address, power and network, and that RTDE is not blocked under Settings, Security."
        )

    def _post(self, kind: Kind, target: Array) -> None:
        if self.armed:
            self._commands.write(Command(time.monotonic_ns(), self._arming, kind, target).record())

    def _spawn(self) -> None:
        ours, theirs = pair()
        self._line, self._failed = Line(ours), False
        descriptors = (self._states.descriptor, self._commands.descriptor, theirs.fileno())
        self._process = start_module(
            "hardware.arms.ur_process",
            *map(str, descriptors),
            json.dumps(TypeAdapter(UrConfig).dump_python(self._config, mode="json")),
            pass_fds=descriptors,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        theirs.close()

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _close_channels(self) -> None:
        self._states.close()
        self._commands.close()


def _checked(target: Pose) -> Pose:
    position, rotation = np.asarray(target.position), np.asarray(target.rotation)
    if position.shape != (3,) or rotation.shape != (3, 3):
        raise DeviceError(
            f"A servo target has shapes {position.shape} and {rotation.shape}; a pose has (3,) and (3, 3)."
        )
    if not (np.isfinite(position).all() and np.isfinite(rotation).all()):
        raise DeviceError("A servo target is not finite, so it was not sent.")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > ORTHONORMAL or np.linalg.det(rotation) < 0:
        raise DeviceError("A servo target's rotation is not a rotation matrix, so it was not sent.")
    return target

"""Gate and controller around one arm and gripper: every message that can move the arm meets here.

The lock-step session calls it in process, the arm process at its servo rate; it never waits for anything.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import TypeAlias

from data.schema import Owner
from drift_robot import gate
from drift_robot.gate import (
    AuthorityChanged,
    Deadman,
    DeviceSilent,
    Effect,
    Event,
    Fault,
    FaultCleared,
    GateConfig,
    GateState,
    HelpWanted,
    Notice,
    Phase,
    Refused,
    ResetBegun,
)
from drift_robot.status import offered_verbs
from hardware.arms.controller import ArmController, Authority, Chunk, Command, Refusal, Start
from hardware.arms.limits import Limit
from hardware.clock import NS_PER_S, Clock
from hardware.interfaces import Arm, ArmState, Gripper, Safety, Teleop, Verb
from hardware.poses import Pose

ArmMessage: TypeAlias = Event | Chunk | Teleop
OFFERED_NS = NS_PER_S // 20
"""How long what is offered counts as known while the gate stays as it is: asking it for every verb takes 0.1 ms."""
CONFIRMING = (Verb.RESUME, Verb.RESET)
"""The verbs that are the operator's word after a fault."""


@dataclass(frozen=True)
class ArmSnapshot:
    """What the arm loop knows at `time_ns`.

    `gripper` is the measured opening; `commanded` and `commanded_gripper` are what was last sent; `phase`, `owner` and
    `owner_since_ns` are the gate's; `watermark_ns` is the time before which observations no longer count; `limited` and
    `stopped` are the last command's; `refusal` is the last refusal's sentence; `fault` is why the gate has stopped
    the arm. `at_start`: a return to the start is done. `events` are those since the last snapshot, oldest first.
    """

    time_ns: int
    state: ArmState
    gripper: float
    commanded: Pose
    commanded_gripper: float
    proposed: Pose
    authority: Authority
    phase: Phase
    owner: Owner
    owner_since_ns: int
    recovered: bool
    watermark_ns: int
    limited: frozenset[Limit] = frozenset()
    stopped: str | None = None
    refusal: str | None = None
    fault: str | None = None
    at_start: bool = False
    events: tuple[Effect, ...] = ()


class ArmLoop:
    """Owns the gate's state and the controller. `post` may be called from any thread, the rest from one.

    A reset takes the arm back to `start`; without one something else puts the arm back, and it is only watched.
    """

    def __init__(
        self,
        gate_config: GateConfig,
        controller: ArmController,
        arm: Arm,
        gripper: Gripper,
        clock: Clock,
        start: Start | None = None,
    ) -> None:
        self._config = gate_config
        self._controller = controller
        self._arm = arm
        self._gripper = gripper
        self._clock = clock
        self._start = start
        self._inbox: deque[ArmMessage] = deque()
        self._teleop_ns: int | None = None
        self._asked_ns: int | None = None
        self._events: list[Effect] = []
        self._refusal: str | None = None
        self._offered: tuple[Verb, ...] = ()
        self._offered_in: tuple[GateState, bool] | None = None
        self._offered_ns = 0
        now_ns = clock.now_ns()
        self._gate = GateState(since_ns=now_ns)
        self._owner_since_ns = now_ns
        self._complaints: dict[str, str | None] = {"arm": None, "gripper": None}
        self._sent_opening: float | None
        self._look()
        self._follow_reset(now_ns)

    def post(self, message: ArmMessage) -> None:
        """Hand over a verb, an event, a chunk or a reading of the input device; it counts from the next `settle`."""
        self._inbox.append(message)

    def settle(self) -> None:
        """Let time pass at the gate and take in what was posted, without moving the arm."""
        now_ns = self._clock.now_ns()
        self._take(gate.step(self._gate, now_ns, self._config), now_ns)
        while self._inbox:
            self._receive(self._inbox.popleft(), now_ns)
        self._advance(DeviceSilent(self._silent(now_ns)), now_ns)

    def tick(self) -> None:
        """Read the arm, let gate and controller decide, and send the command."""
        self._look()
        self.settle()
        now_ns, state = self._clock.now_ns(), self._state
        if self._put_back:
            self._follow_reset(now_ns)
            return
        self._watch_gripper(now_ns)
        command = self._controller.tick(now_ns, state, self._opening)
        self._command = command
        self._complain("arm", self._arm.fault or command.stopped, now_ns)
        if Limit.STARVED in command.limited:
            self._advance(HelpWanted(f"{Limit.STARVED.value} Resume, or take over."), now_ns)
        if state.safety is Safety.NORMAL:
            self._arm.servo(command.base_from_tcp)
            if command.gripper != self._sent_opening:
                self._gripper.move(command.gripper)
                self._sent_opening = command.gripper

    @property
    def _put_back(self) -> bool:
        """Whether something else puts scene and arm back, as in a simulated cell."""
        return self._gate.phase is Phase.RESETTING and self._start is None

    def _silent(self, now_ns: int) -> bool:
        """Whether the operator's device has fallen silent. One that has never spoken is none, as in a replay."""
        if self._teleop_ns is None or self._put_back:
            return False
        return now_ns - self._teleop_ns > self._controller.limits.device_timeout_s * NS_PER_S

    def _watch_gripper(self, now_ns: int) -> None:
        """Tell the gate of the gripper's fault; after it, the opening that it has counts, not one it never took."""
        fault = self._gripper.fault
        if fault is None and self._complaints["gripper"] is not None:
            self._sent_opening = self._opening = self._gripper.read()
            self._controller.adopt_gripper(self._opening)
        self._complain("gripper", fault, now_ns)

    def _complain(self, source: str, sentence: str | None, now_ns: int) -> None:
        """Tell the gate what is wrong with a device, or that nothing is any more, when that has changed."""
        if sentence != self._complaints[source]:
            self._complaints[source] = sentence
            self._advance(FaultCleared(source) if sentence is None else Fault(sentence, source), now_ns)

    def _look(self) -> None:
        self._state, self._opening = self._arm.read(), self._gripper.read()
        self._looked_ns = self._clock.now_ns()

    def _follow_reset(self, now_ns: int) -> None:
        """While scene and arm are put back, send nothing and take the measured pose as the command."""
        self._controller.restart(self._state.base_from_tcp, self._opening, now_ns)
        self._command = self._at_rest()
        # The simulated gripper is told where it stands; a real one may hold something, and is told nothing.
        self._sent_opening = None if self._start is None else self._opening

    def _at_rest(self) -> Command:
        measured = self._state.base_from_tcp
        return Command(measured, self._opening, self._controller.authority, measured)

    def _receive(self, message: ArmMessage, now_ns: int) -> None:
        if isinstance(message, Chunk):
            self._take_chunk(message, now_ns)
        elif isinstance(message, Teleop):
            self._note(self._controller.teleop(message))
            self._teleop_ns = self._asked_ns = message.capture_ns
            for verb in message.verbs:
                self._press(verb, now_ns)
            self._advance(Deadman(message.deadman), now_ns)
            self._asked_ns = None
        elif isinstance(message, Verb):
            self._press(message, now_ns)
        else:
            self._advance(message, now_ns)

    def _take_chunk(self, chunk: Chunk, now_ns: int) -> None:
        """Hand a chunk to the controller; a learner that sends one that is none is held until the operator's word."""
        refusal = self._controller.schedule(chunk, now_ns)
        self._note(refusal)
        if refusal is not None and refusal.unfit:
            self._advance(HelpWanted(f"{refusal.sentence} The arm holds: take over, or end the episode."), now_ns)

    def _press(self, verb: Verb, now_ns: int) -> None:
        """Take a verb to the gate; where a device waits for the operator's word after a fault, this is it."""
        waiting = self._waiting()
        if waiting and verb in CONFIRMING:
            for device in waiting:
                device.recover()
            self._events.append(Notice("Confirmed: the robot is made ready. Once the fault is cleared, press again."))
        else:
            self._advance(verb, now_ns)

    def _waiting(self) -> list[Arm | Gripper]:
        """Return the devices that wait for the operator's word."""
        if self._gate.phase is not Phase.FAULT:
            return []
        return [device for device in (self._arm, self._gripper) if device.fault is not None]

    def _note(self, refusal: Refusal | None) -> None:
        if refusal is not None:
            self._refusal = refusal.sentence

    def _advance(self, event: Event, now_ns: int) -> None:
        self._take(gate.advance(self._gate, event, now_ns, self._config), now_ns)

    def _take(self, result: tuple[GateState, tuple[Effect, ...]], now_ns: int) -> None:
        """Take up the gate's next state and do what follows from it."""
        before, (self._gate, effects) = self._gate, result
        if self._gate is before and not effects:
            return
        if gate.owner(before) is not gate.owner(self._gate):
            self._owner_since_ns = now_ns
        if before.phase is Phase.RESETTING and self._gate.phase is not Phase.RESETTING:
            if self._start is None:
                self._look()
                self._follow_reset(now_ns)
            else:
                self._controller.hold(now_ns)
        for effect in effects:
            if isinstance(effect, AuthorityChanged):
                self._hand_over(effect.authority, now_ns)
                if self._asked_ns is not None:
                    effect = replace(effect, after_s=(now_ns - self._asked_ns) / NS_PER_S)
            elif isinstance(effect, ResetBegun):
                self._begin_reset(now_ns)
            elif isinstance(effect, Refused):
                self._refusal = effect.sentence
            self._events.append(effect)

    def _begin_reset(self, now_ns: int) -> None:
        if self._start is None:
            self._arm.stop()
        else:
            self._controller.return_to(self._start, now_ns)

    def _hand_over(self, authority: Authority, now_ns: int) -> None:
        change = {
            Authority.HOLD: self._controller.hold,
            Authority.LEARNER: self._controller.hand_back,
            Authority.EXPERT: self._controller.take_over,
        }
        change[authority](now_ns)

    def offered(self) -> tuple[Verb, ...]:
        """Return the verbs that would be followed now, or could at this moment a twentieth of a second ago."""
        now_ns, waiting = self._clock.now_ns(), bool(self._waiting())
        if (self._gate, waiting) != self._offered_in or now_ns - self._offered_ns > OFFERED_NS:
            confirming = CONFIRMING if waiting else ()
            self._offered = tuple({*confirming, *offered_verbs(self._gate, now_ns, self._config)})
            self._offered_in, self._offered_ns = (self._gate, waiting), now_ns
        return self._offered

    def snapshot(self) -> ArmSnapshot:
        """Return the present state; each event is handed out once."""
        if self._clock.now_ns() - self._looked_ns > 0.5 * self._arm.servo_period_s * NS_PER_S:
            self._look()
        events, self._events = tuple(self._events), []
        command, controller = self._command, self._controller
        return ArmSnapshot(
            time_ns=self._clock.now_ns(),
            state=self._state,
            gripper=self._opening,
            commanded=command.base_from_tcp,
            commanded_gripper=command.gripper,
            proposed=command.proposed,
            authority=controller.authority,
            phase=self._gate.phase,
            owner=gate.owner(self._gate),
            owner_since_ns=self._owner_since_ns,
            recovered=self._gate.recovered,
            watermark_ns=controller.watermark_ns,
            limited=command.limited,
            stopped=command.stopped,
            refusal=self._refusal,
            fault=self._gate.fault,
            at_start=controller.at_start,
            events=events,
        )

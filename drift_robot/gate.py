"""The gate: who drives, and where an episode stands. A pure state machine with time as an argument.

`advance` takes one event and returns the next state and what follows from it as plain values; `step` lets time pass.
The table of transitions is in docs/gate.md. Moving the arm, recording and training happen elsewhere.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Annotated, Literal, TypeAlias

from pydantic import ConfigDict, Field
from pydantic import dataclasses as pydantic

from data.schema import Outcome, Owner
from hardware.arms.controller import Authority
from hardware.clock import NS_PER_S
from hardware.interfaces import Verb

Seconds = Annotated[float, Field(ge=0, le=10)]


class Phase(Enum):
    """Where the session stands."""

    IDLE = "idle"
    LEARNER = "learner"
    TRANSITION = "transition"
    EXPERT = "expert"
    HOLD = "hold"
    RESETTING = "resetting"
    SAVING = "saving"
    FAULT = "fault"


EXPERT_PHASES = (Phase.TRANSITION, Phase.EXPERT)
EPISODE_PHASES = (Phase.LEARNER, Phase.TRANSITION, Phase.EXPERT, Phase.HOLD)
REACTION_NS = 7 * NS_PER_S // 10
"""How long after the arm has stopped by itself a press may still be meant for the arm that moved."""
OUTCOMES = {Verb.SUCCEED: Outcome.SUCCESS, Verb.FAIL: Outcome.FAILURE, Verb.DISCARD: Outcome.DISCARDED}


@pydantic.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class GateConfig:
    """How the gate behaves.

    `style`: "toggle" takes over and hands back by one press each, "deadman" while a button is held. `transition_s` is
    how long the first moments of an intervention are labelled as possible reflex. Within `hysteresis_s` of a takeover a
    hand-back is taken for a bounce of the button; a dead-man button counts as let go after it, which must be longer
    than a device's silence takes to notice. A correction shorter than `min_correction_s` is called too short.
    """

    mode: Literal["collect", "adapt", "evaluate"] = "adapt"
    style: Literal["toggle", "deadman"] = "toggle"
    transition_s: Seconds = 0.3
    hysteresis_s: Seconds = 0.25
    min_correction_s: Seconds = 0.5


@dataclass(frozen=True)
class Saved:
    """The finished episode has been dealt with; `kept` unless it went to the bin or nothing of it was recorded."""

    kept: bool = True


@dataclass(frozen=True)
class ResetDone:
    """The scene and the arm are ready for the next episode."""


@dataclass(frozen=True)
class Fault:
    """Something must stop the arm; `reason` is one sentence, `source` who says so."""

    reason: str
    source: str = "arm"


@dataclass(frozen=True)
class FaultCleared:
    """What a source complained of is gone."""

    source: str = "arm"


@dataclass(frozen=True)
class Deadman:
    """The dead-man button was pressed or let go."""

    held: bool


@dataclass(frozen=True)
class DeviceSilent:
    """The input device sends nothing, or again something."""

    silent: bool


@dataclass(frozen=True)
class HelpWanted:
    """The learner would rather not go on, or cannot; `reason` is one sentence or two."""

    reason: str


@dataclass(frozen=True)
class PlanDone:
    """No further episode is planned, or one is again."""

    done: bool


Event: TypeAlias = Verb | Saved | ResetDone | Fault | FaultCleared | Deadman | DeviceSilent | HelpWanted | PlanDone


@dataclass(frozen=True)
class AuthorityChanged:
    """The controller must change hands, now; `after_s` from the reading of the device that asked for it, if one did."""

    authority: Authority
    after_s: float | None = None


@dataclass(frozen=True)
class EpisodeBegun:
    """Recording starts."""


@dataclass(frozen=True)
class EpisodeEnded:
    """Recording ends, and the episode must be saved; answered by `Saved`."""

    outcome: Outcome


@dataclass(frozen=True)
class ResetBegun:
    """Scene and arm must be put back; answered by `ResetDone`."""


@dataclass(frozen=True)
class Recovered:
    """The expert marks that she has recovered and corrects from here on."""


@dataclass(frozen=True)
class CorrectionDropped:
    """The correction that has just ended was too short: nothing of it is to be learned from."""

    seconds: float


@dataclass(frozen=True)
class DropLast:
    """The last finished episode goes to the bin."""


@dataclass(frozen=True)
class TrainNow:
    """The trainer shall not wait."""


@dataclass(frozen=True)
class Rollback:
    """The previous good policy shall act again, and the present one be quarantined."""


@dataclass(frozen=True)
class EndWanted:
    """All that was planned is done, and the operator ends the session."""


@dataclass(frozen=True)
class Refused:
    """A verb was not followed; why, in one sentence."""

    verb: Verb
    sentence: str


@dataclass(frozen=True)
class Notice:
    """Something that the operator should know, in one sentence; `fault`: it stops the arm."""

    sentence: str
    fault: bool = False


Effect: TypeAlias = (
    AuthorityChanged
    | EpisodeBegun
    | EpisodeEnded
    | ResetBegun
    | Recovered
    | CorrectionDropped
    | DropLast
    | TrainNow
    | Rollback
    | EndWanted
    | Refused
    | Notice
)
Step: TypeAlias = "tuple[GateState, tuple[Effect, ...]]"


@dataclass(frozen=True)
class GateState:
    """What the gate remembers.

    `since_ns`: when the phase began; `taken_ns`: when the expert took over last. `expert_next`: whether the expert
    drives when HOLD or FAULT is left by RESUME. `unasked`: the arm was stopped in this episode last, and not by the
    operator. `in_episode`: an episode is open and has no outcome yet. `fault`: the last reason, kept until the operator
    goes on; `faults`: the sources that still complain. `droppable`: the last episode can be dropped. `plan_done`: no
    further episode is planned. `released_ns`: since when the dead-man button is let go, None while held or unused.
    """

    phase: Phase = Phase.IDLE
    since_ns: int = 0
    taken_ns: int = 0
    expert_next: bool = False
    unasked: bool = False
    in_episode: bool = False
    recovered: bool = False
    fault: str | None = None
    faults: frozenset[str] = frozenset()
    droppable: bool = False
    plan_done: bool = False
    held: bool = False
    released_ns: int | None = None
    silent: bool = False


def owner(state: GateState) -> Owner:
    """Return whose a step in this state is. Where nobody drives it is TRANSITION, which is never trained on."""
    if state.phase is Phase.EXPERT:
        return Owner.EXPERT
    return Owner.LEARNER if state.phase is Phase.LEARNER else Owner.TRANSITION


def authority(state: GateState) -> Authority:
    """Return who may move the arm in this state."""
    if state.phase in EXPERT_PHASES:
        return Authority.EXPERT
    return Authority.LEARNER if state.phase is Phase.LEARNER else Authority.HOLD


def step(state: GateState, now_ns: int, config: GateConfig) -> Step:
    """Let time pass: a transition ends, a dead-man button that stayed let go hands back."""
    if state.phase is Phase.TRANSITION and now_ns - state.since_ns >= config.transition_s * NS_PER_S:
        state = replace(state, phase=Phase.EXPERT, since_ns=now_ns)
    released = state.released_ns
    if released is not None and now_ns - released >= config.hysteresis_s * NS_PER_S and not state.silent:
        state = replace(state, released_ns=None)
        if state.phase in EXPERT_PHASES and config.mode != "collect":
            return _hand_back(state, now_ns, config)
    return state, ()


def advance(state: GateState, event: Event, now_ns: int, config: GateConfig) -> Step:
    """Return the state after an event, and what follows from it. Every verb is followed or refused in words."""
    state, passed = step(state, now_ns, config)
    if isinstance(event, Verb):
        state, effects = _verb(state, event, now_ns, config)
    elif isinstance(event, Fault):
        state, effects = _fault(state, event, now_ns)
    elif isinstance(event, Deadman):
        state, effects = _deadman(state, event.held, now_ns, config)
    elif isinstance(event, DeviceSilent):
        state, effects = _device(state, event.silent, now_ns)
    elif isinstance(event, FaultCleared):
        state, effects = _fault_cleared(state, event.source)
    elif isinstance(event, HelpWanted):
        state, effects = _hold_learner(state, event.reason, now_ns)
    elif isinstance(event, Saved):
        state, effects = _saved(state, event.kept, now_ns)
    elif isinstance(event, PlanDone):
        state, effects = replace(state, plan_done=event.done), ()
    else:
        state, effects = _reset_done(state, now_ns)
    return state, passed + effects


def _verb(state: GateState, verb: Verb, now_ns: int, config: GateConfig) -> Step:
    if verb in (Verb.TRAIN_NOW, Verb.ROLLBACK) and config.mode != "adapt":
        return _refuse(state, verb, "Nothing is trained in this session: versions come and go only while adapting.")
    if verb is Verb.TRAIN_NOW:
        return state, (TrainNow(),)
    if _just_stopped(state, now_ns):
        if verb is Verb.HOLD:
            return state, (Notice("The arm has stopped by itself already."),)
        if verb is Verb.RESUME and not state.faults:
            return _refuse(state, verb, "The arm has just stopped by itself; see why, then resume.")
    if state.phase is Phase.FAULT:
        return _verb_in_fault(state, verb, now_ns, config)
    if state.phase is Phase.IDLE:
        return _verb_in_idle(state, verb, now_ns, config)
    if state.phase is Phase.SAVING:
        return _refuse(state, verb, "The episode is being saved; wait a moment.")
    if state.phase is Phase.RESETTING:
        if verb is Verb.HOLD:
            return replace(state, phase=Phase.IDLE, since_ns=now_ns), (Notice("The reset is cancelled."),)
        if verb is Verb.DROP_LAST:
            return _drop_last(state)
        return _refuse(state, verb, "The scene is being reset; wait until it is ready, or hold to stop it.")
    return _verb_in_episode(state, verb, now_ns, config)


def _just_stopped(state: GateState, now_ns: int) -> bool:
    """Return whether a press may have been meant to hold an arm that has stopped by itself meanwhile."""
    stopped = state.unasked and state.phase in (Phase.HOLD, Phase.FAULT)
    return stopped and now_ns - state.since_ns < REACTION_NS


def _verb_in_idle(state: GateState, verb: Verb, now_ns: int, config: GateConfig) -> Step:
    if verb is Verb.RESUME and state.plan_done:
        return state, (EndWanted(),)
    if verb is Verb.RESUME:
        state = replace(state, in_episode=True, droppable=False, expert_next=config.mode == "collect")
        return _resume(state, now_ns, config, begun=True)
    if verb is Verb.RESET:
        return replace(state, phase=Phase.RESETTING, since_ns=now_ns), (ResetBegun(),)
    if verb is Verb.ROLLBACK:
        return state, (Rollback(),)
    if verb is Verb.DROP_LAST:
        return _drop_last(state)
    if verb is Verb.HOLD:
        return _refuse(state, verb, "The arm holds already.")
    return _refuse(state, verb, "No episode is running; resume starts one.")


def _drop_last(state: GateState) -> Step:
    if state.droppable:
        return replace(state, droppable=False, plan_done=False), (DropLast(),)
    sentence = "There is no episode to drop: only the last one can be, before the next starts."
    return _refuse(state, Verb.DROP_LAST, sentence)


def _verb_in_episode(state: GateState, verb: Verb, now_ns: int, config: GateConfig) -> Step:
    phase = state.phase
    if verb in OUTCOMES:
        return _end(state, OUTCOMES[verb], now_ns, config)
    if verb is Verb.TAKEOVER:
        if phase in EXPERT_PHASES:
            return _refuse(state, verb, "The expert drives already.")
        return _take_over(state, now_ns)
    if verb is Verb.HANDBACK:
        if config.mode == "collect":
            return _refuse(state, verb, "Demonstrations are collected, so there is no learner to hand back to.")
        if phase is Phase.LEARNER:
            return _refuse(state, verb, "The learner drives already.")
        if phase in EXPERT_PHASES and now_ns - state.taken_ns < config.hysteresis_s * NS_PER_S:
            return _refuse(state, verb, f"A hand-back within {config.hysteresis_s} s of the takeover is not followed.")
        return _hand_back(state, now_ns, config)
    if verb is Verb.HOLD:
        if phase is Phase.HOLD:
            return _refuse(state, verb, "The arm holds already.")
        expert_next = phase in EXPERT_PHASES
        state = replace(state, phase=Phase.HOLD, since_ns=now_ns, expert_next=expert_next, unasked=False)
        return state, (AuthorityChanged(Authority.HOLD),)
    if verb is Verb.RESUME:
        if phase is not Phase.HOLD:
            return _refuse(state, verb, "The episode is running already.")
        return _resume(state, now_ns, config)
    if verb is Verb.RECOVERED:
        if phase not in EXPERT_PHASES:
            return _refuse(state, verb, "Only a driving expert can mark a recovery.")
        return replace(state, recovered=True), (Recovered(),)
    words = {Verb.RESET: "reset the scene", Verb.DROP_LAST: "drop an episode", Verb.ROLLBACK: "roll the policy back"}
    return _refuse(state, verb, f"An episode is running; end it (succeed, fail, discard) to {words[verb]}.")


def _verb_in_fault(state: GateState, verb: Verb, now_ns: int, config: GateConfig) -> Step:
    if verb in OUTCOMES and state.in_episode:
        return _end(state, OUTCOMES[verb], now_ns, config)
    if verb not in (Verb.RESUME, Verb.RESET):
        return _refuse(state, verb, f"The arm is stopped by a fault: {state.fault}")
    if state.faults:
        return _refuse(state, verb, f"The fault is still there: {state.fault}")
    if verb is Verb.RESET and state.in_episode:
        return _refuse(
            state, verb, "The stopped episode has no outcome yet; end it (succeed, fail, discard), or resume."
        )
    state = replace(state, fault=None)
    if verb is Verb.RESET:
        return replace(state, phase=Phase.RESETTING, since_ns=now_ns), (ResetBegun(),)
    if state.in_episode:
        return _resume(state, now_ns, config)
    return replace(state, phase=Phase.IDLE, since_ns=now_ns), ()


def _resume(state: GateState, now_ns: int, config: GateConfig, begun: bool = False) -> Step:
    """Let whoever had the arm drive on; with a dead-man button, whoever has it by that button now."""
    by_button = config.style == "deadman" and config.mode != "collect"
    return _drive(state, now_ns, expert=state.held if by_button else state.expert_next, begun=begun)


def _drive(state: GateState, now_ns: int, expert: bool, begun: bool = False) -> Step:
    """Let the learner or the expert drive, outside an intervention's start."""
    phase, authority = (Phase.EXPERT, Authority.EXPERT) if expert else (Phase.LEARNER, Authority.LEARNER)
    recovered = state.recovered and expert and not begun
    state = replace(
        state,
        phase=phase,
        since_ns=now_ns,
        taken_ns=now_ns if begun else state.taken_ns,
        expert_next=expert,
        recovered=recovered,
        released_ns=None,
    )
    return state, ((EpisodeBegun(),) if begun else ()) + (AuthorityChanged(authority),)


def _take_over(state: GateState, now_ns: int) -> Step:
    state = replace(state, phase=Phase.TRANSITION, since_ns=now_ns, taken_ns=now_ns, recovered=False, released_ns=None)
    return state, (AuthorityChanged(Authority.EXPERT),)


def _hand_back(state: GateState, now_ns: int, config: GateConfig) -> Step:
    too_short = _too_short(state, now_ns, config)
    state, effects = _drive(state, now_ns, expert=False)
    return state, effects + too_short


def _too_short(state: GateState, now_ns: int, config: GateConfig) -> tuple[Effect, ...]:
    """Return what follows for a correction that ends now."""
    lasted_s = (now_ns - state.taken_ns) / NS_PER_S
    if state.phase not in EXPERT_PHASES or config.mode == "collect" or lasted_s >= config.min_correction_s:
        return ()
    sentence = (
        f"The correction lasted {lasted_s:.2f} s, less than {config.min_correction_s} s, so nobody learns from it; "
        "it is kept in the recording."
    )
    return CorrectionDropped(lasted_s), Notice(sentence)


def _end(state: GateState, outcome: Outcome, now_ns: int, config: GateConfig) -> Step:
    too_short = () if outcome is Outcome.DISCARDED else _too_short(state, now_ns, config)
    moving = authority(state) is not Authority.HOLD
    state = replace(
        state,
        phase=Phase.SAVING,
        since_ns=now_ns,
        in_episode=False,
        unasked=False,
        recovered=False,
        released_ns=None,
        droppable=outcome is not Outcome.DISCARDED,
    )
    return state, ((AuthorityChanged(Authority.HOLD),) if moving else ()) + too_short + (EpisodeEnded(outcome),)


def _saved(state: GateState, kept: bool, now_ns: int) -> Step:
    if state.phase is not Phase.SAVING:
        return state, ()
    state = replace(state, droppable=state.droppable and kept)
    if state.fault is not None:
        return replace(state, phase=Phase.FAULT, since_ns=now_ns), ()
    return replace(state, phase=Phase.RESETTING, since_ns=now_ns), (ResetBegun(),)


def _reset_done(state: GateState, now_ns: int) -> Step:
    if state.phase is not Phase.RESETTING:
        return state, ()
    return replace(state, phase=Phase.IDLE, since_ns=now_ns), ()


def _fault(state: GateState, fault: Fault, now_ns: int) -> Step:
    news = not state.faults or fault.reason != state.fault
    state = replace(state, fault=fault.reason, faults=state.faults | {fault.source})
    if state.phase in (Phase.FAULT, Phase.SAVING):
        return state, (Notice(fault.reason, fault=True),) if news else ()
    moving = authority(state) is not Authority.HOLD
    if moving:
        state = replace(state, expert_next=state.phase in EXPERT_PHASES, unasked=True)
    state = replace(state, phase=Phase.FAULT, since_ns=now_ns)
    return state, ((AuthorityChanged(Authority.HOLD),) if moving else ()) + (Notice(fault.reason, fault=True),)


def _fault_cleared(state: GateState, source: str) -> Step:
    if source not in state.faults:
        return state, ()
    state = replace(state, faults=state.faults - {source})
    return state, () if state.faults else (Notice("The fault is cleared; resume or reset goes on."),)


def _hold_learner(state: GateState, reason: str, now_ns: int) -> Step:
    """Only a driving learner is held; a call for help that comes late is ignored."""
    if state.phase is not Phase.LEARNER:
        return state, ()
    state = replace(state, phase=Phase.HOLD, since_ns=now_ns, expert_next=False, unasked=True)
    return state, (AuthorityChanged(Authority.HOLD), Notice(reason))


def _deadman(state: GateState, held: bool, now_ns: int, config: GateConfig) -> Step:
    if held == state.held:
        return state, ()
    if config.style != "deadman" or config.mode == "collect":
        return replace(state, held=held), ()
    state = replace(state, held=held)
    if held:
        state = replace(state, released_ns=None)
        return _take_over(state, now_ns) if state.phase in (Phase.LEARNER, Phase.HOLD) else (state, ())
    return replace(state, released_ns=now_ns if state.phase in EXPERT_PHASES else None), ()


def _device(state: GateState, silent: bool, now_ns: int) -> Step:
    """A silent device fades the twist out (the controller's work) and cancels a let-go dead-man button.

    Without it nobody can stop an arm that moves by itself, so neither learner nor return to the start goes on.
    """
    news = silent != state.silent
    if news:
        state = replace(state, silent=silent, released_ns=None)
    if not silent:
        return state, ()
    if state.phase is Phase.LEARNER:
        sentence = "The input device is silent, so the arm holds: check its cable or window, then resume or take over."
        return _hold_learner(state, sentence, now_ns)
    if state.phase is Phase.RESETTING:
        sentence = "The input device is silent, so the reset is cancelled: check its cable or window, then reset."
        return replace(state, phase=Phase.IDLE, since_ns=now_ns), (Notice(sentence),)
    if news and state.phase in EXPERT_PHASES:
        return state, (Notice("The input device is silent; the arm stops, and the expert stays in charge."),)
    return state, ()


def _refuse(state: GateState, verb: Verb, sentence: str) -> Step:
    return state, (Refused(verb, sentence),)

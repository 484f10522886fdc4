from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from data.schema import Outcome, Owner
from drift_robot.gate import (
    EPISODE_PHASES,
    AuthorityChanged,
    CorrectionDropped,
    Deadman,
    DeviceSilent,
    DropLast,
    Effect,
    EndWanted,
    EpisodeBegun,
    EpisodeEnded,
    Event,
    Fault,
    FaultCleared,
    GateConfig,
    GateState,
    HelpWanted,
    Notice,
    Phase,
    PlanDone,
    Recovered,
    Refused,
    ResetBegun,
    ResetDone,
    Rollback,
    Saved,
    TrainNow,
    advance,
    authority,
    owner,
    step,
)
from drift_robot.status import offered_verbs
from hardware.arms.controller import Authority
from hardware.interfaces import Verb

S = 1_000_000_000
ADAPT = GateConfig()
COLLECT = GateConfig(mode="collect")
DEADMAN = GateConfig(style="deadman")
NOBODY_DRIVES = (Phase.IDLE, Phase.HOLD, Phase.SAVING, Phase.RESETTING, Phase.FAULT)


def run(*events: Event, config: GateConfig = ADAPT, every_s: float = 1.0) -> tuple[GateState, list[Effect]]:
    """Feed events, one a second, to a new gate; return its state and all effects."""
    state, effects, now_ns = GateState(), list[Effect](), 0
    for event in events:
        now_ns += round(every_s * S)
        state, new = advance(state, event, now_ns, config)
        effects += new
    return state, effects


def refusals(effects: list[Effect]) -> list[str]:
    return [effect.sentence for effect in effects if isinstance(effect, Refused)]


def test_resume_starts_an_episode_with_the_learner() -> None:
    state, effects = run(Verb.RESUME)
    assert state.phase is Phase.LEARNER
    assert effects == [EpisodeBegun(), AuthorityChanged(Authority.LEARNER)]


def test_when_collecting_an_episode_starts_with_the_expert_and_stays_with_her() -> None:
    state, effects = run(Verb.RESUME, Verb.HANDBACK, config=COLLECT)
    assert state.phase is Phase.EXPERT
    assert effects[:2] == [EpisodeBegun(), AuthorityChanged(Authority.EXPERT)]
    assert refusals(effects) == ["Demonstrations are collected, so there is no learner to hand back to."]


def test_a_takeover_changes_authority_at_once_and_is_a_transition_for_its_time() -> None:
    state, _ = run(Verb.RESUME)
    state, effects = advance(state, Verb.TAKEOVER, 2 * S, ADAPT)
    assert effects == (AuthorityChanged(Authority.EXPERT),)
    assert (state.phase, owner(state), authority(state)) == (Phase.TRANSITION, Owner.TRANSITION, Authority.EXPERT)
    assert step(state, 2 * S + 299_999_999, ADAPT)[0].phase is Phase.TRANSITION
    state, effects = step(state, 2 * S + 300_000_000, ADAPT)
    assert (state.phase, owner(state), authority(state)) == (Phase.EXPERT, Owner.EXPERT, Authority.EXPERT)
    assert effects == ()


def test_a_hand_back_is_one_press() -> None:
    state, effects = run(Verb.RESUME, Verb.TAKEOVER, Verb.HANDBACK)
    assert state.phase is Phase.LEARNER
    assert effects[-1] == AuthorityChanged(Authority.LEARNER)


def test_a_bounce_of_the_button_does_not_hand_back() -> None:
    state, _ = run(Verb.RESUME, Verb.TAKEOVER)
    state, effects = advance(state, Verb.HANDBACK, 2 * S + S // 10, ADAPT)
    assert state.phase is Phase.TRANSITION
    assert refusals(list(effects)) == ["A hand-back within 0.25 s of the takeover is not followed."]


def test_a_takeover_is_never_refused_while_the_learner_drives() -> None:
    state, _ = run(Verb.RESUME, Verb.TAKEOVER, Verb.HANDBACK)
    state, _ = advance(state, Verb.TAKEOVER, 3 * S + 1, ADAPT)
    assert state.phase is Phase.TRANSITION


def test_a_correction_too_short_to_learn_from_is_said_loudly() -> None:
    _, effects = run(Verb.RESUME, Verb.TAKEOVER, Verb.HANDBACK, every_s=0.4)
    notices = [effect.sentence for effect in effects if isinstance(effect, Notice)]
    assert notices == [
        "The correction lasted 0.40 s, less than 0.5 s, so nobody learns from it; it is kept in the recording."
    ]
    assert CorrectionDropped(0.4) in effects
    assert not any(
        isinstance(effect, Notice | CorrectionDropped) for effect in run(Verb.RESUME, Verb.TAKEOVER, Verb.HANDBACK)[1]
    )


@pytest.mark.parametrize("verb", [Verb.SUCCEED, Verb.FAIL])
def test_a_correction_that_the_end_of_the_episode_cuts_short_is_said_as_loudly(verb: Verb) -> None:
    _, effects = run(Verb.RESUME, Verb.TAKEOVER, verb, every_s=0.4)
    assert CorrectionDropped(0.4) in effects
    assert CorrectionDropped(0.4) not in run(Verb.RESUME, Verb.TAKEOVER, Verb.DISCARD, every_s=0.4)[1]
    assert not any(isinstance(effect, Notice) for effect in run(Verb.RESUME, verb, config=COLLECT, every_s=0.4)[1])


@pytest.mark.parametrize("driving", [(), (Verb.TAKEOVER,)])
def test_hold_stops_and_resume_gives_the_arm_back_to_who_had_it(driving: tuple[Verb, ...]) -> None:
    before, _ = run(Verb.RESUME, *driving)
    held, effects = advance(before, Verb.HOLD, 9 * S, ADAPT)
    assert (held.phase, authority(held)) == (Phase.HOLD, Authority.HOLD)
    assert effects[-1] == AuthorityChanged(Authority.HOLD)
    after, _ = advance(held, Verb.RESUME, 10 * S, ADAPT)
    assert after.phase is (Phase.EXPERT if driving else Phase.LEARNER)


def test_from_hold_either_can_be_given_the_arm() -> None:
    assert run(Verb.RESUME, Verb.HOLD, Verb.TAKEOVER)[0].phase is Phase.TRANSITION
    assert run(Verb.RESUME, Verb.TAKEOVER, Verb.HOLD, Verb.HANDBACK)[0].phase is Phase.LEARNER


def test_recovered_marks_the_rest_of_an_intervention() -> None:
    state, effects = run(Verb.RESUME, Verb.TAKEOVER, Verb.RECOVERED)
    assert state.recovered
    assert effects[-1] == Recovered()
    held, _ = advance(state, Verb.HOLD, 5 * S, ADAPT)
    assert advance(held, Verb.RESUME, 6 * S, ADAPT)[0].recovered
    assert not advance(state, Verb.HANDBACK, 5 * S, ADAPT)[0].recovered
    assert refusals(run(Verb.RESUME, Verb.RECOVERED)[1]) == ["Only a driving expert can mark a recovery."]


@pytest.mark.parametrize(
    ("verb", "outcome"),
    [(Verb.SUCCEED, Outcome.SUCCESS), (Verb.FAIL, Outcome.FAILURE), (Verb.DISCARD, Outcome.DISCARDED)],
)
@pytest.mark.parametrize("before", [(), (Verb.TAKEOVER,), (Verb.HOLD,)])
def test_an_episode_ends_with_its_outcome_then_is_saved_and_the_scene_reset(
    verb: Verb, outcome: Outcome, before: tuple[Verb, ...]
) -> None:
    state, effects = run(Verb.RESUME, *before, verb)
    assert (state.phase, effects[-1]) == (Phase.SAVING, EpisodeEnded(outcome))
    state, effects = run(Verb.RESUME, *before, verb, Saved())
    assert (state.phase, effects[-1]) == (Phase.RESETTING, ResetBegun())
    state, _ = run(Verb.RESUME, *before, verb, Saved(), ResetDone())
    assert state.phase is Phase.IDLE


@pytest.mark.parametrize("verb", [v for v in Verb if v not in (Verb.RESUME, Verb.RESET, Verb.ROLLBACK, Verb.TRAIN_NOW)])
def test_in_idle_all_other_verbs_are_refused_in_a_sentence(verb: Verb) -> None:
    state, effects = run(verb)
    assert state.phase is Phase.IDLE
    assert len(refusals(effects)) == 1
    assert refusals(effects)[0].endswith(".")


@pytest.mark.parametrize("verb", [Verb.RESET, Verb.DROP_LAST, Verb.ROLLBACK])
def test_what_belongs_between_episodes_is_refused_within_one(verb: Verb) -> None:
    for before in ((), (Verb.TAKEOVER,), (Verb.HOLD,)):
        state, effects = run(Verb.RESUME, *before, verb)
        assert state.in_episode
        assert "end it (succeed, fail, discard)" in refusals(effects)[0]


def test_the_last_episode_can_be_dropped_once_until_the_next_starts() -> None:
    over = (Verb.RESUME, Verb.FAIL, Saved(), ResetDone())
    _, effects = run(*over, Verb.DROP_LAST, Verb.DROP_LAST)
    assert effects.count(DropLast()) == 1
    assert len(refusals(effects)) == 1
    _, effects = run(*over, *over[:1], Verb.DISCARD, Saved(), ResetDone(), Verb.DROP_LAST)
    assert DropLast() not in effects


def test_the_last_episode_can_be_dropped_while_the_arm_goes_back_to_its_start() -> None:
    state, effects = run(Verb.RESUME, Verb.FAIL, Saved(), Verb.DROP_LAST)
    assert effects[-1] == DropLast()
    assert state.phase is Phase.RESETTING


def test_after_the_last_planned_episode_resume_ends_the_session_unless_that_episode_is_dropped() -> None:
    over = (Verb.RESUME, Verb.FAIL, Saved(), PlanDone(True), ResetDone())
    state, effects = run(*over, Verb.RESUME)
    assert effects[-1] == EndWanted()
    assert state.phase is Phase.IDLE
    state, effects = run(*over, Verb.DROP_LAST, Verb.RESUME)
    assert EndWanted() not in effects
    assert state.phase is Phase.LEARNER


def test_an_episode_that_was_not_kept_is_not_dropped_in_place_of_an_earlier_one() -> None:
    _, effects = run(Verb.RESUME, Verb.FAIL, Saved(kept=False), ResetDone(), Verb.DROP_LAST)
    assert DropLast() not in effects
    assert "no episode to drop" in refusals(effects)[0]


@pytest.mark.parametrize("verb", [Verb.TRAIN_NOW, Verb.ROLLBACK])
@pytest.mark.parametrize("mode", ["collect", "evaluate"])
def test_where_nothing_is_trained_nothing_is_asked_of_a_trainer(
    verb: Verb, mode: Literal["collect", "evaluate"]
) -> None:
    assert "Nothing is trained in this session" in refusals(run(verb, config=GateConfig(mode=mode))[1])[0]


def test_train_now_and_rollback_are_passed_on() -> None:
    assert run(Verb.ROLLBACK)[1] == [Rollback()]
    for before in ((), (Verb.RESUME,), (Fault("The arm is off."),)):
        assert run(*before, Verb.TRAIN_NOW)[1][-1] == TrainNow()


def test_a_fault_holds_and_only_the_operator_goes_on_once_it_is_cleared() -> None:
    events = (Verb.RESUME, Verb.TAKEOVER, Fault("The arm reports: protective stop."))
    state, effects = run(*events)
    assert (state.phase, authority(state)) == (Phase.FAULT, Authority.HOLD)
    assert effects[-2:] == [AuthorityChanged(Authority.HOLD), Notice("The arm reports: protective stop.", fault=True)]
    assert refusals(run(*events, Verb.RESUME)[1]) == ["The fault is still there: The arm reports: protective stop."]
    assert run(*events, FaultCleared())[0].phase is Phase.FAULT
    assert "stopped by a fault" in refusals(run(*events, FaultCleared(), Verb.TAKEOVER)[1])[0]
    assert run(*events, FaultCleared(), Verb.RESUME)[0].phase is Phase.EXPERT
    assert run(Verb.RESUME, Fault("x."), FaultCleared(), Verb.RESUME)[0].phase is Phase.LEARNER


def test_a_fault_is_cleared_only_by_all_who_complained() -> None:
    events = (Verb.RESUME, Fault("Arm.", "arm"), Fault("Camera wrist is stale.", "wrist"), FaultCleared("arm"))
    assert "still there" in refusals(run(*events, Verb.RESUME)[1])[0]
    assert run(*events, FaultCleared("wrist"), Verb.RESUME)[0].phase is Phase.LEARNER


def test_the_label_of_an_episode_that_ended_in_a_fault_is_not_lost() -> None:
    events = (Verb.RESUME, Fault("The arm is off."))
    state, effects = run(*events, Verb.FAIL)
    assert (state.phase, effects[-1]) == (Phase.SAVING, EpisodeEnded(Outcome.FAILURE))
    state, effects = run(*events, Verb.FAIL, Saved())
    assert state.phase is Phase.FAULT
    assert "no outcome yet" in refusals(run(*events, FaultCleared(), Verb.RESET)[1])[0]
    state, effects = run(*events, Verb.FAIL, Saved(), FaultCleared(), Verb.RESET)
    assert (state.phase, effects[-1]) == (Phase.RESETTING, ResetBegun())
    assert run(*events, Verb.FAIL, Saved(), FaultCleared(), Verb.RESUME)[0].phase is Phase.IDLE


def test_a_learner_that_wants_help_is_held_with_its_reason_until_the_operator_decides() -> None:
    wanted = HelpWanted("The policy asks for help.")
    state, effects = run(Verb.RESUME, wanted)
    assert (state.phase, authority(state)) == (Phase.HOLD, Authority.HOLD)
    assert effects[-2:] == [AuthorityChanged(Authority.HOLD), Notice("The policy asks for help.")]
    assert run(Verb.RESUME, wanted, Verb.RESUME)[0].phase is Phase.LEARNER
    assert run(Verb.RESUME, wanted, Verb.TAKEOVER)[0].phase is Phase.TRANSITION


@pytest.mark.parametrize("stopped", [(HelpWanted("Help."),), (Fault("x."), FaultCleared())])
def test_a_press_that_should_hold_an_arm_that_has_just_stopped_by_itself_does_not_let_it_go_on(
    stopped: tuple[Event, ...],
) -> None:
    state, now_ns = GateState(), 0
    for event in (Verb.RESUME, *stopped):
        state, _ = advance(state, event, now_ns, ADAPT)
    soon_ns, later_ns = round(0.69 * S), round(0.7 * S)
    assert Verb.HOLD in offered_verbs(state, soon_ns, ADAPT), "what a button does that can hold as well as resume"
    assert Verb.RESUME not in offered_verbs(state, soon_ns, ADAPT)
    assert Verb.RESUME in offered_verbs(state, later_ns, ADAPT)
    assert Verb.HOLD not in offered_verbs(state, later_ns, ADAPT)
    held, effects = advance(state, Verb.HOLD, soon_ns, ADAPT)
    assert (held, effects) == (state, (Notice("The arm has stopped by itself already."),))
    held, effects = advance(state, Verb.RESUME, soon_ns, ADAPT)
    assert (authority(held), "just stopped" in refusals([*effects])[0]) == (Authority.HOLD, True)
    assert authority(advance(held, Verb.RESUME, later_ns, ADAPT)[0]) is Authority.LEARNER


def test_what_the_operator_holds_herself_goes_on_as_soon_as_she_likes() -> None:
    quick = (Verb.RESUME, HelpWanted("Help."), Verb.TAKEOVER, Verb.HOLD, Verb.RESUME)
    assert run(*quick, every_s=0.05)[0].phase is Phase.EXPERT


def test_help_is_no_matter_unless_the_learner_drives() -> None:
    for before in ((), (Verb.RESUME, Verb.TAKEOVER), (Verb.RESUME, Verb.HOLD), (Verb.RESUME, Fault("x."))):
        assert run(*before, HelpWanted("Help."))[1] == run(*before)[1]


def test_late_answers_are_ignored() -> None:
    for event in (Saved(), ResetDone(), FaultCleared()):
        assert run(event)[0].phase is Phase.IDLE
        assert run(Verb.RESUME, event)[0].phase is Phase.LEARNER
    assert run(Fault("x."), ResetDone())[0].phase is Phase.FAULT


def test_a_dead_man_button_drives_while_it_is_held() -> None:
    state, _ = run(Verb.RESUME, Deadman(True), config=DEADMAN)
    assert state.phase is Phase.TRANSITION
    state, _ = advance(state, Deadman(False), 5 * S, DEADMAN)
    assert authority(step(state, 5 * S + S // 5, DEADMAN)[0]) is Authority.EXPERT
    assert authority(step(state, 5 * S + S // 4, DEADMAN)[0]) is Authority.LEARNER
    again, _ = advance(state, Deadman(True), 5 * S + S // 10, DEADMAN)
    assert authority(step(again, 9 * S, DEADMAN)[0]) is Authority.EXPERT


@pytest.mark.parametrize(
    "before", [(Verb.RESUME, Deadman(True), Verb.HOLD), (Verb.RESUME, Deadman(True), Fault("x."), FaultCleared()), ()]
)
@pytest.mark.parametrize("held", [True, False])
def test_after_a_pause_who_drives_is_whoever_has_the_dead_man_button_in_hand(
    before: tuple[Event, ...], held: bool
) -> None:
    state, _ = run(*before, Deadman(held), config=DEADMAN)
    if before and held:
        assert state.phase in (Phase.HOLD, Phase.FAULT)  # held throughout: nothing has changed
    state, _ = advance(state, Verb.RESUME, 90 * S, DEADMAN)
    assert authority(step(state, 99 * S, DEADMAN)[0]) is (Authority.EXPERT if held else Authority.LEARNER)


def test_a_dead_man_button_means_nothing_where_it_is_not_configured() -> None:
    assert run(Verb.RESUME, Deadman(True))[0].phase is Phase.LEARNER
    state, _ = run(Verb.RESUME, Deadman(True), Deadman(False), config=replace(DEADMAN, mode="collect"))
    assert step(state, 99 * S, replace(DEADMAN, mode="collect"))[0].phase is Phase.EXPERT


def test_an_unplugged_device_never_gives_the_arm_back_to_the_learner() -> None:
    state, _ = run(Verb.RESUME, Deadman(True), config=DEADMAN)
    state, _ = advance(state, Deadman(False), 5 * S, DEADMAN)
    state, effects = advance(state, DeviceSilent(True), 5 * S + S // 5, DEADMAN)
    assert "expert stays in charge" in str(effects)
    state, _ = step(state, 9 * S, DEADMAN)
    assert authority(state) is Authority.EXPERT
    state, effects = advance(state, DeviceSilent(True), 9 * S, DEADMAN)
    assert effects == ()
    state, _ = advance(state, Deadman(True), 9 * S, DEADMAN)
    state, _ = advance(state, Deadman(False), 10 * S, DEADMAN)
    assert authority(step(state, 20 * S, DEADMAN)[0]) is Authority.EXPERT


def test_a_learner_whose_operator_has_lost_her_device_is_held_until_her_word() -> None:
    events = (Verb.RESUME, Verb.TAKEOVER, Verb.HANDBACK, DeviceSilent(True))
    state, effects = run(*events)
    assert (state.phase, authority(state)) == (Phase.HOLD, Authority.HOLD)
    assert effects[-2] == AuthorityChanged(Authority.HOLD)
    assert "device is silent, so the arm holds: check its cable or window, then resume" in str(effects[-1])
    assert run(*events, DeviceSilent(True))[1] == effects, "it is said once"
    assert run(*events, DeviceSilent(False))[0].phase is Phase.HOLD, "it goes on by itself"
    assert run(*events, DeviceSilent(False), Verb.RESUME)[0].phase is Phase.LEARNER
    assert run(*events, DeviceSilent(False), Verb.TAKEOVER)[0].phase is Phase.TRANSITION


def test_a_return_to_the_start_ends_where_it_is_when_nobody_could_stop_it() -> None:
    for before in ((Verb.RESET,), (Verb.RESUME, DeviceSilent(True), Verb.FAIL, Saved())):
        state, effects = run(*before, DeviceSilent(True))
        assert state.phase is Phase.IDLE
        assert "the reset is cancelled: check its cable or window, then reset" in str(effects[-1])
        assert run(*before, DeviceSilent(True), DeviceSilent(False))[0].phase is Phase.IDLE, "it goes on by itself"


def test_what_two_devices_complain_of_in_the_same_words_is_said_once() -> None:
    _, effects = run(Fault("The robot is off.", "arm"), Fault("The robot is off.", "gripper"))
    assert effects == [Notice("The robot is off.", fault=True)]
    assert len(run(Fault("Off.", "arm"), FaultCleared("arm"), Fault("Off.", "arm"))[1]) == 3


class AnySequence(RuleBasedStateMachine):
    """Drives a gate with whatever comes, and keeps the books that the gate must agree with."""

    @initialize(
        config=st.builds(
            GateConfig,
            mode=st.sampled_from(["collect", "adapt", "evaluate"]),
            style=st.sampled_from(["toggle", "deadman"]),
        )
    )
    def begin(self, config: GateConfig) -> None:
        self.config = config
        self.state = GateState()
        self.now_ns = 0
        self.begun = self.ended = self.saved = self.dropped = 0
        self.authority = Authority.HOLD
        self.stopped_ns = -S

    def take(self, state: GateState, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, EpisodeBegun):
                assert self.begun == self.ended == self.saved, "never two episodes at once"
                self.begun += 1
            elif isinstance(effect, EpisodeEnded):
                assert self.begun == self.ended + 1, "never an end without an episode"
                self.ended += 1
            elif isinstance(effect, AuthorityChanged):
                assert effect.authority is not self.authority or effect.authority is not Authority.HOLD
                self.authority = effect.authority
            elif isinstance(effect, DropLast):
                assert state.phase in (Phase.IDLE, Phase.RESETTING)
                self.dropped += 1
                assert self.dropped <= self.ended
            elif isinstance(effect, (ResetBegun, Rollback)):
                assert isinstance(effect, ResetBegun) or self.config.mode == "adapt"
                assert self.begun == self.ended == self.saved
            elif isinstance(effect, (Refused, Notice)):
                assert effect.sentence.endswith(".")
        self.state = state

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.1, 0.26, 0.31, 2.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_ns += round(seconds * S)
        self.take(*step(self.state, self.now_ns, self.config))

    @rule(verb=st.sampled_from(Verb))
    def verb(self, verb: Verb) -> None:
        before = self.state.phase
        state, effects = advance(self.state, verb, self.now_ns, self.config)
        assert effects or state.phase is not before, "every verb is followed or refused in words"
        if verb is Verb.RESUME and self.now_ns - self.stopped_ns < 0.7 * S:
            assert authority(state) is self.authority, "a press may be meant for an arm that moved a moment ago"
        elif authority(state) is not self.authority or not state.in_episode:
            self.stopped_ns = -S
        self.take(state, effects)

    @rule(
        event=st.sampled_from(
            [
                *(ResetDone(), HelpWanted("Help."), PlanDone(True), PlanDone(False)),
                *(Fault("Arm."), Fault("Camera.", "camera"), FaultCleared(), FaultCleared("camera")),
            ]
        )
    )
    def event(self, event: Event) -> None:
        before = authority(self.state)
        self.take(*advance(self.state, event, self.now_ns, self.config))
        if self.authority is not before:
            self.stopped_ns = self.now_ns

    @rule(held=st.booleans())
    def deadman(self, held: bool) -> None:
        self.take(*advance(self.state, Deadman(held), self.now_ns, self.config))

    @rule(silent=st.booleans())
    def device(self, silent: bool) -> None:
        before = authority(self.state)
        self.take(*advance(self.state, DeviceSilent(silent), self.now_ns, self.config))
        assert before is not Authority.EXPERT or authority(self.state) is Authority.EXPERT
        if self.authority is not before:
            self.stopped_ns = self.now_ns
        if silent:
            assert self.state.phase not in (Phase.LEARNER, Phase.RESETTING), "what nobody can stop moves by itself"

    @precondition(lambda self: self.ended > self.saved)
    @rule()
    def the_recorder_answers(self) -> None:
        assert self.state.phase is Phase.SAVING, "an ended episode is waited for"
        self.saved += 1
        self.take(*advance(self.state, Saved(), self.now_ns, self.config))

    @invariant()
    def books_agree(self) -> None:
        state = self.state
        assert state.in_episode == (self.begun == self.ended + 1)
        assert not state.in_episode or state.phase in (*EPISODE_PHASES, Phase.FAULT)
        assert state.phase not in EPISODE_PHASES or state.in_episode
        assert (state.phase is Phase.SAVING) == (self.ended > self.saved)
        assert authority(state) is self.authority, "every change of authority was told"
        if state.phase in NOBODY_DRIVES:
            assert authority(state) is Authority.HOLD
        if owner(state) is Owner.EXPERT:
            assert authority(state) is Authority.EXPERT
        if owner(state) is Owner.LEARNER:
            assert authority(state) is Authority.LEARNER
            assert self.config.mode != "collect"
        if authority(state) is Authority.LEARNER:
            assert owner(state) is Owner.LEARNER
        if state.faults:
            assert state.phase in (Phase.FAULT, Phase.SAVING)


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)

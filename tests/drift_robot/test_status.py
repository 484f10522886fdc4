import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.schema import Owner
from drift_robot.errors import UserError
from drift_robot.gate import GateConfig, GateState, Phase, Refused, advance
from drift_robot.statistics import success_rate
from drift_robot.status import (
    Cadence,
    SessionStatus,
    TrainerState,
    TrainerStatus,
    offered_verbs,
    status_from_json,
    status_to_json,
)
from hardware.interfaces import Verb

FINITE = st.floats(allow_nan=False, allow_infinity=False)
STATUSES = st.builds(
    SessionStatus,
    time_ns=st.integers(0, 2**63 - 1),
    mode=st.sampled_from(["collect", "adapt", "evaluate"]),
    phase=st.sampled_from(Phase),
    task=st.text(),
    swapped_ns=st.none() | st.integers(0, 2**63 - 1),
    episode_s=FINITE,
    recent=st.lists(st.booleans(), max_size=20).map(tuple),
    trainer=st.builds(
        TrainerStatus, state=st.sampled_from(TrainerState), progress=FINITE, losses=st.lists(FINITE).map(tuple)
    ),
    control=st.builds(Cadence, FINITE, FINITE, FINITE),
    alarms=st.lists(st.text()).map(tuple),
    alarm=st.none() | FINITE,
    alarmed=st.booleans(),
    offered=st.lists(st.sampled_from(Verb)).map(tuple),
)


@given(STATUSES)
def test_a_status_comes_back_from_json_unchanged(status: SessionStatus) -> None:
    assert status_from_json(status_to_json(status)) == status


def test_a_diverged_loss_does_not_silence_the_session() -> None:
    status = SessionStatus(5, "adapt", Phase.EXPERT, trainer=TrainerStatus(losses=(1.0, math.inf, math.nan)))
    losses = status_from_json(status_to_json(status)).trainer.losses
    assert losses[:2] == (1.0, math.inf)
    assert math.isnan(losses[2])


def test_the_json_is_plain_words() -> None:
    content = json.loads(status_to_json(SessionStatus(5, "adapt", Phase.EXPERT, offered=(Verb.HOLD,))))
    assert (content["phase"], content["offered"]) == ("expert", ["hold"])


@pytest.mark.parametrize("content", [b"", b"{}", b'{"time_ns": 1, "mode": "adapt", "phase": "asleep"}'])
def test_anything_else_is_refused_in_one_sentence(content: bytes) -> None:
    with pytest.raises(UserError, match="not a session's status"):
        status_from_json(content)


@pytest.mark.parametrize("phase", Phase)
def test_somebody_drives_exactly_in_the_driving_phases(phase: Phase) -> None:
    drives = {Phase.LEARNER: Owner.LEARNER, Phase.TRANSITION: Owner.TRANSITION, Phase.EXPERT: Owner.EXPERT}
    assert SessionStatus(0, "adapt", phase).owner == drives.get(phase)


def test_success_is_of_the_last_twenty_episodes() -> None:
    status = SessionStatus(0, "adapt", Phase.IDLE, recent=(False,) * 10 + (True,) * 15 + (False,) * 5)
    assert status.success == success_rate(15, 20)


def test_a_loop_that_falls_behind_is_told_from_one_that_keeps_its_rate() -> None:
    assert Cadence(10.0, 9.8).is_kept
    assert not Cadence(10.0, 9.0).is_kept
    assert not Cadence(10.0, math.nan).is_kept


@pytest.mark.parametrize("phase", Phase)
def test_a_verb_is_offered_exactly_when_the_gate_would_follow_it(phase: Phase) -> None:
    state, config = GateState(phase=phase, in_episode=phase not in (Phase.IDLE, Phase.RESETTING)), GateConfig()
    offered = offered_verbs(state, 10**9, config)
    for verb in Verb:
        effects = advance(state, verb, 10**9, config)[1]
        assert (verb in offered) == (not any(isinstance(effect, Refused) for effect in effects))


def test_a_running_learner_can_be_taken_over_but_not_handed_back_to() -> None:
    offered = offered_verbs(GateState(phase=Phase.LEARNER, in_episode=True), 10**9, GateConfig())
    assert Verb.TAKEOVER in offered
    assert Verb.HANDBACK not in offered

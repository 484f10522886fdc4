import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_robot.gate import Phase
from drift_robot.gating import (
    GatingView,
    HumanGating,
    NoGating,
    SimulatedExpertGating,
    SimulatedExpertGatingConfig,
)
from hardware.arms import rotations
from hardware.interfaces import Verb
from hardware.poses import Array, Pose, action_vector, pose_vector

CONFIG = SimulatedExpertGatingConfig()
HERE = Pose(np.array([0.5, 0.0, 0.3]), rotations.exp(np.array([np.pi, 0.0, 0.0])))
FORWARD, BACK, SIDE, REST = (0.015, 0.0, 0.0), (-0.015, 0.0, 0.0), (0.0, 0.015, 0.0), (0.0, 0.0, 0.0)


def action(move: tuple[float, float, float], gripper: float = 1.0, yaw: float = 0.0) -> Array:
    rotation = rotations.exp(np.array([0.0, 0.0, yaw])) @ HERE.rotation
    return action_vector(Pose(HERE.position + np.array(move), rotation), gripper)


def view(phase: Phase, learner: Array | None, expert: Array | None) -> GatingView:
    return GatingView(0, phase, pose_vector(HERE), learner, expert)


def press(
    gating: SimulatedExpertGating, steps: int, phase: Phase, learner: Array | None, expert: Array | None
) -> list[int]:
    """Return the steps at which a verb was pressed."""
    wanted = (Verb.TAKEOVER,) if phase is Phase.LEARNER else (Verb.HANDBACK,)
    decisions = [gating.decide(view(phase, learner, expert)) for _ in range(steps)]
    assert all(decision in ((), wanted) for decision in decisions)
    return [k for k, decision in enumerate(decisions) if decision]


def test_nobody_presses_for_a_person_or_when_there_is_no_gating() -> None:
    for gating in (HumanGating(), NoGating()):
        gating.reset()
        assert gating.decide(view(Phase.LEARNER, action(BACK), action(FORWARD))) == ()


@pytest.mark.parametrize("learner", [action(BACK), action(SIDE), action(REST, yaw=-0.15)])
def test_a_learner_that_persistently_goes_elsewhere_is_taken_over(learner: Array) -> None:
    assert press(SimulatedExpertGating(CONFIG), 3, Phase.LEARNER, learner, action(FORWARD)) == [2]


def test_a_task_may_have_a_threshold_of_its_own() -> None:
    config = SimulatedExpertGatingConfig(cosine_below_of={"robosuite_can": 0.95})
    learner = action((0.012, 0.009, 0.0))  # cosine 0.8, 9 mm apart
    for task, pressed in (("lift", []), ("robosuite_can", [2])):
        gating = SimulatedExpertGating(config.of_task(task))
        assert press(gating, 3, Phase.LEARNER, learner, action(FORWARD)) == pressed


def test_a_wrong_turn_is_a_deviation_too() -> None:
    gating = SimulatedExpertGating(CONFIG)
    assert press(gating, 3, Phase.LEARNER, action(REST, yaw=-0.1), action(REST, yaw=0.1)) == [2]


@pytest.mark.parametrize(
    "learner",
    [action(FORWARD), action((0.012, 0.004, 0.0)), action((0.03, 0.005, 0.0))],
)
def test_a_learner_that_goes_the_experts_way_is_left_alone(learner: Array) -> None:
    assert press(SimulatedExpertGating(CONFIG), 50, Phase.LEARNER, learner, action(FORWARD)) == []


def test_a_small_disagreement_of_whatever_direction_is_left_alone() -> None:
    gating = SimulatedExpertGating(CONFIG)
    assert press(gating, 50, Phase.LEARNER, action((0.003, 0.0, 0.0)), action((-0.003, 0.0, 0.0))) == []


def test_a_disagreement_that_does_not_persist_is_left_alone() -> None:
    gating = SimulatedExpertGating(CONFIG)
    for _ in range(20):
        assert press(gating, 2, Phase.LEARNER, action(BACK), action(FORWARD)) == []
        assert press(gating, 1, Phase.LEARNER, action(FORWARD), action(FORWARD)) == []


def test_a_learner_that_stalls_is_taken_over_but_not_where_the_expert_rests_too() -> None:
    near = action((0.004, 0.0, 0.0))
    assert press(SimulatedExpertGating(CONFIG), 8, Phase.LEARNER, action(REST), near) == [7]
    assert press(SimulatedExpertGating(CONFIG), 50, Phase.LEARNER, action(REST), action(REST)) == []


def test_a_gripper_that_disagrees_counts_on_its_own() -> None:
    gating = SimulatedExpertGating(CONFIG)
    assert press(gating, 4, Phase.LEARNER, action(FORWARD, gripper=1.0), action(FORWARD, gripper=0.0)) == [3]


def test_the_expert_drives_a_minimum_and_hands_back_when_the_learner_agrees() -> None:
    gating = SimulatedExpertGating(CONFIG)
    assert press(gating, 9, Phase.EXPERT, action(FORWARD), action(FORWARD))[0] == 7
    gating.reset()
    assert press(gating, 30, Phase.EXPERT, action(BACK), action(FORWARD)) == []
    assert press(gating, 2, Phase.EXPERT, action(FORWARD), action(FORWARD)) == [1]


@pytest.mark.parametrize(
    ("learner", "expert"),
    [
        (action(REST), action((0.004, 0.0, 0.0))),
        (action(FORWARD, gripper=1.0), action(FORWARD, gripper=0.0)),
    ],
)
def test_the_expert_does_not_hand_back_to_a_learner_that_stalls_or_grips_wrongly(learner: Array, expert: Array) -> None:
    assert press(SimulatedExpertGating(CONFIG), 40, Phase.EXPERT, learner, expert) == []


def test_without_proposals_of_the_learner_the_expert_drives_her_minimum() -> None:
    gating = SimulatedExpertGating(CONFIG)
    assert press(gating, 20, Phase.LEARNER, None, action(FORWARD)) == []
    assert press(gating, 8, Phase.EXPERT, None, action(FORWARD)) == [7]


def test_a_transition_counts_towards_the_experts_minimum() -> None:
    gating = SimulatedExpertGating(CONFIG)
    assert press(gating, 3, Phase.TRANSITION, action(FORWARD), action(FORWARD)) == []
    assert press(gating, 5, Phase.EXPERT, action(FORWARD), action(FORWARD)) == [4]


moves = st.tuples(*[st.floats(-0.02, 0.02)] * 3)


@given(st.lists(st.tuples(moves, moves, st.floats(0, 1), st.floats(0, 1)), max_size=60))
def test_whatever_is_proposed_interventions_last_their_minimum_and_verbs_alternate(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    gating, phase, lasted = SimulatedExpertGating(CONFIG), Phase.LEARNER, 0
    for learner, expert, grip_a, grip_b in steps:
        verbs = gating.decide(view(phase, action(learner, grip_a), action(expert, grip_b)))
        if phase is Phase.EXPERT:
            lasted += 1
        if verbs == (Verb.TAKEOVER,):
            assert phase is Phase.LEARNER
            phase, lasted = Phase.EXPERT, 0
        elif verbs:
            assert verbs == (Verb.HANDBACK,)
            assert phase is Phase.EXPERT
            assert lasted >= CONFIG.min_expert_steps
            phase = Phase.LEARNER

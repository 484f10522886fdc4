import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from recording import PERIOD_NS, owners

from data.schema import Outcome, Owner
from data.windows import Source, WindowRules, Windows, make_windows

AUTONOMOUS = WindowRules(autonomous=True)

owner_lists = st.lists(st.tuples(st.sampled_from(list(Owner)), st.integers(1, 25)), min_size=0, max_size=12).map(
    lambda turns: [owner for owner, count in turns for _ in range(count)]
)
outcomes = st.sampled_from(list(Outcome))


def windows_of(
    labels: str | list[Owner],
    outcome: Outcome = Outcome.SUCCESS,
    obs_horizon: int = 2,
    pred_horizon: int = 4,
    rules: WindowRules | None = None,
) -> Windows:
    owner = np.array(owners(labels) if isinstance(labels, str) else labels, dtype=np.uint8)
    time_ns = 10**15 + np.arange(len(owner), dtype=np.int64) * PERIOD_NS
    return make_windows(owner, time_ns, outcome, obs_horizon, pred_horizon, rules)


def of_source(windows: Windows, source: Source) -> np.ndarray:
    return np.flatnonzero(windows.source == source)


def masked(windows: Windows) -> list[str]:
    return ["".join(str(int(target)) for target in row) for row in windows.mask]


@given(owner_lists, outcomes, st.integers(1, 3), st.integers(1, 20), st.booleans())
def test_no_learner_action_is_ever_an_experts_target(
    labels: list[Owner], outcome: Outcome, obs_horizon: int, pred_horizon: int, autonomous: bool
) -> None:
    windows = windows_of(labels, outcome, obs_horizon, pred_horizon, WindowRules(autonomous=autonomous))
    owner = np.array(labels, dtype=np.uint8)
    for window in (*of_source(windows, Source.INTERVENTION), *of_source(windows, Source.DEMONSTRATION)):
        targets = windows.action_index[window][windows.mask[window] == 1]
        assert (owner[targets] == Owner.EXPERT).all()


@given(owner_lists, st.sampled_from([Outcome.SUCCESS, Outcome.FAILURE, Outcome.UNKNOWN]), st.integers(1, 20))
def test_no_expert_step_of_an_intervention_is_lost(labels: list[Owner], outcome: Outcome, pred_horizon: int) -> None:
    windows = windows_of(labels, outcome, pred_horizon=pred_horizon)
    chosen = of_source(windows, Source.INTERVENTION)
    targets = set(windows.action_index[chosen][windows.mask[chosen] == 1].tolist())
    expert = {step for step, owner in enumerate(labels) if owner is Owner.EXPERT}
    assert targets == (expert if Owner.LEARNER in labels else set())
    assert (windows.weight[chosen] > 0).all()


@given(owner_lists, outcomes, st.integers(1, 3), st.integers(1, 20), st.booleans())
def test_windows_are_consecutive_steps_within_the_episode(
    labels: list[Owner], outcome: Outcome, obs_horizon: int, pred_horizon: int, autonomous: bool
) -> None:
    windows = windows_of(labels, outcome, obs_horizon, pred_horizon, WindowRules(autonomous=autonomous))
    count = len(windows)
    assert windows.observation_index.shape == (count, obs_horizon)
    assert windows.action_index.shape == windows.mask.shape == (count, pred_horizon)
    assert windows.weight.shape == windows.source.shape == (count,)
    assert (windows.mask.dtype, windows.weight.dtype) == (np.float32, np.float32)
    first = windows.action_index[:, :1]
    np.testing.assert_array_equal(
        windows.action_index, np.minimum(first + np.arange(pred_horizon), max(len(labels) - 1, 0))
    )
    np.testing.assert_array_equal(windows.observation_index, np.maximum(first + np.arange(1 - obs_horizon, 1), 0))
    assert (np.diff(windows.mask, axis=1) <= 0).all()
    stays = (windows.source == Source.DEMONSTRATION) & (outcome is Outcome.SUCCESS)
    beyond = first + np.arange(pred_horizon) >= len(labels)
    assert (windows.mask[beyond & ~stays[:, None]] == 0).all()


@given(owner_lists, st.integers(1, 20))
def test_autonomous_windows_hold_only_the_learners_actions_far_from_a_takeover(
    labels: list[Owner], pred_horizon: int
) -> None:
    windows = windows_of(labels, pred_horizon=pred_horizon, rules=AUTONOMOUS)
    takeover_steps = [
        step for step in range(1, len(labels)) if labels[step - 1] == Owner.LEARNER and labels[step] != Owner.LEARNER
    ]

    def near(step: int) -> bool:
        return any(0 < takeover - step <= 15 for takeover in takeover_steps)

    for window in of_source(windows, Source.AUTONOMOUS):
        start = int(windows.action_index[window, 0])
        assert windows.weight[window] == (0.0 if near(start) else 1.0)
        for step in windows.action_index[window][windows.mask[window] == 1].tolist():
            assert labels[step] is Owner.LEARNER
            assert not near(step)


@given(owner_lists, outcomes)
def test_autonomous_windows_come_only_from_successes_and_only_when_asked(labels: list[Owner], outcome: Outcome) -> None:
    assert len(of_source(windows_of(labels, outcome), Source.AUTONOMOUS)) == 0
    asked = windows_of(labels, outcome, rules=AUTONOMOUS)
    learner_steps = sum(owner is Owner.LEARNER for owner in labels)
    expected = learner_steps if outcome is Outcome.SUCCESS else 0
    assert len(of_source(asked, Source.AUTONOMOUS)) == expected


@given(owner_lists, outcomes, st.booleans())
def test_weights_follow_the_last_takeover(labels: list[Owner], outcome: Outcome, autonomous: bool) -> None:
    windows = windows_of(labels, outcome, rules=WindowRules(autonomous=autonomous))
    for window in of_source(windows, Source.INTERVENTION):
        step = start = int(windows.action_index[window, 0])
        while step > 0 and labels[step - 1] is not Owner.LEARNER:
            step -= 1
        assert windows.weight[window] == (4.0 if start - step <= 10 else 1.0)


def test_an_intervention_is_cut_where_the_expert_hands_back() -> None:
    windows = windows_of("LLTEEELLE")
    assert windows.action_index[:, 0].tolist() == [3, 4, 5, 8]
    assert masked(windows) == ["1110", "1100", "1000", "1000"]
    assert set(windows.source.tolist()) == {Source.INTERVENTION}


def test_a_later_intervention_is_no_part_of_an_earlier_window() -> None:
    assert masked(windows_of("LELEL")) == ["1000", "1000"]


def test_transition_steps_are_seen_but_never_targets() -> None:
    windows = windows_of("LTTEE")
    assert windows.observation_index.tolist() == [[2, 3], [3, 4]]
    assert masked(windows) == ["1100", "1000"]


def test_the_interventions_of_a_failed_episode_are_kept() -> None:
    assert len(windows_of("LLEEL", Outcome.FAILURE)) == 2


def test_a_discarded_episode_teaches_nothing() -> None:
    assert len(windows_of("LLEEL", Outcome.DISCARDED, rules=AUTONOMOUS)) == 0
    assert len(windows_of("EEEE", Outcome.DISCARDED)) == 0


def test_a_demonstration_ends_by_staying_where_it_is() -> None:
    windows = windows_of("EEE")
    assert windows.source.tolist() == [Source.DEMONSTRATION] * 3
    assert windows.action_index.tolist() == [[0, 1, 2, 2], [1, 2, 2, 2], [2, 2, 2, 2]]
    assert masked(windows) == ["1111"] * 3
    assert windows.observation_index.tolist() == [[0, 0], [0, 1], [1, 2]]


def test_an_interrupted_demonstration_teaches_no_staying() -> None:
    assert masked(windows_of("EEE", Outcome.UNKNOWN)) == ["1110", "1100", "1000"]


def test_what_is_taken_out_of_a_demonstration_is_no_target_and_leaves_a_demonstration() -> None:
    windows = windows_of("EETEE")
    assert set(windows.source.tolist()) == {Source.DEMONSTRATION}
    assert windows.action_index[:, 0].tolist() == [0, 1, 3, 4]
    assert masked(windows) == ["1100", "1000", "1111", "1111"]
    assert set(windows.weight.tolist()) == {1.0}
    assert masked(windows_of("EETT")) == ["1100", "1000"]
    assert len(windows_of("TEE", Outcome.FAILURE)) == 0


def test_a_failed_demonstration_teaches_nothing() -> None:
    assert len(windows_of("EEE", Outcome.FAILURE)) == 0


def test_an_empty_episode_has_no_windows() -> None:
    assert windows_of("").mask.shape == (0, 4)


def test_times_decide_not_step_numbers() -> None:
    owner = np.array(owners("LLLE"), dtype=np.uint8)
    time_ns = np.array([0, 1, 2, 4], dtype=np.int64) * 1_000_000_000
    windows = make_windows(owner, time_ns, Outcome.SUCCESS, 1, 1, AUTONOMOUS)
    assert windows.weight[windows.source == Source.AUTONOMOUS].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("wrong", [{"before_takeover": 1.0}, {"before_takeover_s": -1.0}, {"after_takeover_weight": 0}])
def test_wrong_rules_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        WindowRules(**wrong)

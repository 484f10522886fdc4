from hypothesis import given
from hypothesis import strategies as st

from drift_robot.gate import Phase
from drift_robot.realtime.operator import ScriptedOperator
from hardware.clock import NS_PER_S
from hardware.interfaces import Verb

ALL = tuple(Verb)


def test_starts_an_episode_as_long_as_some_are_missing() -> None:
    operator = ScriptedOperator(planned=3, time_limit_s=10.0, prepared=True)
    assert operator.decide(NS_PER_S, Phase.IDLE, ALL, False, done=2) == (Verb.RESUME,)
    assert operator.decide(9 * NS_PER_S, Phase.IDLE, ALL, False, done=3) == ()


def test_says_success_when_the_goal_is_met_and_failure_after_the_time_limit() -> None:
    operator = ScriptedOperator(planned=3, time_limit_s=10.0, prepared=True)
    assert operator.decide(NS_PER_S, Phase.LEARNER, ALL, False, 0) == ()
    assert operator.decide(2 * NS_PER_S, Phase.EXPERT, ALL, True, 0) == (Verb.SUCCEED,)
    assert operator.decide(11 * NS_PER_S, Phase.LEARNER, ALL, False, 0) == (Verb.FAIL,)


def test_presses_again_only_after_half_a_second() -> None:
    operator = ScriptedOperator(planned=3, time_limit_s=10.0, prepared=True)
    pressed = [operator.decide(k * NS_PER_S // 100, Phase.IDLE, ALL, False, 0) for k in range(60)]
    assert [k for k, verbs in enumerate(pressed) if verbs] == [0, 50]


def test_after_a_fault_she_goes_on_with_the_episode_or_asks_for_a_new_scene() -> None:
    operator = ScriptedOperator(planned=3, time_limit_s=10.0, prepared=True)
    inside = (Verb.RESUME, Verb.SUCCEED, Verb.FAIL, Verb.DISCARD)
    assert operator.decide(NS_PER_S, Phase.FAULT, inside, False, 0) == (Verb.RESUME,)
    assert operator.decide(NS_PER_S, Phase.FAULT, (Verb.RESUME, Verb.RESET), False, 0) == (Verb.RESET,)
    assert operator.decide(2 * NS_PER_S, Phase.FAULT, (), False, 0) == ()


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.sampled_from(Phase), st.sets(st.sampled_from(Verb)), st.booleans()),
        max_size=30,
    )
)
def test_never_presses_what_the_gate_would_refuse(moments: list[tuple[int, Phase, set[Verb], bool]]) -> None:
    operator, now_ns = ScriptedOperator(planned=3, time_limit_s=1.0, prepared=True), 0
    for passed_ns, phase, offered, succeeded in moments:
        now_ns += passed_ns
        assert set(operator.decide(now_ns, phase, tuple(offered), succeeded, 0)) <= offered


def test_where_nobody_prepares_the_first_scene_she_asks_for_it() -> None:
    operator = ScriptedOperator(planned=3, time_limit_s=10.0, prepared=False)
    assert operator.decide(0, Phase.IDLE, (Verb.RESUME, Verb.RESET), False, 0) == (Verb.RESET,)
    assert operator.decide(1, Phase.RESETTING, (Verb.HOLD,), False, 0) == ()
    assert operator.decide(2, Phase.IDLE, (Verb.RESUME, Verb.RESET), False, 0) == (Verb.RESUME,)

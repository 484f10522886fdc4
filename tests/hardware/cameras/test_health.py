from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hardware.cameras.health import FrameCounts, FrameHealth, Recovery, RecoveryConfig, Verdict
from hardware.clock import NS_PER_S

FRAME_NS = NS_PER_S // 30


def test_frames_in_order_are_good() -> None:
    health = FrameHealth(0)
    assert [health.judge(k, k * FRAME_NS, k * FRAME_NS) for k in range(5)] == [Verdict.GOOD] * 5
    assert health.counts == FrameCounts(good=5)


def test_a_gap_in_the_numbers_counts_as_dropped() -> None:
    health = FrameHealth(0)
    health.judge(1, FRAME_NS, 0)
    health.judge(5, 5 * FRAME_NS, 0)
    assert health.counts == FrameCounts(good=2, dropped=3)


def test_the_same_number_or_the_same_stamp_is_a_repeat() -> None:
    health = FrameHealth(0)
    health.judge(1, FRAME_NS, 0)
    assert health.judge(1, FRAME_NS, 0) is Verdict.REPEATED
    assert health.judge(2, FRAME_NS, 0) is Verdict.REPEATED
    assert health.judge(1, 2 * FRAME_NS, 0) is Verdict.REPEATED


def test_an_older_number_or_stamp_is_out_of_order() -> None:
    health = FrameHealth(0)
    health.judge(5, 5 * FRAME_NS, 0)
    assert health.judge(4, 4 * FRAME_NS, 0) is Verdict.OUT_OF_ORDER
    assert health.judge(6, 4 * FRAME_NS, 0) is Verdict.OUT_OF_ORDER
    assert health.judge(6, 6 * FRAME_NS, 0) is Verdict.GOOD


def test_only_good_frames_end_the_silence() -> None:
    health = FrameHealth(0)
    health.judge(1, FRAME_NS, NS_PER_S)
    health.judge(1, FRAME_NS, 2 * NS_PER_S)
    health.judge(0, 0, 3 * NS_PER_S)
    assert health.silent_s(3 * NS_PER_S) == 2.0


def test_after_a_restart_numbers_may_begin_anew() -> None:
    health = FrameHealth(0)
    health.judge(900, 900 * FRAME_NS, 0)
    health.restarted(NS_PER_S)
    assert health.silent_s(NS_PER_S) == 0.0
    assert health.judge(900, 900 * FRAME_NS, 0) is Verdict.REPEATED
    health.forget_order()
    assert health.judge(1, FRAME_NS, 2 * NS_PER_S) is Verdict.UNPROVEN
    assert health.judge(2, 2 * FRAME_NS, 3 * NS_PER_S) is Verdict.GOOD
    assert health.counts == FrameCounts(good=2, repeated=1, restarts=1)


def test_a_camera_that_repeats_one_frame_has_none_to_show_after_a_restart_either() -> None:
    health = FrameHealth(0)
    assert health.judge(900, 900 * FRAME_NS, 0) is Verdict.GOOD
    health.forget_order()
    assert health.judge(900, 900 * FRAME_NS, NS_PER_S) is Verdict.UNPROVEN
    assert health.judge(900, 900 * FRAME_NS, 2 * NS_PER_S) is Verdict.REPEATED
    assert health.silent_s(2 * NS_PER_S) == 2.0


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20))))
def test_good_frames_rise_and_every_frame_is_counted_once(frames: list[tuple[int, int]]) -> None:
    health = FrameHealth(0)
    good = [frame for frame in frames if health.judge(*frame, 0) is Verdict.GOOD]
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(good))
    counts = health.counts
    assert counts.good + counts.repeated + counts.out_of_order == len(frames)
    assert counts.dropped == (good[-1][0] - good[0][0] + 1 - len(good) if good else 0)


def test_waits_double_up_to_the_longest_and_end() -> None:
    config = RecoveryConfig(restarts=5, first_wait_s=1.0, longest_wait_s=3.0)
    recovery = Recovery(config)
    tried_s = []
    for tenth in range(200):
        now_ns = tenth * NS_PER_S // 10
        if not recovery.exhausted and recovery.due(now_ns):
            recovery.tried(now_ns)
            tried_s.append(tenth / 10)
    assert tried_s == [0.0, 1.0, 3.0, 6.0, 9.0]
    assert recovery.exhausted


def test_frames_clear_the_count_only_when_they_go_on() -> None:
    recovery = Recovery(RecoveryConfig(restarts=1, settled_s=10.0))
    recovery.tried(0)
    recovery.good_frame(9 * NS_PER_S)
    assert recovery.exhausted
    recovery.good_frame(10 * NS_PER_S)
    assert not recovery.exhausted
    assert recovery.due(10 * NS_PER_S)

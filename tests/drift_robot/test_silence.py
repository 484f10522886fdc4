from drift_robot.silence import Silence
from hardware.clock import NS_PER_S


def test_a_beat_that_stays_the_same_counts_from_its_first_look() -> None:
    silence = Silence()
    assert [silence.after(7, second * NS_PER_S // 2) for second in range(5)] == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_a_new_beat_ends_the_silence() -> None:
    silence = Silence()
    for second in range(5):
        silence.after(7, second * NS_PER_S)
    assert silence.after(8, 5 * NS_PER_S) == 0.0
    assert silence.after(8, 6 * NS_PER_S) == 1.0


def test_the_time_in_which_nobody_looked_does_not_count() -> None:
    silence = Silence()
    silence.after(7, 0)
    assert silence.after(7, 3600 * NS_PER_S) == 1.0

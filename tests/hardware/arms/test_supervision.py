from hypothesis import given
from hypothesis import strategies as st

from hardware.arms.supervision import Order, Phase, Sight, Supervision

MS = 1_000_000
FRESH, STALE = Sight(True, True, False), Sight(False, True, False)
UNLINKED, GONE = Sight(False, False, False), Sight(False, True, True)


def supervision():
    return Supervision(start_timeout_s=1.0, max_age_s=0.02, pause_s=0.5, now_ns=0)


def live():
    judge = supervision()
    assert judge.look(FRESH, 0) is Order.NONE
    assert judge.phase is Phase.LIVE
    return judge


def test_silence_is_ended_after_its_time_and_not_before():
    judge = live()
    orders = [judge.look(STALE, ms * MS) for ms in range(1, 25)]
    assert orders.index(Order.KILL) == 20
    assert judge.phase is Phase.DOWN


def test_news_start_the_count_again():
    judge = live()
    for ms in range(1, 100):
        assert judge.look(FRESH if ms % 15 == 0 else STALE, ms * MS) is Order.NONE


def test_a_pause_of_the_whole_machine_is_not_taken_for_a_dead_link():
    judge = live()
    assert judge.look(STALE, 500 * MS) is Order.NONE
    assert judge.look(FRESH, 501 * MS) is Order.NONE


def test_a_process_that_is_gone_is_noticed_at_once():
    assert live().look(GONE, MS) is Order.KILL


def test_a_start_that_hangs_is_ended():
    judge = supervision()
    assert judge.look(UNLINKED, 1000 * MS) is Order.NONE
    assert judge.look(UNLINKED, 1001 * MS) is Order.KILL


def test_the_next_start_waits_for_the_pause():
    judge = live()
    judge.look(GONE, 10 * MS)
    assert judge.look(GONE, 509 * MS) is Order.NONE
    assert judge.look(GONE, 510 * MS) is Order.SPAWN
    assert judge.phase is Phase.STARTING


@given(
    st.lists(st.tuples(st.integers(0, 2000), st.booleans(), st.booleans(), st.booleans()), max_size=60),
)
def test_orders_alternate_and_every_spawn_is_watched_afresh(looks):
    judge, now_ns, running, ended_ns = supervision(), 0, True, 0
    for ms, fresh, linked, exited in looks:
        now_ns += ms * MS
        order = judge.look(Sight(fresh and linked, linked, exited and running), now_ns)
        if order is Order.KILL:
            assert running
            running, ended_ns = False, now_ns
        if order is Order.SPAWN:
            assert not running
            assert now_ns - ended_ns >= 500 * MS
            running = True
            assert judge.silence_s == 0
        assert (judge.phase is Phase.DOWN) == (not running)
        assert not (running and exited) or order is Order.SPAWN
        assert judge.silence_s <= 0.02 or not running

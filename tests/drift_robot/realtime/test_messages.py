import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.schema import Outcome
from drift_robot.gate import (
    AuthorityChanged,
    DropLast,
    EpisodeBegun,
    EpisodeEnded,
    Fault,
    FaultCleared,
    Notice,
    Recovered,
    Refused,
    ResetBegun,
    ResetDone,
    Rollback,
    TrainNow,
)
from drift_robot.realtime.lines import Lines
from drift_robot.realtime.messages import (
    MESSAGE,
    MESSAGE_SLOTS,
    Acting,
    EpisodeSaved,
    Keys,
    Listener,
    Message,
    Pressed,
    Ready,
    Said,
    SceneWanted,
    Speaker,
)
from hardware.arms.controller import Authority
from hardware.errors import DeviceError
from hardware.input_devices.keyboard import KeyEvent
from hardware.interfaces import Verb
from hardware.rings import Ring

SENTENCES = st.text(max_size=100)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.sampled_from(
        [EpisodeBegun(), ResetBegun(), Recovered(), DropLast(), TrainNow(), Rollback(), ResetDone(), Ready()]
    ),
    st.builds(AuthorityChanged, st.sampled_from(Authority)),
    st.builds(EpisodeEnded, st.sampled_from(Outcome)),
    st.builds(Refused, st.sampled_from(Verb), SENTENCES),
    st.builds(Notice, SENTENCES),
    st.builds(Fault, SENTENCES, SENTENCES),
    st.builds(FaultCleared, SENTENCES),
    st.builds(Said, SENTENCES),
    st.builds(Pressed, st.sampled_from(Verb)),
    st.builds(SceneWanted, st.integers(0, 2**40), st.integers(0, 2**40)),
    st.builds(EpisodeSaved, st.none() | st.integers(0, 99), st.sampled_from(Outcome), st.integers(0, 99)),
    st.builds(Acting, *[st.integers(-1, 99)] * 2, st.none() | st.integers(0, 2**62), *[st.integers(0, 9)] * 3),
    st.builds(
        Keys, st.integers(0, 2**62), st.lists(st.builds(KeyEvent, st.text(max_size=12), st.booleans())).map(tuple)
    ),
)


@given(st.lists(MESSAGES, max_size=20))
def test_every_message_arrives_once_unchanged_and_in_order(messages: list[Message]) -> None:
    with Ring(MESSAGE, MESSAGE_SLOTS) as ring:
        speaker, listener = Speaker(ring.handle), Listener(ring.handle, from_start=True)
        for message in messages:
            speaker.say(message)
        assert listener.hear() == messages
        assert listener.hear() == []


def test_messages_beyond_a_number_are_kept_for_later(lines: Lines) -> None:
    speaker, listener = Speaker(lines.words["arm"]), Listener(lines.words["arm"], from_start=True)
    speaker.say(EpisodeBegun())
    number = speaker.say(Notice("one"))
    speaker.say(Notice("two"))
    assert listener.hear(up_to=number) == [EpisodeBegun(), Notice("one")]
    assert listener.hear() == [Notice("two")]


def test_a_listener_in_the_place_of_a_dead_one_begins_with_what_is_new(lines: Lines) -> None:
    speaker = Speaker(lines.words["control"])
    speaker.say(SceneWanted(1, 5))
    listener = Listener(lines.words["control"], from_start=False)
    speaker.say(ResetDone())
    assert listener.hear() == [ResetDone()]


def test_a_speaker_in_the_place_of_a_dead_one_is_heard(lines: Lines) -> None:
    listener = Listener(lines.words["control"], from_start=True)
    Speaker(lines.words["control"]).say(Ready())
    Speaker(lines.words["control"]).say(ResetDone())
    assert listener.hear() == [Ready(), ResetDone()]


def test_a_message_that_does_not_fit_is_refused_and_not_cut(lines: Lines) -> None:
    with pytest.raises(DeviceError, match="at most"):
        Speaker(lines.words["arm"]).say(Notice("x" * 5000))

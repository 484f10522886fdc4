import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from recording import owners, record

from data.buffer import ReplayBuffer
from data.episode import Episode, EpisodeWriter
from data.errors import DataError
from data.labels import Relabelling, apply
from data.relabel import relabel, undo
from data.repair import repair
from data.schema import EpisodeLayout, Outcome, Owner
from data.session import Session
from data.verify import verify

LABELS = "LLLTTEEEEEL"


@pytest.fixture
def session(tmp_path: Path) -> Path:
    return Session.create(tmp_path / "s", "lift").folder


@pytest.fixture
def episode(session: Path) -> Path:
    return record(session, owners(LABELS), Outcome.FAILURE)


def spelt(path: Path) -> str:
    return "".join("LTE"[owner] for owner in Episode.open(path).column("owner"))


def files(path: Path) -> dict[str, bytes]:
    """Return everything that an episode has on disk beside its attributes."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.glob("*/*")}


def test_an_outcome_is_corrected_and_the_record_says_who_what_and_why(episode: Path) -> None:
    relabel(episode, "Ada", "the cube stood after all", outcome=Outcome.SUCCESS)
    opened = Episode.open(episode)
    assert opened.outcome is Outcome.SUCCESS
    (change,) = opened.relabellings
    assert (change.by, change.because, change.outcome_before) == ("Ada", "the cube stood after all", Outcome.FAILURE)
    assert change.utc.startswith("20")
    assert "failure to success, by Ada" in str(change)


def test_steps_are_taken_out_and_what_was_recorded_stays_on_disk_bit_for_bit(session: Path, episode: Path) -> None:
    before = files(episode)
    relabel(episode, "Ada", steps=(6, 7), owner=Owner.TRANSITION)
    assert spelt(episode) == "LLLTTETTEEL"
    assert files(episode) == before
    assert "".join("LTE"[owner] for owner in Episode.open(episode).recorded("owner")) == LABELS
    assert "".join("LTE"[owner] for owner in zarr.open_group(episode)["owner"][:]) == LABELS
    assert all(finding.good for finding in verify(session))


def test_a_part_of_a_column_is_read_as_relabelled(episode: Path) -> None:
    relabel(episode, "Ada", steps=(6, 8), owner=Owner.TRANSITION)
    opened = Episode.open(episode)
    for start in range(len(LABELS)):
        for stop in range(start, len(LABELS) + 1):
            np.testing.assert_array_equal(opened.column("owner", start, stop), opened.column("owner")[start:stop])


def test_a_recovery_is_marked_and_unmarked(episode: Path) -> None:
    relabel(episode, "Ada", steps=(5, 9), recovered=True)
    assert Episode.open(episode).column("recovered")[5:10].all()
    relabel(episode, "Ada", steps=(5, 6), recovered=False)
    assert Episode.open(episode).column("recovered")[5:10].tolist() == [False, False, True, True, True]


def test_changes_are_taken_back_one_by_one_and_stay_in_the_record(episode: Path) -> None:
    relabel(episode, "Ada", outcome=Outcome.SUCCESS)
    relabel(episode, "Ada", steps=(5, 9), owner=Owner.TRANSITION)
    assert undo(episode, "Bob").steps == (5, 9)
    assert spelt(episode) == LABELS
    assert Episode.open(episode).outcome is Outcome.SUCCESS
    undo(episode, "Bob")
    opened = Episode.open(episode)
    assert opened.outcome is Outcome.FAILURE
    assert [(change.undone or "")[:6] for change in opened.relabellings] == ["by Bob", "by Bob"]
    with pytest.raises(DataError, match="nothing to undo"):
        undo(episode, "Bob")


def test_what_was_recorded_as_the_experts_can_be_hers_again(episode: Path) -> None:
    relabel(episode, "Ada", steps=(5, 9), owner=Owner.TRANSITION)
    relabel(episode, "Ada", steps=(7, 9), owner=Owner.EXPERT)
    assert spelt(episode) == "LLLTTTTEEEL"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "Nothing to change"),
        ({"steps": (5, 6)}, "belong together"),
        ({"owner": Owner.TRANSITION}, "belong together"),
        ({"outcome": Outcome.DISCARDED}, "success or failure"),
        ({"outcome": Outcome.UNKNOWN}, "success or failure"),
        ({"outcome": Outcome.FAILURE}, "is a failure already"),
        ({"steps": (5, 11), "owner": Owner.TRANSITION}, "has steps 0 to 10"),
        ({"steps": (7, 6), "owner": Owner.TRANSITION}, "7 to 6 is not among them"),
        ({"steps": (0, 1), "owner": Owner.EXPERT}, "Step 0 was recorded as learner"),
        ({"steps": (2, 6), "owner": Owner.EXPERT}, "Step 2 was recorded as learner"),
        ({"steps": (4, 6), "owner": Owner.EXPERT}, "Step 4 was recorded as transition"),
        ({"steps": (5, 6), "owner": Owner.LEARNER}, "No step can be made the learner's"),
        ({"steps": (1, 1), "owner": Owner.TRANSITION}, "learner drove in step 1"),
        ({"steps": (9, 10), "recovered": True}, "learner drove in step 10"),
        ({"steps": (3, 4), "owner": Owner.TRANSITION}, "labelled so already"),
    ],
)
def test_what_is_no_honest_label_is_refused_and_changes_nothing(
    episode: Path, change: dict[str, Any], words: str
) -> None:
    before = (episode / "zarr.json").read_bytes()
    with pytest.raises(DataError, match=words):
        relabel(episode, "Ada", **change)
    assert (episode / "zarr.json").read_bytes() == before


def test_only_a_whole_episode_outside_the_bin_is_relabelled(session: Path, episode: Path) -> None:
    with pytest.raises(DataError, match="is a session; name one of its episodes"):
        relabel(session, "Ada", outcome=Outcome.SUCCESS)
    writer = EpisodeWriter.create(session, 1, EpisodeLayout(8))
    with pytest.raises(DataError, match="wait until it is saved"):
        relabel(writer.folder, "Ada", outcome=Outcome.SUCCESS)
    with pytest.raises(DataError, match="repair it first"):
        relabel(writer.abandon(), "Ada", outcome=Outcome.SUCCESS)
    with pytest.raises(DataError, match="restore it first"):
        relabel(Session.open(session).discard(0), "Ada", outcome=Outcome.SUCCESS)


def test_a_damaged_record_of_changes_is_said_in_a_sentence(session: Path, episode: Path) -> None:
    document = json.loads((episode / "zarr.json").read_text())
    document["attributes"]["relabelled"] = [{"by": "Ada", "steps": [1]}]
    (episode / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="damaged attributes"):
        Episode.open(episode)
    assert not all(finding.good for finding in verify(session))


def test_changes_outlive_a_repair_and_lost_steps_make_the_outcome_unknown(session: Path) -> None:
    path = record(session, owners("LL" + "E" * 300), Outcome.FAILURE)
    relabel(path, "Ada", outcome=Outcome.SUCCESS)
    relabel(path, "Ada", steps=(250, 299), owner=Owner.TRANSITION)
    (path / "owner" / "c.1").unlink()
    repair(session)
    opened = Episode.open(path)
    assert (opened.steps, opened.outcome) == (256, Outcome.UNKNOWN)
    assert spelt(path) == "LL" + "E" * 248 + "T" * 6
    undo(path, "Ada")
    undo(path, "Ada")
    assert Episode.open(path).outcome is Outcome.UNKNOWN


def test_training_follows_the_new_labels(session: Path, episode: Path) -> None:
    relabel(episode, "Ada", steps=(5, 7), owner=Owner.TRANSITION)
    demonstration = record(session, 5, index=1)
    relabel(demonstration, "Ada", outcome=Outcome.FAILURE)
    buffer = ReplayBuffer(2, 4)
    assert buffer.add(Episode.open(episode)).expert_steps == 2
    assert sum(buffer.add(Episode.open(demonstration)).windows.values()) == 0
    assert len(buffer) == 2


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.sampled_from(list(Owner))), max_size=5),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_applying_changes_to_a_part_is_a_part_of_applying_them_to_all(
    changes: list[tuple[int, int, Owner]], start: int, count: int
) -> None:
    record = [Relabelling("2026", "Ada", steps=(low, high), owner=owner) for low, high, owner in changes if low <= high]
    whole, part = np.full(20, 9), np.full(20, 9)[start : start + count]
    apply(record, "owner", whole, 0)
    apply(record, "owner", part, start)
    np.testing.assert_array_equal(part, whole[start : start + count])

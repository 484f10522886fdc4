import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recording import LOW_DIMENSIONAL, PERIOD_NS, make_step, owners, record
from rich.console import Console

from data.episode import Episode, EpisodeWriter
from data.errors import DataError
from data.relabel import relabel
from data.report import print_stats
from data.schema import Outcome, Owner
from data.session import Session, sessions_below
from data.stats import episode_stats, figures, interventions, session_stats, step_edges_s, total


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two sessions of a run: a demonstration; and three online episodes, one in the bin, one interrupted."""
    demonstrations = Session.create(tmp_path / "run" / "demonstrations", "lift").folder
    record(demonstrations, 21)
    session = Session.create(tmp_path / "run" / "session", "lift").folder
    record(session, owners("L" * 10 + "TT" + "E" * 8 + "L" * 10 + "TTT" + "E" * 17), Outcome.FAILURE, index=0)
    record(session, owners("L" * 40), index=1)
    record(session, 5, index=2)
    Session.open(session).drop_last()
    writer = EpisodeWriter.create(session, 3, LOW_DIMENSIONAL)
    writer.append(make_step(0))
    writer.abandon()
    return tmp_path / "run"


def test_the_figures_of_a_session_add_up(run: Path) -> None:
    shown = figures(session_stats(run / "session"))
    assert (shown["episodes"], shown["in_bin"], shown["interrupted"]) == (2, 1, 1)
    assert shown["outcomes"] == {"success": 1, "failure": 1, "unknown": 0}
    assert shown["success_rate"] == 0.5
    assert (shown["learner_alone"], shown["demonstrations"]) == (1, 0)
    assert shown["steps_by_owner"] == {"learner": 60, "transition": 5, "expert": 25}
    assert shown["expert_labels"] == 25
    assert shown["interventions"] == {
        "count": 2,
        "episodes": 1,
        "total_s": pytest.approx(3.0),
        "median_s": pytest.approx(1.5),
        "longest_s": pytest.approx(2.0),
    }
    assert shown["hours"] == pytest.approx(9.0 / 3600)
    assert shown["versions"] == {"0": 2, "1": 2, "2": 2, "3": 2, "4": 1}


def test_sessions_of_a_run_are_found_and_added_up(run: Path) -> None:
    found = sessions_below([run, run / "session"])
    assert [path.name for path in found] == ["demonstrations", "session"]
    assert sessions_below([run.parent]) == found
    both = figures(total([session_stats(path) for path in found]))
    assert (both["episodes"], both["demonstrations"], both["steps"]) == (3, 1, 111)
    assert both["interventions"]["count"] == 2
    with pytest.raises(DataError, match="holds no session"):
        sessions_below([run / "session" / "bin"])


def test_relabelled_episodes_count_as_they_are_now(run: Path) -> None:
    relabel(
        run / "session/episodes/000000.zarr", "Ada", outcome=Outcome.SUCCESS, steps=(12, 19), owner=Owner.TRANSITION
    )
    shown = figures(session_stats(run / "session"))
    assert (shown["relabelled"], shown["outcomes"]["success"]) == (1, 2)
    assert shown["interventions"]["count"] == 1


def test_a_damaged_episode_is_named_and_not_counted(run: Path) -> None:
    (run / "session/episodes/000001.zarr/owner/c.0").unlink()
    stats = session_stats(run / "session")
    assert len(stats.episodes) == 1
    assert "000001.zarr" in stats.damaged[0]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("", []),
        ("EEE", []),
        ("TTEE", []),
        ("LLL", []),
        ("LTTL", []),
        ("LTE", [(1, 3)]),
        ("TELEETL", [(0, 2), (3, 6)]),
        ("LTETTEL", [(1, 6)]),
    ],
)
def test_an_intervention_lies_between_the_learners_turns_and_has_an_expert_step(
    labels: str, expected: list[tuple[int, int]]
) -> None:
    assert list(interventions(np.array(owners(labels), dtype=np.uint8))) == expected


def test_a_step_lasts_until_the_next_and_the_last_one_as_usual() -> None:
    times = np.array([0, 1, 2, 7, 8], dtype=np.int64) * PERIOD_NS
    np.testing.assert_allclose(step_edges_s(times), [0.0, 0.1, 0.2, 0.7, 0.8, 0.9])
    assert step_edges_s(times[:1]).tolist() == [0.0, 0.0]
    assert step_edges_s(times[:0]).tolist() == [0.0]


def test_an_empty_episode_and_an_empty_session_have_figures_too(tmp_path: Path) -> None:
    folder = Session.create(tmp_path / "s", "lift").folder
    assert figures(session_stats(folder))["success_rate"] is None
    stats = episode_stats(Episode.open(record(folder, [])))
    assert (stats.seconds, stats.drives, stats.versions) == (0.0, (), ())
    shown = figures(session_stats(folder))
    assert (shown["episodes"], shown["hours"], shown["interventions"]["median_s"]) == (1, 0.0, None)


def printed(run: Path, as_json: bool = False, picture: Path | None = None) -> str:
    file = io.StringIO()
    print_stats([run], Console(file=file, width=160, color_system=None), as_json, picture)
    return file.getvalue()


def test_the_table_has_a_column_for_each_session_and_one_for_all(run: Path) -> None:
    rows = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in printed(run).splitlines() if "│" in line}
    assert [cell.strip() for cell in rows["expert"]] == ["21 (100 %)", "25 (28 %)", "46 (41 %)"]
    assert [cell.strip() for cell in rows["longest"]] == ["-", "2.0 s", "2.0 s"]


def test_json_holds_sessions_episodes_and_the_total(run: Path) -> None:
    shown = json.loads(printed(run, as_json=True))
    assert [len(session["each_episode"]) for session in shown["sessions"]] == [1, 2]
    assert shown["sessions"][1]["each_episode"][0]["interventions_s"] == [pytest.approx(1.0), pytest.approx(2.0)]
    assert shown["total"]["steps"] == 111


def test_the_picture_shows_who_drove_in_her_colour(run: Path) -> None:
    picture = run / "stats" / "picture.png"
    assert str(picture) in printed(run, picture=picture)
    pixels = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3)
    for colour in ((0x1F, 0x6F, 0xEB), (0xD4, 0xA7, 0x2C), (0xD1, 0x57, 0x0A)):
        assert (pixels == colour).all(axis=1).sum() > 100

"""The demo as scripts call it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_run import cli, finished, group_is_empty, in_shared_memory, left_in_shared_memory, wait_for

from data.session import finished_episodes
from data.verify import verify
from drift_robot.config import load_config
from drift_robot.demo import CONFIGS, PRESETS
from drift_robot.run_folder import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("demo")]

SMOKE = load_config(CONFIGS / PRESETS["smoke"])
SMOKE_DEMO = ("demo", "--preset", "smoke", "--seed", "0", "--no-control", "--out")


@pytest.fixture(scope="module")
def killed_job(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """The output folder of a smoke demo that was killed while it adapted, and what it left in shared memory."""
    out, before = tmp_path_factory.mktemp("demo") / "out", in_shared_memory()
    process = cli(*SMOKE_DEMO, out)
    wait_for(lambda: len(finished_episodes(RunFolder(out).session)) >= 2)
    process.kill()
    finished(process)
    wait_for(lambda: group_is_empty(process.pid))
    return out, left_in_shared_memory(before)


@pytest.fixture(scope="module")
def demonstrated_job(killed_job: tuple[Path, set[str]]) -> tuple[Path, str]:
    """The output folder of a smoke demo that was killed and went on to its end, and what it printed."""
    code, output, errors = finished(cli(*SMOKE_DEMO, killed_job[0]), 500.0)
    assert code == 0, errors
    return killed_job[0], output


def test_killed_it_leaves_no_process_nothing_in_shared_memory_and_no_unexplained_data(
    killed_job: tuple[Path, set[str]],
) -> None:
    out, left = killed_job
    assert not left
    session = RunFolder(out).session
    unfinished = list((session / "episodes").glob("*.partial"))
    assert [finding.path for finding in verify(session) if finding.path.name.endswith(".partial")] == unfinished


def test_the_report_holds_what_scripts_read(demonstrated_job: tuple[Path, str]) -> None:
    report = json.loads((demonstrated_job[0] / "report.json").read_text())
    for name in ("success_before", "success_after"):
        rate = report[name]
        assert 0 <= rate["low"] <= rate["rate"] <= rate["high"] <= 1
        assert rate["low"] < rate["high"]
        assert rate["episodes"] >= 50
    assert report["success_control"] is None
    assert (report["preset"], report["seed"]) == ("smoke", 0)
    assert report["demonstrations"] == SMOKE.collect.episodes
    assert report["expert_labels"] > 0
    assert report["versions_swapped"] >= 1
    assert report["mean_batch_time"]["offline"] > 0
    assert report["mean_batch_time"]["online"] > 0
    assert report["ranks"] == sorted(report["ranks"], reverse=True)
    assert report["ranks"][0] > report["ranks"][-1]
    assert report["wall_seconds"] > 0
    assert len(report["episodes"]) == SMOKE.adapt.episodes
    assert sum(episode["expert_labels"] for episode in report["episodes"]) == report["expert_labels"]


def test_the_picture_and_the_film_show_something(demonstrated_job: tuple[Path, str]) -> None:
    with Image.open(demonstrated_job[0] / "progress.png") as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).std() > 5
    with Image.open(demonstrated_job[0] / "intervention.gif") as film:
        assert film.format == "GIF"
        assert getattr(film, "n_frames", 1) > 5
        first = np.asarray(film.convert("L"), dtype=float)
        film.seek(film.n_frames - 1)  # type: ignore[attr-defined]
        assert first.std() > 5
        assert np.abs(np.asarray(film.convert("L"), dtype=float) - first).max() > 20


def test_it_ends_with_a_table_of_what_was_gained(demonstrated_job: tuple[Path, str]) -> None:
    for words in ("success before adapting", "success after adapting", "expert labels", "versions swapped in"):
        assert words in demonstrated_job[1]


def test_the_same_folder_is_not_taken_for_another_seed(demonstrated_job: tuple[Path, str]) -> None:
    code, _, errors = finished(cli("demo", "--preset", "smoke", "--seed", "1", "--out", demonstrated_job[0]))
    assert code == 2
    assert "was begun with another configuration or seed" in errors

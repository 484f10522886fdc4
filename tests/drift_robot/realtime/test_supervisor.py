"""What the supervisor itself keeps in mind: what stops the arm, and how much of the plan is done."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from realtime_bench import LAYOUT, a_step, configuration
from tiny_run import second_version

from data.events import EventLog
from data.schema import Outcome
from data.session import Session
from drift_robot.comparison import Comparison, Contender
from drift_robot.errors import UserError
from drift_robot.evaluate import ACTED
from drift_robot.gate import Fault, FaultCleared, PlanDone
from drift_robot.realtime.lines import Lines
from drift_robot.realtime.messages import EpisodeSaved, Listener, Ready, Speaker
from drift_robot.realtime.supervisor import Supervisor, _opened
from drift_robot.run_folder import RunFolder
from policies.checkpoint import POLICY_FILE, load_manifest

BLIND = Fault("Camera front has sent no picture for 1 s, so the arm holds.", "pictures of front")
FULL = Fault("The disk fails.", "disk")


@contextmanager
def supervisor(lines: Lines, folder: Path, comparison: Comparison | None = None) -> Iterator[Supervisor]:
    session = Session.create(folder / "session", "lift")
    with EventLog(session.folder) as events:
        yield Supervisor(
            *(configuration(1), RunFolder(folder), "evaluate", "scripted", False, lambda sentence: None, session, None),
            *(lines, events, comparison, {}, None),
        )


def test_an_arm_process_that_was_started_again_is_told_what_still_stops_the_arm_once_it_listens(
    lines: Lines, tmp_path: Path
) -> None:
    control, recorder, arm = (Speaker(lines.words[name]) for name in ("control", "recorder", "arm"))
    with supervisor(lines, tmp_path) as watch:
        child = SimpleNamespace(ready=False, restarts=0)
        watch._children["arm"] = cast("Any", child)
        control.say(BLIND)
        recorder.say(FULL)
        arm.say(Ready())
        watch._hear()
        said = Listener(lines.words["supervisor"], True)
        assert said.hear() == [], "the first arm process has heard it itself"
        child.restarts = 1
        arm.say(Ready())
        recorder.say(FaultCleared("disk"))
        watch._hear()
        assert said.hear() == [PlanDone(False), BLIND]


def test_an_episode_that_nobody_judged_is_not_done_in_a_comparison(lines: Lines, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    contenders = Contender("0", folder, "a"), Contender("1", folder, "b")
    comparison = Comparison(folder, contenders, 2, 0, 7)
    with supervisor(lines, tmp_path, comparison) as watch:
        session, turns = Session.open(folder), comparison.turns()
        for turn, outcome in zip(turns, (Outcome.SUCCESS, Outcome.UNKNOWN, Outcome.FAILURE), strict=False):
            writer = session.write_episode(LAYOUT, {"pair": turn.pair, "side": turn.side})
            writer.append(a_step())
            writer.finish(outcome)
        watch._take("recorder", EpisodeSaved(2, Outcome.FAILURE, 3, steps=1))
        assert watch._done == 2


def test_a_damaged_newest_version_does_not_keep_a_session_from_adapting_but_one_that_does_not_fit_does(
    run: RunFolder,
) -> None:
    second_version(run)
    (run.versions().path(1) / "manifest.json").write_text("{")
    config = configuration(1)
    session, _ = _opened(config, run, "adapt", 1, None)
    assert session.folder == run.session
    stacking = replace(config, cell=replace(config.cell, task="stacking"))
    with pytest.raises(UserError, match=r"version 0 in .* does not fit the configuration"):
        _opened(stacking, run, "adapt", 0, None)
    _, noted = _opened(config, run, "evaluate", 0, None)
    assert noted == {ACTED: load_manifest(run.versions().path(0)).files[POLICY_FILE]}

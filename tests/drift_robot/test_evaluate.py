"""Rollouts of a version: what is recorded of them, and what they go on from."""

from dataclasses import replace

import pytest
from tiny_run import TINY, silently

from data.session import finished_episodes
from drift_robot.errors import UserError
from drift_robot.evaluate import evaluate, record_evaluation
from drift_robot.run_folder import RunFolder


def test_a_recorded_evaluation_has_the_same_result_and_goes_on_where_it_stopped(run: RunFolder) -> None:
    expected = evaluate(TINY, run.versions().path(0), 2, 1, silently)
    recorded = record_evaluation(TINY, run, 0, 2, 1, silently)
    assert (recorded.outcomes, recorded.success) == (expected.outcomes, expected.success)
    first, _ = finished_episodes(run.rollouts(0))
    written_ns, again = first.stat().st_mtime_ns, list[int]()
    assert record_evaluation(TINY, run, 0, 2, 1, lambda done, *_: again.append(done)).outcomes == recorded.outcomes
    assert (again, first.stat().st_mtime_ns) == ([], written_ns), "nothing was left to do"
    other = replace(TINY, cell=replace(TINY.cell, deployment_offset_m=(0.0, 0.05, 0.0)))
    with pytest.raises(UserError, match="recorded with another 'cell'; move it away"):
        record_evaluation(other, run, 0, 2, 1, silently)

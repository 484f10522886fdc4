"""Rollouts of a version: what is recorded of them, and what they go on from."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import TINY, second_version, silently

from data.arrays import write_group
from data.episode import Episode, scratch_of
from data.session import finished_episodes
from drift_robot.adapt import adapt
from drift_robot.errors import UserError
from drift_robot.evaluate import evaluate, record_evaluation
from drift_robot.run_folder import RunFolder
from drift_robot.session_report import read_session
from drift_robot.workers import shared_out
from policies.checkpoint import load_manifest, load_policy, save


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


def test_rollouts_of_other_weights_are_not_taken_for_those_of_a_version(run: RunFolder) -> None:
    record_evaluation(TINY, run, 0, 2, 1, silently)
    second_version(run)
    manifest = replace(load_manifest(run.versions().path(1)), version=0, training=None)
    policy, _ = load_policy(run.versions().path(1))
    shutil.rmtree(run.versions().path(0))
    save(run.versions().path(0), manifest, policy.state_dict())
    with pytest.raises(UserError, match="was recorded with other weights; move it away"):
        record_evaluation(TINY, run, 0, 2, 1, silently)


def test_an_episode_of_which_nobody_knows_how_it_ended_is_rolled_out_again(run: RunFolder) -> None:
    expected = record_evaluation(TINY, run, 0, 2, 1, silently)
    episode = Episode.open(finished_episodes(run.rollouts(0))[0])
    write_group(episode.path, episode.attributes | {"outcome": "unknown"}, scratch_of(episode.path))
    assert record_evaluation(TINY, run, 0, 2, 1, silently).outcomes == expected.outcomes
    assert len(finished_episodes(run.rollouts(0))) == 3
    report = read_session(run.rollouts(0))
    assert (len(report.whole), report.success.episodes) == (3, 2)


def test_a_policy_that_observes_otherwise_is_refused_before_anything_is_begun(run: RunFolder) -> None:
    other = replace(TINY, cell=replace(TINY.cell, task="stacking"))
    with pytest.raises(UserError, match=r"version 0 in .* does not fit the configuration: its object_dim is 8, not 16"):
        record_evaluation(other, run, 0, 2, 1, silently)
    with pytest.raises(UserError, match="does not fit the configuration"):
        adapt(other, run, silently, print)
    assert not run.rollouts(0).exists()
    assert not run.session.exists()


def test_leaving_early_runs_none_of_the_jobs_that_have_not_begun(tmp_path: Path) -> None:
    jobs = [(tmp_path / str(number),) for number in range(40)]
    with shared_out(Path.touch, jobs, 1) as finished:
        next(finished)
    assert 1 <= len(list(tmp_path.iterdir())) < 10

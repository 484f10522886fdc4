"""Two versions on matched starts: the plan, what of it is done, and what comes of it."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tiny_run import TINY, second_version, silently

from data.episode import Episode
from data.errors import DataError
from data.schema import Outcome, Owner, Step
from data.session import Session
from drift_robot.compare import compare, open_comparison
from drift_robot.comparison import Comparison, Contender, Side, Turns
from drift_robot.comparison_report import PICTURE_FILE, REPORT_FILE, report_on, unveil
from drift_robot.errors import UserError
from drift_robot.evaluate import open_rollouts
from drift_robot.lockstep import episode_layout
from drift_robot.run_folder import RunFolder

SENTENCES = (
    "Pair 1 of 4 begins: put up a start that you can rebuild.",
    "Pair 1 of 4 once more: rebuild the same start.",
)
"""All that the operator is told: which start to put up, and not who acts."""


def a_comparison(folder: Path, pairs: int = 4, order: int = 7) -> Comparison:
    contenders = (Contender("version 0", folder / "a", "a" * 64), Contender("version 1", folder / "b", "b" * 64))
    return Comparison(folder, contenders, pairs, 0, order)


def record(
    comparison: Comparison, pair: int, side: Side, outcome: Outcome = Outcome.SUCCESS, owners: str = "LLLL"
) -> Path:
    """Record an episode of a comparison, a letter of `owners` a step of 0.1 s."""
    if not (comparison.folder / "session.json").exists():
        Session.create(comparison.folder, "lift")
    session = Session.open(comparison.folder)
    attributes = {"scene_seed": comparison.scene_seed(pair), "pair": pair, "side": side}
    writer = session.write_episode(episode_layout(TINY), attributes)
    for k, letter in enumerate(owners):
        writer.append(a_step(k, {"L": Owner.LEARNER, "T": Owner.TRANSITION, "E": Owner.EXPERT}[letter]))
    return writer.finish(outcome)


def a_step(number: int, owner: Owner) -> Step:
    zeros = np.zeros(9, np.float32)
    return Step(
        time_ns=(number + 1) * 100_000_000,
        tcp=zeros,
        commanded=zeros,
        gripper=zeros[:1],
        joints=zeros[:6],
        joint_velocities=zeros[:6],
        wrench=zeros[:6],
        objects=np.zeros(episode_layout(TINY).object_dim, np.float32),
        arm_capture_ns=0,
        receipt_ns=0,
        command_ns=0,
        action_executed=np.zeros(10, np.float32),
        owner=owner,
        version=int(owner),
    )


def test_each_pair_has_both_versions_and_both_begin_equally_often(tmp_path: Path) -> None:
    turns = a_comparison(tmp_path, pairs=40).turns()
    assert [(turn.pair, turn.first) for turn in turns] == [(k // 2, k % 2 == 0) for k in range(80)]
    assert all({a.side, b.side} == {"A", "B"} for a, b in zip(turns[::2], turns[1::2], strict=True))
    blocks = ["".join(turn.side for turn in turns[start : start + 4]) for start in range(0, 80, 4)]
    assert Counter(blocks).keys() == {"ABBA", "BAAB"}


def test_who_begins_is_drawn_by_lot_and_does_not_change_when_pairs_are_added(tmp_path: Path) -> None:
    assert a_comparison(tmp_path, pairs=40).turns()[:20] == a_comparison(tmp_path, pairs=10).turns()
    beginners = {a_comparison(tmp_path, order=order).turns()[0].side for order in range(20)}
    assert beginners == {"A", "B"}


def test_what_is_recorded_with_an_outcome_is_not_missing_any_more(tmp_path: Path) -> None:
    comparison = a_comparison(tmp_path)
    first, second, *rest = comparison.turns()
    record(comparison, first.pair, first.side)
    assert comparison.missing() == [second, *rest]
    record(comparison, second.pair, second.side, Outcome.UNKNOWN)
    assert comparison.missing() == [second, *rest]
    Session.open(comparison.folder).drop_last()
    Session.open(comparison.folder).drop_last()
    assert comparison.missing() == comparison.turns()


def test_an_episode_that_was_dropped_is_done_again_on_the_start_of_its_pair(tmp_path: Path) -> None:
    comparison = a_comparison(tmp_path)
    plan, turns = comparison.turns(), Turns(comparison)
    for k in (0, 1):
        assert (turns.put_up(), turns.begin()) == (plan[k], plan[k])
        assert turns.wanted() == (SENTENCES[k], None if k == 0 else 0)
        assert turns.scene_seed == comparison.scene_seed(0)
        record(comparison, plan[k].pair, plan[k].side)
        turns.look()
    assert turns.put_up() == plan[2]
    Session.open(comparison.folder).drop_last()  # the second of the pair before, while the next start stands
    turns.look()
    assert turns.begin() == plan[2]
    record(comparison, plan[2].pair, plan[2].side)
    turns.look()
    assert turns.put_up() == plan[1]
    assert turns.scene_seed == comparison.scene_seed(0)


def test_when_the_last_episode_of_all_is_dropped_its_start_is_wanted_again(tmp_path: Path) -> None:
    comparison = a_comparison(tmp_path, pairs=1)
    turns = Turns(comparison)
    for turn in comparison.turns():
        turns.put_up()
        record(comparison, turn.pair, turn.side)
        turns.look()
    assert turns.wanted() is None
    Session.open(comparison.folder).drop_last()
    turns.look()
    assert turns.wanted() == ("Pair 1 of 1 once more: rebuild the same start.", 0)
    assert turns.begin() == comparison.turns()[-1]


def test_the_report_counts_pairs_takeovers_and_durations(tmp_path: Path) -> None:
    comparison = a_comparison(tmp_path, pairs=5)
    for pair, (a, b) in enumerate([(True, True), (False, True), (True, True), (False, False)]):
        record(comparison, pair, "A", Outcome.SUCCESS if a else Outcome.FAILURE, "L" * 11)
        record(comparison, pair, "B", Outcome.SUCCESS if b else Outcome.FAILURE, "L" * (21 + pair))
    record(comparison, 4, "A")
    report = report_on(comparison, "lift")
    counts = report.result.counts
    assert (counts.both, counts.only_a, counts.only_b, counts.neither) == (2, 0, 1, 1)
    assert (report.a.success.rate, report.b.success.rate) == (0.5, 0.75)
    assert report.a.duration_s == pytest.approx(1.0)
    assert report.slower is not None
    assert report.slower.mean_s == pytest.approx(1.1)
    assert report.slower.low_s < 1.1 < report.slower.high_s
    assert report.verdict.startswith("Not established: B (version 1) succeeded more often than A (version 0), by 25 ")
    assert "more pairs" in report.advice


def test_a_success_with_the_operators_help_is_none_of_the_versions(tmp_path: Path) -> None:
    comparison = a_comparison(tmp_path)
    record(comparison, 0, "A", Outcome.SUCCESS, "LLTEEL")
    record(comparison, 0, "B", Outcome.SUCCESS, "LLLLLL")
    report = report_on(comparison, "lift")
    assert (report.a.success.rate, report.a.takeovers) == (0.0, 1)
    assert report.result.counts.only_b == 1


def test_pairs_that_began_with_two_different_starts_are_not_compared(tmp_path: Path) -> None:
    comparison = a_comparison(tmp_path)
    record(comparison, 0, "A")
    record(replace(comparison, seed=1), 0, "B")
    with pytest.raises(DataError, match="two different starts"):
        report_on(comparison, "lift")


def test_nothing_is_unveiled_before_the_plan_is_done_unless_it_is_established(tmp_path: Path) -> None:
    comparison = a_comparison(tmp_path, pairs=9)
    for pair in range(7):
        record(comparison, pair, "A", Outcome.FAILURE)
        record(comparison, pair, "B")
    console = Console(record=True, width=200)
    unveil(comparison, "lift", console)
    said = console.export_text()
    assert "7 of 9 pairs are done; nothing is unveiled before the last." in said
    assert "version 1" not in said
    assert not (tmp_path / REPORT_FILE).exists()
    record(comparison, 7, "A", Outcome.FAILURE)
    record(comparison, 7, "B")
    unveil(comparison, "lift", console)
    said = console.export_text()
    assert "Established: B (version 1) succeeds more often than A (version 0), by 100 points" in said
    assert json.loads((tmp_path / REPORT_FILE).read_text())["result"]["established"] is True
    assert (tmp_path / PICTURE_FILE).read_bytes().startswith(b"\x89PNG")


def test_a_comparison_goes_on_with_the_same_lot_and_weights(run: RunFolder) -> None:
    second_version(run)
    begun = open_comparison(TINY, run, ("0", "1"), 2)
    assert open_comparison(TINY, run, ("000000", "1"), 3) == replace(
        begun, pairs=3, contenders=(begun.contenders[0], begun.contenders[1])
    )
    with pytest.raises(UserError, match="begun with another seed or other weights"):
        open_comparison(replace(TINY, seed=5), run, ("0", "1"), 2)


def test_a_checkpoint_of_another_run_is_named_by_its_folder(run: RunFolder, tmp_path: Path) -> None:
    other = tmp_path / "other" / "000000"
    other.parent.mkdir()
    second_version(run).rename(other)
    comparison = open_comparison(TINY, run, ("0", str(other)), 2)
    assert comparison.contenders[1].name == str(other)
    assert comparison.folder.name.startswith("000000-000000@")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("0", "7"), "holds no version 7; there are: 0, 1"),
        (("0", "00"), "are the same policy"),
        (("0", "elsewhere"), "elsewhere is neither a version's number in"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_sentence(run: RunFolder, names: tuple[str, str], words: str) -> None:
    second_version(run)
    with pytest.raises(UserError, match=words):
        open_comparison(TINY, run, names, 2)


def test_a_version_that_was_rolled_back_is_not_compared(run: RunFolder) -> None:
    second_version(run)
    run.versions().quarantine(1)
    with pytest.raises(UserError, match="never acts again"):
        open_comparison(TINY, run, ("0", "1"), 2)


def test_a_policy_for_other_observations_is_not_compared(run: RunFolder) -> None:
    second_version(run)
    manifest = run.versions().path(1) / "manifest.json"
    content = json.loads(manifest.read_text())
    content["config"]["object_dim"] = 16
    manifest.write_text(json.dumps(content))
    with pytest.raises(UserError, match="version 1 does not fit the configuration: its object_dim is 16, not 8"):
        open_comparison(TINY, run, ("0", "1"), 2)


@pytest.mark.slow
def test_versions_are_compared_in_lock_step_on_the_same_starts_and_go_on_where_it_stopped(run: RunFolder) -> None:
    second_version(run)
    comparison = open_comparison(TINY, run, ("0", "1"), 1)
    compare(TINY, comparison, 1, silently)
    recorded = comparison.recorded()
    a, b = recorded[0, "A"], recorded[0, "B"]
    assert a.attributes["scene_seed"] == b.attributes["scene_seed"]
    np.testing.assert_array_equal(a.column("observation.objects")[0], b.column("observation.objects")[0])
    assert (a.column("policy.version").max(), b.column("policy.version").max()) == (0, 1)
    before = executed(b)
    shutil.rmtree(b.path)
    compare(TINY, comparison, 1, silently)
    again = comparison.recorded()
    assert again[0, "A"].attributes == a.attributes
    np.testing.assert_array_equal(executed(again[0, "B"]), before)


def executed(episode: Episode) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(episode.column("action.executed"))


def test_a_comparison_is_not_gone_on_with_in_another_cell_nor_beyond_an_established_difference(run: RunFolder) -> None:
    second_version(run)
    comparison = open_comparison(TINY, run, ("0", "1"), 10)
    open_rollouts(TINY, comparison.folder)
    other = replace(TINY, cell=replace(TINY.cell, deployment_offset_m=(0.0, 0.05, 0.0)))
    with pytest.raises(UserError, match="recorded with another 'cell'"):
        compare(other, comparison, 1, silently)
    for turn in comparison.turns():
        if turn.pair < 9:
            record(comparison, turn.pair, turn.side, Outcome.SUCCESS if turn.side == "A" else Outcome.FAILURE)
    compare(TINY, comparison, 1, silently)
    assert len(comparison.recorded()) == 18
    told = [json.loads(line) for line in (comparison.folder / "events.jsonl").read_text().splitlines()]
    assert told[-1]["sentence"] == "18 of 20 were enough."

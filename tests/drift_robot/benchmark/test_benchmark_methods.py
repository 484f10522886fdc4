"""The comparison of methods: which runs there are, that they are done once, and what the report says of them."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from tiny_run import TINY, TINY_YAML, cli, finished, meeting

from drift_robot.adapt import AdaptFigures, adapt
from drift_robot.benchmark import methods as module
from drift_robot.benchmark.methods import (
    Failure,
    Result,
    method_jobs,
    method_rows,
    read_result,
    run_config,
    run_job,
)
from drift_robot.benchmark.methods_command import CONFIG, _seeds
from drift_robot.benchmark.methods_report import beside, label_share, mean_over_seeds, print_tables, write_report
from drift_robot.config import Config, load_config
from drift_robot.errors import UserError
from drift_robot.report import EpisodeFigures
from drift_robot.run_folder import RunFolder
from policies.methods import METHODS


def result(row: str, seed: int, successes: int, online: int = 90, task: str = "lift") -> Result:
    episodes = [EpisodeFigures(i, 0, True, i > 0, 50, 10 if i == 0 else 0) for i in range(3)] if online else []
    return Result(
        task=task, row=row, method="HG", seed=seed, successes_offline=5, successes=successes, evaluated=20,
        duration_s=6.0, duration_std_s=1.0, demonstrations=4, labels_offline=200, labels_online=10 if online else 0,
        updates_offline=60, updates_online=online, training_seconds_offline=36.0, training_seconds_online=0.0,
        batch_seconds_offline=0.03, batch_seconds_online=0.02, ranks=[4], losses_offline=[1.0, 0.5],
        losses_online=[0.4] if online else [], versions_swapped=1, episodes=episodes, said=[],
    )  # fmt: skip


def test_rows_are_methods_then_schedules_then_final_ranks_each_in_a_folder_of_its_own() -> None:
    rows = method_rows(TINY, ["bc", "D(RR)", "QLoRA"], ["linear", "sigmoid:0.1"], [2])
    assert [row.name for row in rows] == ["BC", "D(RR)", "QLoRA", "D(RR) linear", "D(RR) sigmoid 0.1", "D(RR) r_min 2"]
    assert (rows[3].rank.kind, rows[4].rank.steepness, rows[5].rank.r_min) == ("linear", 0.1, 2)
    folders = [row.folder for row in method_rows(TINY, list(METHODS), ["linear", "sigmoid:0.1"], [2])]
    assert len(set(folders)) == len(folders)
    assert all(folder.replace("-", "").replace(".", "").replace("_", "").isalnum() for folder in folders)


@pytest.mark.parametrize(
    ("methods", "schedules", "r_mins", "message"),
    [
        (["DRIFT"], [], [], "--methods: 'DRIFT' should be one of BC, HG"),
        ([], ["steep"], [], "--schedules: 'steep' should be linear"),
        ([], ["sigmoid:x"], [], "--schedules: 'sigmoid:x' should be"),
        ([], [], [1000], "--r-min: 1000 should be between 1 and 'rank.r_max'"),
    ],
)
def test_a_row_that_there_is_not_is_one_sentence(
    methods: list[str], schedules: list[str], r_mins: list[int], message: str
) -> None:
    with pytest.raises(UserError, match="^" + message.replace("(", r"\(")):
        method_rows(TINY, methods, schedules, r_mins)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seeds", "4-0"), "--seeds: '4-0' is a range that ends before it begins"),
        (("--seeds", "1-"), "--seeds: '1-' should be numbers below 1000000, as in 0,1,2, or a range as in 0-4."),
        (("--seeds", "2147483648"), "--seeds: '2147483648' should be numbers below 1000000"),
        (("--tasks", ","), "There is nothing to run: --tasks, --seeds and rows (--methods or another) are all needed."),
        (("--schedules", "sigmoid:inf"), "--schedules: 'sigmoid:inf' should be linear"),
    ],
)
def test_an_option_that_cannot_be_is_one_sentence_and_nothing_is_written(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    code, _, errors = finished(cli("benchmark", "methods", *options, "--out", tmp_path / "out"))
    assert (code, "Traceback" in errors) == (2, False)
    assert message in errors
    assert not (tmp_path / "out").exists()


def test_what_is_named_twice_is_run_once() -> None:
    assert _seeds("0,1,0") == [0, 1]
    assert [row.name for row in method_rows(TINY, ["BC", "bc"])] == ["BC"]
    assert [row.name for row in method_rows(TINY, [], r_mins=[2, 2])] == ["D(RR) r_min 2"]


def test_a_run_that_fails_writes_no_result_and_says_why(tmp_path: Path) -> None:
    steep = replace(TINY, bootstrap=replace(TINY.bootstrap, learning_rate=1e30, warmup_batches=0))
    (job,) = method_jobs(steep, ["lift"], method_rows(steep, ["BC"]), [0], tmp_path)
    ended = run_job(job)
    assert isinstance(ended, Failure)
    assert "a lower 'learning_rate'" in ended.sentence
    assert read_result(job) is None


@pytest.mark.long
def test_a_run_whose_trainer_left_batches_out_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_a_trainer(config: Config, run: RunFolder, *others: Any) -> AdaptFigures:
        (run.training / "000000" / "training.safetensors").write_bytes(b"damaged")
        return adapt(config, run, *others)

    monkeypatch.setattr(module, "adapt", without_a_trainer)
    (job,) = method_jobs(TINY, ["lift"], method_rows(TINY, ["HG"]), [0], tmp_path)
    ended = run_job(job)
    assert isinstance(ended, Failure)
    assert "the trainer made 0 of" in ended.sentence
    assert read_result(job) is None


def test_a_trainer_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"remove 'adapt\.store'"):
        method_jobs(meeting(TINY, str(tmp_path)), ["lift"], method_rows(TINY, ["HG"]), [0], tmp_path / "out")


def test_a_method_without_an_online_phase_has_the_others_episodes_and_batches() -> None:
    rows = {row.name: row for row in method_rows(TINY, list(METHODS))}
    bc, hg = (run_config(TINY, "stacking", rows[name], 7) for name in ("BC", "HG"))
    assert bc.collect.episodes == hg.collect.episodes + hg.adapt.episodes
    batches = {c.method: c.bootstrap.epochs * c.bootstrap.batches_per_epoch for c in (bc, hg)}
    assert batches["BC"] == batches["HG"] + hg.adapt.episodes * hg.adapt.batches_per_round
    assert {(c.cell.task, c.seed) for c in (bc, hg)} == {("stacking", 7)}


def test_bc_with_fewer_demonstrations_has_as_many_batches_and_may_not_have_more_than_bc() -> None:
    whole, fewer = method_rows(TINY, ["BC"], demonstrations=[1])
    assert fewer.name == "BC 1"
    configs = [run_config(TINY, "lift", row, 0) for row in (whole, fewer)]
    assert configs[1].collect.episodes == 1
    assert configs[0].bootstrap == configs[1].bootstrap
    most = configs[0].collect.episodes
    with pytest.raises(UserError, match=f"^--demonstrations: {most + 1} should be between 1 and {most}"):
        method_rows(TINY, [], demonstrations=[most + 1])


def test_runs_are_ordered_so_that_each_seed_is_whole_before_the_next() -> None:
    jobs = method_jobs(TINY, ["lift", "stacking"], method_rows(TINY, ["BC", "HG"]), [0, 1], Path("out"))
    assert [job.seed for job in jobs] == [0] * 4 + [1] * 4
    assert len({job.path for job in jobs}) == 8


def test_the_interval_over_seeds_is_students() -> None:
    mean = mean_over_seeds([1.0, 2.0, 3.0, None])
    assert mean.value == 2.0
    assert mean.half == pytest.approx(4.302652729911275 / math.sqrt(3))
    assert mean.text(1, low=0.0) == "2.0 [0.0, 4.5]"
    assert mean_over_seeds([2.0]).text(1) == "2.0"
    assert mean_over_seeds([]).text(1) == "nan"


def test_the_report_has_a_row_a_method_and_all_raw_figures(tmp_path: Path) -> None:
    results = [
        result("HG", 0, 10),
        result("HG", 1, 14),
        result("BC", 0, 8, online=0),
        result("HG", 0, 3, task="stacking"),
        result("BC", 0, 8, online=0, task="stacking"),
    ]
    write_report(results, tmp_path)
    table = (tmp_path / "table.md").read_text()
    assert "| HG | 2 | 0.25 [0.25, 0.25] | 0.60 [0.00, 1.00] |" in table
    assert "| BC | 1 | 0.25 | 0.40 | 6.0 ± 1.0 | 200 | 0.010 | 30.0 | - | 30.0 |" in table
    assert "24.0" in table
    assert "### stacking" in table
    assert "### Beside HG: all tasks" in table
    assert len(json.loads((tmp_path / "results.json").read_text())) == 5
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    print_tables(results, Console(file=(tmp_path / "screen").open("w"), width=200))


def test_rows_are_set_beside_the_baseline_run_by_run() -> None:
    results = [
        *(result("HG", seed, successes) for seed, successes in ((0, 10), (1, 14))),
        *(
            replace(result("D(RR)", seed, successes), training_seconds_offline=18.0)
            for seed, successes in ((0, 12), (1, 16))
        ),
        result("D(RR)", 2, 0),
    ]
    itself = ("HG", "2", "0.00 [0.00, 0.00]", "1.00 [1.00, 1.00]", "-")
    assert beside(results, ["lift"]) == [itself, ("D(RR)", "2", "0.10 [0.10, 0.10]", "0.50 [0.50, 0.50]", "-")]
    assert beside(results, ["stacking"]) == []
    elsewhere = [replace(r, machine="another") if r.row == "D(RR)" else r for r in results]
    assert beside(elsewhere, ["lift"]) == [itself, ("D(RR)", "2", "0.10 [0.10, 0.10]", "-", "-")]
    without = [r for r in results if r.row != "HG"] + [bc(100, 4), bc(500, 18)]
    assert beside(without, ["lift"])[0] == ("D(RR)", "0", "-", "-", "0.42 to 2.10")


def bc(labels: int, successes: int) -> Result:
    return replace(result(f"BC {labels}", 0, successes, online=0), method="BC", labels_offline=labels)


def test_labels_are_divided_by_those_with_which_bc_is_as_successful() -> None:
    points = [bc(100, 4), bc(500, 12), bc(600, 10), bc(900, 12)]  # 600 and 900 labels are worth no more than 500
    assert label_share([*points, result("HG", 0, 8)], "HG", "lift") == (210 / 500, 210 / 100)
    assert label_share([*points, result("HG", 0, 12)], "HG", "lift") == (210 / 500, 210 / 500)
    assert label_share([*points, result("HG", 0, 13)], "HG", "lift") is None
    assert label_share([*points, result("HG", 0, 3)], "HG", "lift") is None
    assert label_share([result("HG", 0, 8)], "HG", "lift") is None
    other_seed = replace(bc(100, 12), row="BC 500", seed=1)
    assert label_share([*points, other_seed, result("HG", 0, 8)], "HG", "lift") == (210 / 500, 210 / 100)


def test_over_all_tasks_only_rows_are_compared_that_were_run_in_all() -> None:
    results = [result(row, 0, 10, task=task) for row in ("HG", "D(RR)") for task in ("lift", "stacking")]
    results.append(result("DSR", 0, 10, task="lift"))
    assert [row[0] for row in beside(results, ["lift", "stacking"])] == ["HG", "D(RR)"]
    assert [row[0] for row in beside(results, ["lift"])] == ["HG", "D(RR)", "DSR"]


def test_its_configuration_is_valid_and_visits_a_step_that_dsr_trains() -> None:
    config = load_config(CONFIG)
    share = 0.1 * config.policy.train_timesteps
    assert config.policy.train_timesteps / config.policy.sample_steps - 1 < share


@pytest.mark.long
def test_it_runs_every_kind_of_method_once_and_a_second_call_only_reports(tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY_YAML)
    out = tmp_path / "out"
    command = ("benchmark", "methods", "--methods", "BC,D(LR)", "--config", config, "--out", out)
    code, output, errors = finished(cli(*command))
    assert code == 0, errors
    assert "D(LR)" in output
    paths = sorted(out.glob("lift/*/seed-0/result.json"))
    assert [path.parts[-3] for path in paths] == ["BC", "D-LR"]
    bc, dlr = (json.loads(path.read_text()) for path in paths)
    assert bc["demonstrations"] == TINY.collect.episodes + TINY.adapt.episodes
    assert (bc["updates_online"], bc["labels_online"]) == (0, 0)
    assert dlr["updates_online"] == TINY.adapt.episodes * TINY.adapt.batches_per_round
    assert dlr["labels_online"] == sum(episode["expert_labels"] for episode in dlr["episodes"])
    before = [path.stat().st_mtime_ns for path in paths]
    for again in (command, (*command, "--methods", "main", "--finished")):
        code, output, errors = finished(cli(*again))
        assert code == 0, errors
        assert "D(LR)" in output
        assert "HG" not in (out / "table.md").read_text().split()
        assert [path.stat().st_mtime_ns for path in sorted(out.glob("lift/*/seed-0/result.json"))] == before
    code, _, errors = finished(cli(*command, "--seeds", "7", "--finished"))
    assert code == 2
    assert "leave out --finished" in errors
    changed = yaml.safe_load(TINY_YAML)
    changed["adapt"]["learning_rate"] = 0.002
    config.write_text(yaml.safe_dump(changed))
    code, _, errors = finished(cli(*command))
    assert code == 2
    assert "was begun with another configuration" in errors

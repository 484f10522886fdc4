"""Every speed benchmark run as its user runs it, at tiny sizes: that it measures, and what its rows look like."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from drift_robot.benchmark import inference as inference_module
from drift_robot.benchmark.inference import diffusers_chunk, unmerged
from drift_robot.benchmark.turns import compared, in_turns, made_up
from drift_robot.cli import main
from policies.policy import DiffusionPolicy, PolicyConfig
from policies.rank import modulated_layers

Rows = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rows:
    """Run a benchmark in this process, --quick unless told otherwise, and return its rows."""
    threads = torch.get_num_threads()

    def run(*arguments: str, quick: bool = True) -> list[dict[str, Any]]:
        options = ["--json", "--quick"] if quick else ["--json"]
        monkeypatch.setattr(sys, "argv", ["drift-robot", "benchmark", *arguments, *options])
        with pytest.raises(SystemExit) as ended:
            main()
        torch.set_num_threads(threads)
        output = capsys.readouterr()
        assert not ended.value.code, output.err
        found: list[dict[str, Any]] = json.loads(output.out)
        for row in found:
            assert row["median_ms"] >= 0
            assert row["ratio"] is None or row["ratio"] > 0
            assert row["baseline"] in {other["measured"] for other in found}
        return found

    return run


def measured(rows: list[dict[str, Any]]) -> list[str]:
    return [row["measured"] for row in rows]


@pytest.mark.parametrize("vision", [("--picture", "0"), pytest.param(("--picture", "32"), marks=pytest.mark.long)])
def test_batch_time_tells_the_parts_of_every_form(rows: Rows, vision: tuple[str, str]) -> None:
    found = rows("batch-time", "--dims", "8,16", "--ranks", "2", "--batch", "2", "--rounds", "1", *vision)
    forms = ["full rank, torch's layers", "full rank", "rank 2", "LoRA 2", "naive, rank 2"]
    parts = ["forward", "backward", "optimiser", "average of weights", "whole batch"]
    assert measured(found) == [f"{form}: {part}" for form in forms for part in parts]
    held = {row["measured"].partition(":")[0]: row["held_mb"] for row in found}
    assert held["LoRA 2"] < held["rank 2"] < held["full rank"]


@pytest.mark.parametrize("cameras", [(), ("--picture", "16")], ids=["low-dimensional", "cameras"])
def test_update_latency_tells_every_piece(rows: Rows, cameras: tuple[str, ...]) -> None:
    found = rows("update-latency", "--dims", "8,16", "--rank", "2", "--batches", "1", *cameras)
    pieces = ["ingest", "training", "check", "publish", "load and warm-up", "swap", "first chunk after it"]
    assert measured(found) == [f"{form}: {p}" for form in ("full rank", "rank 2") for p in [*pieces, "whole update"]]


def test_inference_tells_every_way_of_sampling(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_module, "STEPS", (8, 10))
    found = rows("inference", "--dims", "8,16", "--rank", "2", "--rounds", "1", quick=False)
    sampled = [f"{way} DDIM {n}" for way in ("merged,", "merged and compiled,", "merged, diffusers'") for n in (8, 10)]
    assert measured(found) == [f"{way}: chunk" for way in ["unmerged factors, DDIM 100", *sampled]]
    assert all(row["p50_ms"] <= row["p99_ms"] for row in found)
    quick = rows("inference", "--dims", "8,16", "--rank", "2", "--rounds", "1")
    assert measured(quick) == [way for way in measured(found) if "compiled" not in way]


def test_storage_tells_what_was_lost(rows: Rows) -> None:
    found = rows("storage", "--height", "16", "--width", "16", "--seconds", "2")
    live = found[1]
    assert live["mb_per_minute"] > 0
    assert live["frames_lost"] >= 0
    assert found[2]["windows_per_second"] > 0
    assert found[3]["measured"] == "replay buffer: batch of 64 windows"


@pytest.mark.long
def test_background_measures_the_loop_with_the_trainer_stopped_and_running(rows: Rows) -> None:
    found = rows("background", "--dims", "8,16", "--rank", "2", "--seconds", "1")
    ways = ("trainer stopped", "trainer running")
    assert measured(found) == [f"{way}: {part}" for way in ways for part in ("turn of the loop", "from turn to turn")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("batch-time", "--dims", "8,x"), "--dims: '8,x' should be whole numbers"),
        (("inference", "--dims", "12"), "--dims: '12' should be at most 5 multiples of 8"),
        (("batch-time", "--ranks", "0"), "--ranks: '0' should be whole numbers above 0"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["drift-robot", "benchmark", *arguments])
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_ratios_are_the_median_within_turns() -> None:
    slow, fast = iter([99.0, 10.0, 40.0, 20.0]), iter([99.0, 1.0, 20.0, 4.0])
    told = in_turns({"a": lambda: {"x": next(slow)}, "b": lambda: {"x": next(fast), "y": 1.0}}, rounds=3)
    base, row, alone = compared(told, "a", {"size": 1.0})
    assert (base["median_ms"], base["ratio"]) == (20.0, 1.0)
    assert (row["median_ms"], row["ratio"], row["size"]) == (4.0, 0.2, 1.0)
    assert alone["ratio"] is None


def test_the_published_way_and_diffusers_loop_give_what_the_policy_gives() -> None:
    torch.manual_seed(0)
    config = PolicyConfig(unet_dims=(16, 32), condition_width=8)
    policy = DiffusionPolicy(config).eval()
    policy.fit_normalizer(*made_up(config, 8))
    observation = made_up(config, 1)[0]
    noisy, step = torch.randn(1, 16, 10), torch.tensor([40])
    with torch.no_grad():
        condition = policy.encode(observation)
        expected = policy.backbone(noisy, step, condition)
        published = unmerged(policy.requires_grad_(False), 4).backbone
        factored = [layer for _, layer in modulated_layers(published) if layer.factors() is not None]
        assert len(factored) > 10
        for layer in factored:
            layer.stacked = None  # what is published has no merged weights
        torch.testing.assert_close(published(noisy, step, condition), expected, rtol=0, atol=1e-4)
    chunk = diffusers_chunk(policy, observation, 8)
    assert chunk.shape == (1, 16, 10)
    assert float(chunk.abs().max()) <= 1.0

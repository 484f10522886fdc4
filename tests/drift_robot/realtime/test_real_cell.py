"""The whole job on the real drivers: ur-rtde against an emulated controller, RealSense against software cameras, and a
scripted operator who holds a virtual gamepad."""

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tiny_run import second_version

from data.episode import Episode
from data.schema import Owner
from data.session import finished_episodes
from drift_robot.bootstrap import bootstrap
from drift_robot.compare import open_comparison
from drift_robot.comparison import SIDES
from drift_robot.comparison_report import report_on
from drift_robot.config import Config, config_from_dict
from drift_robot.errors import UserError
from drift_robot.realtime.supervisor import run_session
from drift_robot.run_folder import RunFolder
from hardware.emulation.process import EmulatedController

pytestmark = [pytest.mark.realtime, pytest.mark.timeout(600)]

HOST = "127.0.4.2"
EMULATOR = ("--controller-version", "3.15.0.0", "--task", "lift")
"""A CB3 controller: its 125 Hz leave a small machine room for everything else."""


def configuration(episodes: int, host: str = HOST) -> Config:
    return config_from_dict(
        {
            "cell": {"task": "lift", "track_objects": False, "cameras": {"front": {"height": 48, "width": 64}}},
            "devices": {
                "arm": {
                    **{"host": host, "flange_from_tcp": [0.0, 0.0, 0.15, 0.0, 0.0, 0.0], "payload_kg": 0.9},
                    "max_age_s": 1.0,  # a machine that tests share pauses
                    "watchdog_hz": 1.0,
                },
                "gripper": {"driver": "robotiq", "open_position": 0, "closed_position": 255},
                "cameras": {"front": {"driver": "realsense", "serial": "1", "width": 160, "height": 120, "fps": 15}},
            },
            "input": {"device": "scripted", "mapping": {"speed_m_s": 0.25}},
            "limits": {"arm_timeout_s": 1.0, "device_timeout_s": 1.0},
            "camera_timeout_s": 5.0,
            "policy": {
                **{"unet_dims": [16], "condition_width": 16, "step_embedding_dim": 16, "vision": "small_cnn"},
                **{"prediction": "sample", "sample_steps": 2},
            },
            "rank": {"r_max": 8, "r_min": 4},
            # Takes over as soon as it can and soon hands back, so that every episode has several interventions.
            "simulated_expert": {
                **{"cosine_below": 1.0, "deviation_m": 0.001, "persistence_steps": 1, "stall_steps": 1},
                **{"cosine_above": -1.0, "min_expert_steps": 12, "agreement_steps": 1, "gripper_difference": 1.0},
            },
            "collect": {"episodes": 2},
            "bootstrap": {"epochs": 1, "batches_per_epoch": 2, "batch_size": 16, "threads": 1},
            "adapt": {"episodes": episodes, "pace": "free", "batches_per_round": 1, "batch_size": 8, "hold_out": 0},
        },
        "test",
    )


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, list[str]]:
    """A run with demonstrations, a bootstrapped policy and two online episodes, and what the sessions said."""
    run, said = RunFolder(tmp_path_factory.mktemp("real")), list[str]()
    with EmulatedController(HOST, *EMULATOR):
        assert run_session(configuration(2), run, "collect", "scripted", False, said.append).complete, "\n".join(said)
        bootstrap(configuration(2), run, lambda *_: None)
        assert run_session(configuration(2), run, "adapt", "scripted", False, said.append).complete, "\n".join(said)
    return run, said


def test_demonstrations_are_the_experts_and_end_in_success(job: tuple[RunFolder, list[str]]) -> None:
    episodes = [Episode.open(path) for path in finished_episodes(job[0].demonstrations)]
    assert len(episodes) == 2
    for episode in episodes:
        owner = episode.column("owner")
        assert (owner == Owner.EXPERT).mean() > 0.9
        lifted = episode.column("observation.tcp")[:, 2]
        assert lifted[-1] - lifted.min() > 0.04
        assert episode.column("observation.gripper").min() < 0.8
    assert episodes[0].attributes["scene_seed"] != episodes[1].attributes["scene_seed"]


def test_pictures_show_the_emulated_cell_and_change(job: tuple[RunFolder, list[str]]) -> None:
    episode = Episode.open(finished_episodes(job[0].demonstrations)[0])
    pictures = episode.column("observation.images.front").astype(float)
    assert pictures[0].std() > 10
    assert np.abs(pictures[-1] - pictures[0]).max() > 30
    captured = episode.column("time.camera.front")
    assert (np.diff(captured) >= 0).all()
    assert 0 < np.median(episode.column("time.step") - captured) < 0.5e9


def test_the_expert_takes_over_corrects_and_hands_back_on_her_gamepad(job: tuple[RunFolder, list[str]]) -> None:
    for path in finished_episodes(job[0].session):
        owner = Episode.open(path).column("owner")
        changes = [(a, b) for a, b in pairwise(owner) if a != b]
        assert (Owner.LEARNER, Owner.TRANSITION) in changes or (Owner.TRANSITION, Owner.EXPERT) in changes
        assert any(a == Owner.EXPERT and b in (Owner.LEARNER, Owner.TRANSITION) for a, b in changes)
        assert (owner == Owner.LEARNER).sum() > 2
        assert (owner == Owner.EXPERT).sum() > 10


def test_the_arm_log_has_the_controllers_full_rate(job: tuple[RunFolder, list[str]]) -> None:
    episode = Episode.open(finished_episodes(job[0].demonstrations)[0])
    assert 100 < 1e9 / np.median(np.diff(episode.column("arm.time"))) < 150
    lag_m = np.linalg.norm(episode.column("arm.tcp")[:, :3] - episode.column("arm.commanded")[:, :3], axis=1)
    assert 0 < np.median(lag_m) < 0.04


@pytest.mark.long
def test_two_versions_are_compared_blind_on_the_same_start_on_the_arm(
    job: tuple[RunFolder, list[str]], tmp_path: Path
) -> None:
    run, other, config = job[0], RunFolder(tmp_path / "other"), configuration(1)
    shutil.copytree(run.versions().path(0), other.versions().path(0))
    comparison = open_comparison(config, run, ("0", str(second_version(other))), 1)
    said: list[str] = []
    with EmulatedController(HOST, *EMULATOR):
        figures = run_session(config, run, "evaluate", "scripted", False, said.append, comparison)
    assert figures.complete, "\n".join(said)
    starts = [sentence for sentence in said if sentence.startswith("Pair")]
    assert starts[0] == "Pair 1 of 1 begins: put up a start that you can rebuild."
    assert starts[-1] == "Pair 1 of 1 once more: rebuild the same start."
    assert not any("version" in sentence.lower() for sentence in said)
    recorded = comparison.recorded()
    assert recorded.keys() == {(0, "A"), (0, "B")}
    pictures = [episode.column("observation.images.front", 0, 1)[0].astype(float) for episode in recorded.values()]
    assert np.abs(pictures[1] - pictures[0]).mean() < 4, "both began before the same scene"
    versions = [int(recorded[0, side].column("policy.version").max()) for side in SIDES]
    assert versions == [0, 1]
    assert report_on(comparison, "lift").result.counts.pairs == 1


def test_a_protective_stop_holds_the_arm_until_the_operators_word_and_the_session_goes_on(
    job: tuple[RunFolder, list[str]], tmp_path: Path
) -> None:
    said: list[str] = []
    with EmulatedController(HOST, *EMULATOR, "--unlock-delay-s", "0.5") as controller:
        stopped: list[str] = []

        def say(sentence: str) -> None:
            said.append(sentence)
            if sentence.startswith("Episode 1") and not stopped:
                stopped.append(sentence)
                controller.do("protective_stop")

        figures = run_session(configuration(2), RunFolder(tmp_path), "collect", "scripted", False, say)
    assert figures.complete, "\n".join(said)
    assert any("protective stop" in sentence for sentence in said)
    assert any("is made ready" in sentence for sentence in said)
    assert figures.restarts == {}


def test_a_robot_that_is_not_there_ends_the_session_at_once_with_one_sentence(tmp_path: Path) -> None:
    said: list[str] = []
    figures = run_session(configuration(2, "127.0.4.9"), RunFolder(tmp_path), "collect", "scripted", False, said.append)
    assert not figures.complete
    assert any("127.0.4.9" in sentence for sentence in said)


def test_a_scripted_expert_does_not_drive_a_real_arm(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="blind before the real arm at 192"):
        run_session(configuration(2, "192.168.1.9"), RunFolder(tmp_path), "collect", "scripted", False, lambda _: None)

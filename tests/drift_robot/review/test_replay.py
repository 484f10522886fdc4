"""Episodes played again in the simulated cell: how closely, within which limits, and what ends it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_run import TINY, add_corrected_episode

from data.episode import Episode, EpisodeWriter
from data.errors import DataError
from data.session import finished_episodes
from drift_robot.arm_loop import ArmLoop, ArmSnapshot
from drift_robot.config import Config
from drift_robot.errors import UserError
from drift_robot.review.playback import Motion, Played, Player, cut_by_limits, motion_of, play_in_cell
from drift_robot.review.replay import Replay, default_folder, replay, save, verdict
from drift_robot.run_folder import RunFolder
from hardware.arms.controller import ArmController, Start
from hardware.arms.limits import ArmLimits, Limit
from hardware.arms.simulated import SimulatedArm
from hardware.cell.cell import Cell
from hardware.cell.tasks import TASKS
from hardware.clock import NS_PER_S, ManualClock
from hardware.interfaces import ArmState
from hardware.poses import Pose

GOAL_MM = 2.0


def never(plan: str) -> None:
    raise AssertionError(f"asked before anything that moves an arm: {plan}")


def again(path: Path, speed: float | None = None) -> Replay:
    return replay(path, None, False, speed, never)


@pytest.fixture(scope="module")
def demonstration(demonstrated: RunFolder) -> Path:
    return finished_episodes(demonstrated.demonstrations)[0]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_demonstration_is_repeated_within_the_goal_and_reaches_its_goal(demonstrated: RunFolder, number: int) -> None:
    done = again(finished_episodes(demonstrated.demonstrations)[number])
    figures = done.document()
    assert figures["stopped"] is None
    assert figures["steps_played"] == figures["steps"]
    assert figures["same_time"]["rms_mm"] < GOAL_MM / 2
    assert figures["same_time"]["max_mm"] < GOAL_MM
    assert figures["same_time"]["rms_deg"] < 1.0
    assert figures["succeeded"] is True


def test_an_episode_of_several_hands_is_repeated_too(demonstrated: RunFolder, tmp_path: Path) -> None:
    done = again(add_corrected_episode(RunFolder(tmp_path), TINY, 3))
    assert done.same_time.figures()["rms_mm"] < GOAL_MM / 2


def test_half_the_speed_takes_twice_the_time_along_the_same_path(demonstration: Path) -> None:
    whole, half = again(demonstration), again(demonstration, 0.5)
    assert 1.6 < half.played.periods / whole.played.periods < 2.0
    assert half.shifted.shift_s < 0.0, "the arm lags as long as ever, which is half as much of the recording"
    assert half.shifted.figures()["rms_mm"] < GOAL_MM / 2


def test_the_goal_is_judged_along_the_path_and_at_the_same_time(demonstration: Path) -> None:
    slow = again(demonstration, 0.25)
    words = verdict(slow.same_time, slow.shifted)
    assert words.startswith("Goal 2 mm RMS: kept along the path (0.")
    assert f"at the same time ({slow.same_time.figures()['rms_mm']:.2f} mm)" in words
    assert f"{abs(round(1e3 * slow.shifted.shift_s))} ms of lag" in words
    assert "lag" not in verdict(slow.shifted, replace(slow.shifted, shift_s=0.0))


def test_the_same_replay_gives_the_same_figures(demonstration: Path) -> None:
    assert again(demonstration).document() == again(demonstration).document()


def test_figures_and_picture_are_written_beside_the_session(demonstration: Path, tmp_path: Path) -> None:
    done = again(demonstration)
    assert default_folder(done) == demonstration.parent.parent / "replays" / "000000-simulated"
    save(done, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "replay.json").read_text()) == done.document()
    assert Image.open(tmp_path / "out" / "replay.png").width > 800
    with pytest.raises(UserError, match="choose another folder with --out"):
        save(done, tmp_path / "out" / "replay.json")


# What is played.


def recording(path: Path, time_ns: list[int]) -> Episode:
    """Return the first steps of an episode, as if they had begun at other times."""
    episode = Episode.open(path)
    columns = {name: episode.column(name) for name in ("action.executed", "observation.commanded", "observation.tcp")}
    columns["time.step"] = columns["time.arm"] = np.array(time_ns, dtype=np.int64)
    columns["observation.gripper"] = episode.column("observation.gripper")
    episode.steps = len(time_ns)
    episode.column = lambda name, start=0, stop=None: columns[name][: len(time_ns)][start:stop]  # type: ignore[method-assign]
    return episode


def test_actions_are_reached_when_the_next_step_begins(demonstration: Path) -> None:
    motion = motion_of(recording(demonstration, [0, 100_000_000, 210_000_000, 300_000_000]))
    np.testing.assert_allclose(motion.times_s, [0.0, 0.1, 0.21, 0.3, 0.4])
    np.testing.assert_allclose(motion.actions[1:], Episode.open(demonstration).column("action.executed")[:4])
    np.testing.assert_allclose(motion.actions[0, :9], Episode.open(demonstration).column("observation.commanded")[0])


def test_a_long_pause_is_played_as_a_second_in_which_the_arm_waits(demonstration: Path) -> None:
    motion = motion_of(recording(demonstration, [0, 10**8, 2 * 10**8, 60 * 10**9, 60 * 10**9 + 10**8]))
    np.testing.assert_allclose(motion.times_s, [0.0, 0.1, 0.2, 0.3, 1.2, 1.3, 1.4])
    commanded = Episode.open(demonstration).column("observation.commanded")[3]
    np.testing.assert_allclose(motion.actions[4, :9], commanded)
    np.testing.assert_allclose(motion.measured.times_s, [0.0, 0.1, 0.2, 1.2, 1.3])


def test_the_arm_log_is_what_is_compared_with_where_there_is_one_but_only_within_the_steps(demonstration: Path) -> None:
    episode = recording(demonstration, [10**9, 11 * 10**8, 12 * 10**8, 9 * 10**9])
    episode.arm_samples = 1000
    log = {"arm.time": np.arange(1000) * 10**7, "arm.tcp": np.tile(episode.column("observation.tcp", 0, 1), (1000, 1))}
    steps = episode.column
    episode.column = lambda name, start=0, stop=None: log[name] if name in log else steps(name, start, stop)  # type: ignore[method-assign]
    measured_s = motion_of(episode).measured.times_s
    np.testing.assert_allclose(measured_s, [*np.arange(31) / 100, *(1.2 + np.arange(11) / 100)], atol=1e-9)


def test_what_cannot_be_replayed_is_said_in_a_sentence(demonstration: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="name one of its episodes"):
        again(demonstration.parent.parent)
    with pytest.raises(UserError, match="--config CONFIG"):
        again(EpisodeWriter.create(tmp_path, 0, Episode.open(demonstration).layout).abandon())
    with pytest.raises(DataError, match="nothing moves in fewer than two"):
        motion_of(recording(demonstration, [0]))


def test_an_episode_of_another_cell_asks_for_its_task_before_it_is_simulated(
    demonstration: Path, tmp_path: Path
) -> None:
    config = tmp_path / "real.yaml"
    config.write_text(
        "cell: {task: my own, track_objects: false, cameras: {front: {}}}\n"
        "devices: {arm: {host: 192.168.7.7}, cameras: {front: {driver: webcam, source: 0}}}\n"
    )
    with pytest.raises(UserError, match="no task 'my own'"):
        replay(demonstration, config, True, None, never)


def test_nothing_is_opened_before_the_operator_has_agreed(demonstration: Path, tmp_path: Path) -> None:
    class NotAgreedError(Exception):
        pass

    def refuse(plan: str) -> None:
        assert "at 127.0.1.9" in plan
        assert "Ctrl-C stops the arm" in plan
        raise NotAgreedError

    config = tmp_path / "real.yaml"
    config.write_text(
        "cell: {track_objects: false, cameras: {front: {}}}\n"
        "devices: {arm: {host: 127.0.1.9}, cameras: {front: {driver: webcam, source: 0}}}\n"
    )
    with pytest.raises(NotAgreedError):
        replay(demonstration, config, False, None, refuse)


# Limits, faults and the order to stop.


def test_waypoints_outside_the_limits_are_counted_and_a_start_outside_them_is_refused(demonstration: Path) -> None:
    motion = motion_of(Episode.open(demonstration))
    assert cut_by_limits(motion, ArmLimits(), "lab.yaml") == 0
    assert cut_by_limits(motion, ArmLimits(workspace_min_m=(0.15, -0.5, 0.1)), "lab.yaml") > 10
    with pytest.raises(UserError, match=r"outside the workspace of lab\.yaml"):
        cut_by_limits(motion, ArmLimits(workspace_max_m=(0.8, 0.5, 0.2)), "lab.yaml")


def test_the_arm_stays_within_the_limits_whatever_was_recorded(demonstration: Path) -> None:
    limits = replace(TINY.limits, workspace_min_m=(0.15, -0.5, 0.1), max_speed_m_s=0.1, slew_speed_m_s=0.1)
    played = play_in_cell(replace(TINY, limits=limits), motion_of(Episode.open(demonstration)), 0, 1.0)
    assert played.track is not None
    assert played.track.positions[:, 2].min() > 0.1 - 0.001
    speed = np.linalg.norm(np.diff(played.track.positions, axis=0), axis=1) / TINY.cell.servo_period_s
    assert speed.max() < 0.1 * 1.2
    assert played.limited.keys() == {Limit.SPEED}


def test_an_arm_whose_own_limit_is_below_the_slew_speed_is_given_the_time_that_it_needs(demonstration: Path) -> None:
    motion = motion_of(Episode.open(demonstration))
    far = Pose(motion.first.position + np.array([0.2, 0.0, 0.0]), motion.first.rotation)
    away = replace(motion, first=far, actions=motion.actions[:2], times_s=motion.times_s[:2])
    limits = replace(TINY.limits, max_speed_m_s=0.01)
    played = play_in_cell(replace(TINY, limits=limits), away, 0, 1.0)
    assert played.stopped is None
    assert played.track is not None


def test_a_fault_on_the_way_ends_the_replay_with_its_reason(
    demonstration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, reads = SimulatedArm.read, []

    def read(arm: SimulatedArm) -> ArmState:
        reads.append(None)
        state = original(arm)
        return replace(state, wrench=np.array([500.0, 0, 0, 0, 0, 0])) if len(reads) > 300 else state

    monkeypatch.setattr(SimulatedArm, "read", read)
    done = again(demonstration)
    assert "force at the tool" in (done.played.stopped or "")
    assert not done.played.interrupted
    assert 1 < done.document()["steps_played"] < done.document()["steps"]


def stopped_after(motion: Motion, config: Config, periods: int) -> tuple[Played, list[ArmSnapshot]]:
    """Play until the order to stop comes after so many servo periods; return also what the arm loop said since."""
    clock = ManualClock(NS_PER_S)
    cell = Cell(TASKS["lift"], physics_step_s=0.005, servo_period_s=0.01, clock=clock)
    cell.reset(5)
    loop = ArmLoop(
        replace(config.gate, mode="evaluate"),
        ArmController(config.limits, 0.01),
        cell.arm,
        cell.gripper,
        clock,
        Start(motion.first),
    )
    since: list[ArmSnapshot] = []
    passed = 0

    def pass_period() -> bool:
        nonlocal passed
        clock.advance_s(0.01)
        cell.step()
        passed += 1
        if passed > periods:
            since.append(loop.snapshot())
        return passed < periods

    played = Player(loop, clock, pass_period).play(motion, 1.0, config.limits, lambda arm: None)
    return played, since


def test_the_order_to_stop_brings_the_arm_to_rest_within_its_limits(demonstration: Path) -> None:
    played, since = stopped_after(motion_of(Episode.open(demonstration)), TINY, 250)
    assert played.interrupted
    assert played.stopped == "Stopped: the arm holds."
    assert played.track is not None
    commanded = np.stack([arm.commanded.position for arm in since])
    steps_m = np.linalg.norm(np.diff(commanded, axis=0), axis=1)
    assert steps_m[0] > 0.0005, "it was moving"
    assert np.diff(steps_m, prepend=steps_m[0]).min() > -TINY.limits.max_acceleration_m_s2 * 0.01**2 * np.sqrt(3) - 1e-6
    assert steps_m[-20:].max() < 1e-9


def test_the_order_to_stop_on_the_way_to_the_first_pose_leaves_nothing_to_compare(demonstration: Path) -> None:
    motion = motion_of(Episode.open(demonstration))
    played, since = stopped_after(motion, TINY, 10)
    assert played.interrupted
    assert played.track is None
    assert np.linalg.norm(since[-1].commanded.position - since[-20].commanded.position) < 1e-9

"""The controller on an ideal arm, which is where it was commanded to be one servo period ago."""

import re
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hardware.arms import rotations
from hardware.arms.controller import ArmController, Authority, Chunk, Command, Start
from hardware.arms.limits import ArmLimits, Limit, TaughtWorkspace
from hardware.interfaces import ArmState, Safety, Teleop
from hardware.poses import Array, Pose, action_vector

PERIOD_S = 0.01
PERIOD_NS = 10_000_000
STEP_NS = 100_000_000
DOWN = rotations.exp(np.array([np.pi, 0.0, 0.0]))
START = Pose(np.array([0.5, 0.0, 0.3]), DOWN)


@dataclass
class Bench:
    """A controller, an ideal arm and the time."""

    controller: ArmController = field(default_factory=lambda: ArmController(ArmLimits(), PERIOD_S))
    measured: Pose = START
    now_ns: int = 0
    wrench: Array = field(default_factory=lambda: np.zeros(6))
    safety: Safety = Safety.NORMAL
    blocked: bool = False

    def __post_init__(self) -> None:
        self.controller.restart(self.measured, 1.0, self.now_ns)

    def state(self) -> ArmState:
        return ArmState(self.now_ns, np.zeros(6), np.zeros(6), self.measured, self.wrench, self.safety)

    def tick(self) -> Command:
        command = self.controller.tick(self.now_ns, self.state(), 1.0)
        if not self.blocked:
            self.measured = command.base_from_tcp
        self.now_ns += PERIOD_NS
        return command

    def ticks(self, seconds: float) -> list[Command]:
        return [self.tick() for _ in range(round(seconds / PERIOD_S))]

    def learn(self) -> None:
        self.controller.hand_back(self.now_ns)

    def send(self, positions: Array, grippers: Array | float = 1.0, observed_ns: int | None = None) -> str | None:
        """Schedule waypoints (n, 3) at the next policy steps."""
        grippers = np.broadcast_to(grippers, len(positions))
        actions = np.stack([action_vector(Pose(p, DOWN), g) for p, g in zip(positions, grippers, strict=True)])
        times = self.now_ns + STEP_NS * np.arange(1, len(actions) + 1)
        refusal = self.controller.schedule(
            Chunk(self.now_ns if observed_ns is None else observed_ns, times, actions), self.now_ns
        )
        return refusal.sentence if refusal else None

    def drive(self, twist: tuple[float, ...], seconds: float, gripper: float = 1.0) -> list[Command]:
        """Have the expert drive with fresh readings."""
        commands = []
        for _ in range(round(seconds / PERIOD_S)):
            self.controller.teleop(Teleop(self.now_ns, np.array(twist), gripper))
            commands.append(self.tick())
        return commands


def line(start: Array, step: tuple[float, float, float], n: int = 16) -> Array:
    return start + np.arange(1, n + 1)[:, None] * np.array(step)


def speed(commands: list[Command]) -> Array:
    positions = np.stack([command.base_from_tcp.position for command in commands])
    return np.linalg.norm(np.diff(positions, axis=0), axis=1) / PERIOD_S


def test_waypoints_are_commanded_at_their_times_when_no_limit_binds() -> None:
    bench = Bench()
    bench.learn()
    waypoints = line(START.position, (0.008, -0.006, 0.004))
    assert bench.send(waypoints) is None
    for k in range(16):
        command = bench.ticks(0.1)[-1]
        assert np.linalg.norm(command.base_from_tcp.position - waypoints[k]) < 1e-3
        assert np.linalg.norm(command.proposed.position - waypoints[k]) < 1e-9
        assert Limit.SPEED not in command.limited


def test_chunks_that_replace_each_other_are_followed_without_a_step() -> None:
    bench = Bench()
    bench.learn()
    t = 0.1 * np.arange(1, 60)
    path = START.position + 0.05 * np.stack([np.sin(t), np.sin(2 * t), 0.5 * np.sin(1.5 * t)], axis=1)
    for k in range(40):
        if k % 8 == 0:
            assert bench.send(path[k : k + 16]) is None
        commands = bench.ticks(0.1)
        assert np.linalg.norm(commands[-1].base_from_tcp.position - path[k]) < 1e-3
        assert speed(commands).max() < 0.16


def test_a_new_chunk_keeps_waypoints_before_its_first_and_skips_what_is_past() -> None:
    bench = Bench()
    bench.learn()
    first = line(START.position, (0.005, 0.0, 0.0))
    bench.send(first)
    bench.ticks(0.2)
    actions = np.stack([action_vector(Pose(p, DOWN), 1.0) for p in line(first[1], (0.0, 0.001, 0.0), 8)])
    chunk = Chunk(bench.now_ns, bench.now_ns + STEP_NS * np.arange(-2, 6), actions)
    assert bench.controller.schedule(chunk, bench.now_ns) is None
    command = bench.ticks(0.1)[-1]
    np.testing.assert_allclose(command.base_from_tcp.position, actions[3, :3], atol=1e-3)
    later = Chunk(bench.now_ns, bench.now_ns + STEP_NS * np.arange(2, 10), actions)
    assert bench.controller.schedule(later, bench.now_ns) is None
    kept = bench.ticks(0.1)[-1]
    np.testing.assert_allclose(kept.base_from_tcp.position, actions[4, :3], atol=1e-3)
    replaced = bench.ticks(0.1)[-1]
    np.testing.assert_allclose(replaced.base_from_tcp.position, actions[0, :3], atol=3e-3)


def test_the_gripper_goes_to_the_opening_of_the_waypoint_ahead() -> None:
    bench = Bench()
    bench.learn()
    bench.send(line(START.position, (0.001, 0.0, 0.0), 4), np.array([1.0, 0.0, 0.3, 7.0]))
    openings = [bench.ticks(0.1)[-1].gripper for _ in range(5)]
    assert openings == [1.0, 0.0, 0.3, 1.0, 1.0]


def test_a_takeover_drops_the_learners_waypoints_in_that_very_tick() -> None:
    bench = Bench()
    bench.learn()
    bench.send(line(START.position, (0.015, 0.0, 0.0)))
    before = bench.ticks(0.5)
    bench.controller.take_over(bench.now_ns)
    after = bench.ticks(0.5)
    assert after[0].authority is Authority.EXPERT
    assert (np.diff(speed([before[-1], *after])[:6]) < 0.0).all()
    assert speed(after)[-1] < 1e-6
    travelled = np.linalg.norm(after[-1].base_from_tcp.position - before[-1].base_from_tcp.position)
    assert travelled < 0.15**2 / (2 * 4.0) + 0.15 * 0.03


def test_neither_takeover_nor_hand_back_makes_a_step_in_velocity() -> None:
    bench = Bench()
    bench.learn()
    bench.send(line(START.position, (0.012, 0.0, 0.0)))
    commands = bench.ticks(0.45)
    bench.controller.take_over(bench.now_ns)
    commands += bench.drive((0.0, 0.15, 0.05, 0.0, 0.0, 0.4), 0.6)
    bench.learn()
    bench.send(line(bench.measured.position, (-0.012, 0.01, 0.0)))
    commands += bench.ticks(1.0)
    positions = np.stack([command.base_from_tcp.position for command in commands])
    acceleration = np.abs(np.diff(positions, n=2, axis=0)) / PERIOD_S**2
    assert acceleration.max() < 4.0 + 0.5
    assert speed(commands).max() <= 0.25 + 1e-9


def test_late_output_of_the_learner_is_refused_after_a_hand_back() -> None:
    bench = Bench()
    bench.learn()
    bench.send(line(START.position, (0.01, 0.0, 0.0)))
    bench.ticks(0.3)
    observed_ns = bench.now_ns
    bench.controller.take_over(bench.now_ns)
    assert "authority is EXPERT" in str(bench.send(line(START.position, (0.01, 0.0, 0.0))))
    bench.ticks(0.3)
    bench.learn()
    refusal = bench.send(line(START.position, (0.01, 0.0, 0.0)), observed_ns=observed_ns)
    assert refusal == "The learner's waypoints were computed 0.300 s before the last change of authority."
    commands = bench.ticks(0.3)
    assert Limit.WAITING in commands[-1].limited
    assert speed(commands)[-1] < 1e-9
    assert bench.send(line(START.position, (0.01, 0.0, 0.0))) is None
    assert Limit.WAITING not in bench.tick().limited


def test_the_learner_is_slewed_in_after_a_hand_back() -> None:
    bench = Bench()
    bench.learn()
    bench.send(line(START.position + np.array([0.1, 0.0, 0.0]), (0.01, 0.0, 0.0)))
    assert speed(bench.ticks(0.4)).max() <= 0.15 + 1e-9
    assert 0.15 < speed(bench.ticks(0.4)).max() <= 0.25 + 1e-9


def test_slewing_in_and_going_back_to_the_start_are_no_faster_than_the_limits_own_speeds() -> None:
    limits = replace(ArmLimits(), max_speed_m_s=0.05, max_rotation_speed_rad_s=0.3)
    bench = Bench(ArmController(limits, PERIOD_S))
    bench.learn()
    bench.send(line(START.position + np.array([0.1, 0.0, 0.0]), (0.01, 0.0, 0.0)))
    slewed = bench.ticks(0.4)
    assert 0.04 < speed(slewed).max() <= 0.05 + 1e-9
    bench.controller.return_to(Start(Pose(START.position, rotations.exp(np.array([0.0, 0.0, 1.0])) @ DOWN)), 0)
    back = bench.ticks(2.0)
    turns = [rotations.log(b.base_from_tcp.rotation @ a.base_from_tcp.rotation.T) for a, b in pairwise(back)]
    assert speed(back).max() <= 0.05 + 1e-9
    assert 0.25 < np.linalg.norm(turns, axis=1).max() / PERIOD_S <= 0.3 + 1e-6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"actions": np.full((4, 10), np.nan)}, "not finite"),
        ({"actions": np.zeros((4, 10))}, "no rotation"),
        ({"actions": np.zeros((4, 9))}, r"not \(4,\) and \(4, 9\)"),
        ({"times_ns": np.zeros((0,), np.int64), "actions": np.zeros((0, 10))}, r"not \(0,\)"),
        ({"times_ns": np.array([4, 3, 2, 1]) * STEP_NS}, "do not rise"),
        ({"times_ns": np.array([-4, -3, -2, -1]) * STEP_NS}, "past by 0.1"),
        ({"observation_ns": -1}, "before the last change of authority"),
    ],
)
def test_a_bad_chunk_is_refused_in_a_sentence_and_changes_nothing(change: dict[str, object], words: str) -> None:
    bench = Bench()
    bench.learn()
    actions = np.stack([action_vector(START, 1.0)] * 4)
    good: dict[str, object] = {"observation_ns": 0, "times_ns": np.arange(1, 5) * STEP_NS, "actions": actions}
    refusal = bench.controller.schedule(Chunk(**{**good, **change}), 0)  # type: ignore[arg-type]
    assert refusal is not None
    assert refusal.sentence.endswith(".")
    assert re.search(words, refusal.sentence)
    assert Limit.WAITING in bench.tick().limited


def test_a_chunk_from_an_older_observation_than_the_one_in_force_is_refused() -> None:
    bench = Bench()
    bench.learn()
    bench.ticks(0.2)
    assert bench.send(line(START.position, (0.01, 0.0, 0.0))) is None
    assert "older observation" in str(bench.send(line(START.position, (0.01, 0.0, 0.0)), observed_ns=STEP_NS))


def test_waypoints_before_the_arm_has_been_seen_are_refused() -> None:
    controller = ArmController(ArmLimits(), PERIOD_S)
    controller.hand_back(0)
    refusal = controller.schedule(Chunk(0, np.array([STEP_NS]), action_vector(START, 1.0)[None]), 0)
    assert refusal is not None
    assert "not known yet" in refusal.sentence


def test_a_learner_that_falls_silent_is_brought_to_rest_and_named() -> None:
    bench = Bench()
    bench.learn()
    bench.send(line(START.position, (0.015, 0.0, 0.0), 4))
    commands = bench.ticks(0.9)
    assert speed(commands)[-1] < 1e-6
    assert Limit.STARVED in commands[-1].limited
    assert Limit.STARVED not in commands[45].limited


def test_the_experts_twist_is_integrated_on_the_last_command() -> None:
    bench = Bench()
    bench.controller.take_over(0)
    commands = bench.drive((0.1, 0.0, -0.05, 0.0, 0.0, 0.5), 1.0, gripper=0.4)
    rate = (commands[-1].base_from_tcp.position - commands[-11].base_from_tcp.position) / 0.1
    np.testing.assert_allclose(rate, [0.1, 0.0, -0.05], atol=1e-6)
    turn = rotations.log(commands[-1].base_from_tcp.rotation @ commands[-11].base_from_tcp.rotation.T)
    np.testing.assert_allclose(turn, [0.0, 0.0, 0.05], atol=1e-6)
    assert commands[-1].gripper == 0.4
    assert commands[-1].limited == frozenset()


def test_a_silent_device_fades_the_motion_out_and_the_expert_stays() -> None:
    bench = Bench()
    bench.controller.take_over(0)
    bench.drive((0.1, 0.0, 0.0, 0.0, 0.0, 0.0), 0.5)
    commands = bench.ticks(2.0)
    assert speed(commands[:18]).min() > 0.09
    assert speed(commands[30:]).max() < 1e-9
    assert Limit.STALE_DEVICE in commands[-1].limited
    assert commands[-1].authority is Authority.EXPERT
    resumed = bench.drive((0.1, 0.0, 0.0, 0.0, 0.0, 0.0), 0.3)
    assert speed(resumed)[-1] == pytest.approx(0.1)


def test_a_reading_that_is_not_finite_is_refused_and_the_last_one_stays() -> None:
    bench = Bench()
    assert bench.controller.teleop(Teleop(0, np.full(6, np.nan))) is not None
    assert bench.controller.teleop(Teleop(0, np.zeros(5))) is not None
    assert bench.controller.teleop(Teleop(0, np.zeros(6), float("inf"))) is not None
    assert bench.controller.teleop(Teleop(0, np.zeros(6), 0.5)) is None


@pytest.mark.parametrize(
    ("direction", "limit"),
    [
        ((1, 0, 0), Limit.WORKSPACE),
        ((0, -1, 0), Limit.WORKSPACE),
        ((0, 0, 1), Limit.WORKSPACE),
        ((0, 0, -1), Limit.TABLE),
    ],
)
def test_the_expert_comes_to_rest_at_every_wall_and_at_the_table(direction: tuple[int, int, int], limit: Limit) -> None:
    bench = Bench()
    bench.controller.take_over(0)
    commands = bench.drive((*(0.25 * d for d in direction), 0.0, 0.0, 0.0), 4.0)
    limits = bench.controller.limits
    end = commands[-1].base_from_tcp.position
    wall = {(1, 0, 0): 0.8, (0, -1, 0): -0.5, (0, 0, 1): 0.6, (0, 0, -1): 0.012}[direction]
    axis = int(np.flatnonzero(direction)[0])
    assert end[axis] == pytest.approx(wall, abs=2e-3)
    assert limit in commands[-1].limited
    positions = np.stack([command.base_from_tcp.position for command in commands])
    assert np.abs(np.diff(positions, n=2, axis=0)).max() / PERIOD_S**2 < limits.max_acceleration_m_s2 + 0.1
    away = bench.drive((*(-0.1 * d for d in direction), 0.0, 0.0, 0.0), 0.5)
    assert abs(away[-1].base_from_tcp.position[axis] - wall) > 0.03


def test_a_learner_beyond_the_walls_is_kept_inside_and_what_it_proposed_is_told() -> None:
    bench = Bench()
    bench.learn()
    bench.send(line(START.position, (0.0, 0.0, -0.02), 20))
    commands = bench.ticks(2.5)
    assert min(command.base_from_tcp.position[2] for command in commands) >= 0.012 - 1e-9
    assert Limit.TABLE in commands[-1].limited
    np.testing.assert_allclose(commands[-1].proposed.position, START.position + np.array([0.0, 0.0, -0.4]), atol=1e-9)


def test_tilting_the_tool_lifts_its_points_out_of_the_table() -> None:
    bench = Bench(measured=Pose(np.array([0.5, 0.0, 0.0125]), DOWN))
    bench.controller.take_over(0)
    for command in bench.drive((0.0, 0.0, 0.0, 0.5, 0.0, 0.0), 1.0):
        pose = command.base_from_tcp
        for point in bench.controller.limits.tool_points_m:
            assert (pose.position + pose.rotation @ np.array(point))[2] >= -1e-9


def test_a_start_outside_the_box_makes_no_jump_and_finds_its_way_in() -> None:
    bench = Bench(measured=Pose(np.array([0.85, 0.0, 0.3]), DOWN))
    bench.controller.take_over(0)
    still = bench.drive((0.1, 0.0, 0.0, 0.0, 0.0, 0.0), 0.3)
    np.testing.assert_allclose(still[-1].base_from_tcp.position, [0.85, 0.0, 0.3], atol=1e-6)
    commands = still[-1:] + bench.drive((-0.1, 0.0, 0.0, 0.0, 0.0, 0.0), 1.0)
    assert commands[-1].base_from_tcp.position[0] < 0.8
    assert speed(commands).max() < 0.11


def test_a_blocked_arm_is_not_pressed_beyond_the_leash() -> None:
    bench = Bench(blocked=True)
    bench.controller.take_over(0)
    commands = bench.drive((0.2, 0.0, 0.0, 0.0, 0.0, 0.6), 2.0)
    assert Limit.LEASH in commands[-1].limited
    limits = bench.controller.limits
    assert np.linalg.norm(commands[-1].base_from_tcp.position - START.position) <= limits.leash_m + 1e-9
    assert np.linalg.norm(rotations.log(commands[-1].base_from_tcp.rotation @ DOWN.T)) <= limits.leash_rad + 1e-6


def test_too_much_force_holds_and_gives_way_with_a_reason() -> None:
    bench = Bench()
    bench.controller.take_over(0)
    bench.drive((0.0, 0.0, -0.1, 0.0, 0.0, 0.0), 0.2)
    contact = bench.measured
    bench.blocked, bench.wrench = True, np.array([0.0, 0.0, 90.0, 0.0, 0.0, 0.0])
    command = bench.tick()
    assert command.stopped == "The force at the tool is more than 80 N."
    assert command.authority is Authority.HOLD
    assert bench.controller.watermark_ns == bench.now_ns - PERIOD_NS
    last = bench.ticks(1.0)[-1]
    np.testing.assert_allclose(last.base_from_tcp.position, contact.position, atol=1e-6)
    bench.wrench = np.zeros(6)
    after = bench.tick()
    assert after.stopped is None
    assert after.authority is Authority.HOLD


@pytest.mark.parametrize("safety", [Safety.PROTECTIVE_STOP, Safety.EMERGENCY_STOP, Safety.DISCONNECTED])
def test_a_stop_of_the_arm_itself_holds_where_the_arm_is(safety: Safety) -> None:
    bench = Bench()
    bench.learn()
    bench.send(line(START.position, (0.01, 0.0, 0.0)))
    bench.ticks(0.3)
    bench.safety = safety
    bench.blocked = True
    bench.measured = Pose(bench.measured.position + np.array([0.0, 0.02, 0.0]), DOWN)
    command = bench.ticks(0.2)[-1]
    np.testing.assert_array_equal(command.base_from_tcp.position, bench.measured.position)
    assert command.stopped is not None
    assert safety.name.lower().split("_")[0] in command.stopped
    bench.safety = Safety.NORMAL
    assert bench.tick().authority is Authority.HOLD


def test_an_old_state_of_the_arm_stops_it() -> None:
    bench = Bench()
    bench.learn()
    bench.send(line(START.position, (0.015, 0.0, 0.0)))
    bench.ticks(0.5)
    old = bench.state()
    commands = []
    for _ in range(40):
        commands.append(bench.controller.tick(bench.now_ns, old, 1.0))
        bench.now_ns += PERIOD_NS
    assert commands[5].stopped is None
    assert commands[-1].limited == {Limit.STALE_ARM}
    assert speed(commands)[-1] < 1e-9


def test_a_measured_pose_that_is_not_finite_stops_the_arm_and_is_not_commanded() -> None:
    bench = Bench(blocked=True)
    bench.controller.take_over(0)
    bench.measured = Pose(np.full(3, np.nan), DOWN)
    command = bench.tick()
    assert command.stopped == "The arm reports a pose that is not finite."
    assert np.isfinite(command.base_from_tcp.position).all()


def test_hold_brings_the_arm_to_rest_and_keeps_it_there() -> None:
    bench = Bench()
    bench.controller.take_over(0)
    bench.drive((0.2, 0.1, 0.0, 0.0, 0.0, 0.0), 0.5)
    bench.controller.hold(bench.now_ns)
    commands = bench.ticks(1.0)
    assert speed(commands)[20:].max() < 1e-9
    assert commands[-1].limited == frozenset()


TAUGHT = TaughtWorkspace(
    table_normal=(0.06, -0.08, 0.99498743710662),
    table_offset_m=0.15,
    box_min_m=(0.3, -0.2, 0.0),
    box_max_m=(0.7, 0.3, 0.45),
    margin_m=0.002,
)
SLOPE = (-TAUGHT.table_normal[0] / TAUGHT.table_normal[2], -TAUGHT.table_normal[1] / TAUGHT.table_normal[2])


def assert_within(taught: TaughtWorkspace, pose: Pose) -> None:
    """Check that TCP and tool points keep the margin from the taught table and walls."""
    tool = pose.position + np.array([(0.0, 0.0, 0.0), *ArmLimits().tool_points_m]) @ pose.rotation.T
    assert (tool @ np.array(taught.table_normal)).min() >= taught.table_offset_m + taught.margin_m - 1e-6
    assert (tool >= np.array(taught.box_min_m) + taught.margin_m - 1e-6).all()
    assert (tool <= np.array(taught.box_max_m) - taught.margin_m + 1e-6).all()


@pytest.mark.parametrize(
    ("direction", "limit"),
    [
        ((1.0, 0.0, 0.0), Limit.WORKSPACE),
        ((0.0, -1.0, 0.0), Limit.WORKSPACE),
        ((0.0, 1.0, 0.0), Limit.WORKSPACE),
        ((0.0, 0.0, 1.0), Limit.WORKSPACE),
        ((0.0, 0.0, -1.0), Limit.TABLE),
    ],
)
def test_the_expert_comes_to_rest_at_every_taught_wall_and_at_the_tilted_table(
    direction: tuple[float, float, float], limit: Limit
) -> None:
    bench = Bench(ArmController(replace(ArmLimits(), taught=TAUGHT), PERIOD_S))
    bench.controller.take_over(0)
    commands = bench.drive((*(0.25 * d for d in direction), 0.0, 0.0, 0.0), 4.0)
    for command in commands:
        assert_within(TAUGHT, command.base_from_tcp)
    assert limit in commands[-1].limited
    assert speed(commands)[-1] < 1e-3
    step = Pose(commands[-1].base_from_tcp.position + 0.005 * np.array(direction), DOWN)
    with pytest.raises(AssertionError):
        assert_within(TAUGHT, step)
    positions = np.stack([command.base_from_tcp.position for command in commands])
    most = bench.controller.limits.max_acceleration_m_s2
    assert np.abs(np.diff(positions, n=2, axis=0)).max() / PERIOD_S**2 < most + 0.1


def test_the_expert_slides_along_a_tilted_table_up_and_down_without_a_jerk() -> None:
    bench = Bench(ArmController(replace(ArmLimits(), taught=TAUGHT), PERIOD_S))
    bench.controller.take_over(0)
    bench.drive((0.0, 0.0, -0.2, 0.0, 0.0, 0.0), 3.0)
    for y in (0.1, -0.1):
        commands = bench.drive((0.0, y, -0.1, 0.0, 0.0, 0.0), 1.0)
        tool = np.array([command.base_from_tcp.position for command in commands])
        assert abs(tool[-1, 1] - tool[0, 1]) > 0.08
        rises = np.sign(y) * (tool[-1, 2] - tool[0, 2])
        assert rises == pytest.approx(SLOPE[1] * abs(tool[-1, 1] - tool[0, 1]), abs=2e-3)
        for command in commands:
            assert_within(TAUGHT, command.base_from_tcp)
        assert np.abs(np.diff(tool, n=2, axis=0)).max() / PERIOD_S**2 < 4.1


def test_a_learner_is_kept_above_a_tilted_table_and_within_taught_walls() -> None:
    bench = Bench(ArmController(replace(ArmLimits(), taught=TAUGHT), PERIOD_S))
    bench.learn()
    bench.send(line(START.position, (0.0, 0.02, -0.02), 20))
    commands = bench.ticks(2.5)
    for command in commands:
        assert_within(TAUGHT, command.base_from_tcp)
    assert {Limit.TABLE, Limit.WORKSPACE} <= commands[-1].limited


events = st.lists(
    st.one_of(
        st.sampled_from(["take_over", "hand_back", "hold"]),
        npst.arrays(np.float64, (8, 3), elements=st.floats(-0.3, 0.3)),
        npst.arrays(np.float64, 6, elements=st.floats(-1.0, 1.0)),
    ),
    max_size=12,
)


@pytest.mark.parametrize("limits", [ArmLimits(), replace(ArmLimits(), taught=TAUGHT)], ids=["configured", "taught"])
@settings(max_examples=40, deadline=None)
@given(events=events)
def test_whatever_happens_every_command_obeys_speed_box_table_and_leash(
    limits: ArmLimits, events: list[str | Array]
) -> None:
    bench = Bench(ArmController(limits, PERIOD_S))
    before = START
    climbing = 1.0 if limits.taught is None else np.hypot(1.0, np.hypot(*SLOPE))  # the floor lifts it meanwhile
    for event in events:
        if isinstance(event, str):
            getattr(bench.controller, event)(bench.now_ns)
        elif event.shape == (6,):
            bench.controller.teleop(Teleop(bench.now_ns, event))
        else:
            bench.send(START.position + event)
        for command in bench.ticks(0.1):
            pose = command.base_from_tcp
            assert np.linalg.norm(pose.position - before.position) <= climbing * limits.max_speed_m_s * PERIOD_S + 1e-6
            turned = np.linalg.norm(rotations.log(pose.rotation @ before.rotation.T))
            assert turned <= limits.max_rotation_speed_rad_s * PERIOD_S + 1e-6
            assert (pose.position >= np.array(limits.workspace_min_m) - 1e-9).all()
            assert (pose.position <= np.array(limits.workspace_max_m) + 1e-9).all()
            for point in limits.tool_points_m:
                assert (pose.position + pose.rotation @ np.array(point))[2] >= limits.table_height_m - 1e-6
            if limits.taught is not None:
                assert_within(limits.taught, pose)
            np.testing.assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-9)
            before = pose


def test_after_a_pause_of_its_own_it_goes_on_from_where_the_arm_has_come_to_rest() -> None:
    bench = Bench()
    bench.controller.take_over(bench.now_ns)
    for _ in range(50):
        bench.controller.teleop(Teleop(bench.now_ns, np.array([0.2, 0.0, 0.0, 0.0, 0.0, 0.0])))
        commanded = bench.tick().base_from_tcp
    bench.measured = Pose(commanded.position - [0.03, 0.0, 0.0], DOWN)  # it lags, and has stopped there
    bench.now_ns += 5 * STEP_NS
    bench.controller.teleop(Teleop(bench.now_ns, np.zeros(6)))
    resumed = bench.tick()
    assert np.linalg.norm(resumed.base_from_tcp.position - bench.measured.position) < 1e-9
    assert resumed.authority is Authority.EXPERT

"""The arm loop on an ideal arm and gripper, which are at once where they are told to be."""

import time
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest

from data.schema import Outcome, Owner
from drift_robot.arm_loop import ArmLoop, ArmMessage, ArmSnapshot
from drift_robot.gate import (
    EpisodeBegun,
    EpisodeEnded,
    Fault,
    FaultCleared,
    GateConfig,
    Notice,
    Phase,
    ResetBegun,
    ResetDone,
    Saved,
)
from hardware.arms import rotations
from hardware.arms.controller import ArmController, Authority, Chunk, Start
from hardware.arms.limits import ArmLimits, Limit
from hardware.clock import ManualClock
from hardware.emulation.process import EmulatedController
from hardware.grippers.robotiq import RobotiqConfig, RobotiqGripper
from hardware.grippers.ur_output import UrOutputConfig, UrOutputGripper
from hardware.interfaces import ArmState, Gripper, Safety, Teleop, Verb
from hardware.poses import Pose, action_vector

PERIOD_S = 0.01
STEP_NS = 100_000_000
DOWN = rotations.exp(np.array([np.pi, 0.0, 0.0]))
START = Pose(np.array([0.5, 0.0, 0.3]), DOWN)
OVER = (Verb.SUCCEED, Saved(), ResetDone())


class IdealArm:
    servo_period_s = PERIOD_S

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.pose = START
        self.safety = Safety.NORMAL
        self.wrench = np.zeros(6)
        self.sent = self.stops = self.confirmed = 0
        self.fault: str | None = None

    def recover(self) -> None:
        self.confirmed += 1

    def read(self) -> ArmState:
        return ArmState(self.clock.now_ns(), np.zeros(6), np.zeros(6), self.pose, self.wrench, self.safety)

    def servo(self, base_from_tcp: Pose) -> None:
        self.pose = base_from_tcp
        self.sent += 1

    def stop(self) -> None:
        self.stops += 1

    def close(self) -> None:
        self.stop()


class IdealGripper:
    def __init__(self) -> None:
        self.opening = 1.0
        self.moves: list[float] = []
        self.hangs = False
        self.fault: str | None = None
        self.confirmed = 0

    def recover(self) -> None:
        self.confirmed += 1

    def read(self) -> float:
        return self.opening

    def move(self, opening: float) -> None:
        if self.fault is None and not self.hangs:
            self.opening = opening
            self.moves.append(opening)

    def close(self) -> None:
        pass


class Bench:
    def __init__(self, config: GateConfig | None = None, start: Start | None = None) -> None:
        self.clock = ManualClock(5 * STEP_NS)
        self.arm, self.gripper = IdealArm(self.clock), IdealGripper()
        self.started(self.gripper, config, start)

    def started(self, gripper: Gripper, config: GateConfig | None = None, start: Start | None = None) -> None:
        """Start the loop anew on the arm and a gripper as they are, as after the arm process has died."""
        controller = ArmController(ArmLimits(), PERIOD_S)
        self.loop = ArmLoop(config or GateConfig(), controller, self.arm, gripper, self.clock, start)

    def post(self, *messages: ArmMessage) -> ArmSnapshot:
        for message in messages:
            self.loop.post(message)
        self.loop.settle()
        return self.loop.snapshot()

    def run(self, seconds: float) -> ArmSnapshot:
        for _ in range(round(seconds / PERIOD_S)):
            self.loop.tick()
            self.clock.advance_s(PERIOD_S)
        return self.loop.snapshot()

    def chunk(self, step: tuple[float, float, float], n: int = 16, gripper: float = 1.0) -> Chunk:
        now_ns = self.clock.now_ns()
        actions = np.stack(
            [action_vector(Pose(self.arm.pose.position + k * np.array(step), DOWN), gripper) for k in range(1, n + 1)]
        )
        return Chunk(now_ns, now_ns + STEP_NS * np.arange(1, n + 1), actions)

    def teleop(self, *twist: float, gripper: float = 1.0, verbs: tuple[Verb, ...] = ()) -> Teleop:
        return Teleop(self.clock.now_ns(), np.array(twist), gripper, verbs)


def test_at_first_the_arm_holds_where_it_is() -> None:
    bench = Bench()
    snapshot = bench.run(0.5)
    assert (snapshot.phase, snapshot.authority, snapshot.owner) == (Phase.IDLE, Authority.HOLD, Owner.TRANSITION)
    np.testing.assert_allclose(snapshot.commanded.position, START.position, atol=1e-12)
    assert bench.arm.sent == 50


def test_a_chunk_posted_with_its_observation_is_executed_and_read_back_at_its_times() -> None:
    bench = Bench()
    assert bench.post(Verb.RESUME).phase is Phase.LEARNER
    chunk = bench.chunk((0.008, 0.0, -0.004), gripper=0.0)
    bench.post(chunk)
    for k in range(8):
        snapshot = bench.run(0.1)
        assert snapshot.time_ns == snapshot.state.capture_ns == chunk.times_ns[k]
        np.testing.assert_allclose(snapshot.commanded.position, chunk.actions[k, :3], atol=1e-3)
        np.testing.assert_allclose(snapshot.state.base_from_tcp.position, snapshot.commanded.position)
        assert snapshot.owner is Owner.LEARNER
    assert bench.gripper.moves == [0.0]
    assert snapshot.commanded_gripper == snapshot.gripper == 0.0


def test_a_learner_whose_chunk_is_none_is_held_until_the_operators_word() -> None:
    bench = Bench()
    bench.post(ResetDone(), Verb.RESUME, bench.chunk((0.005, 0.0, 0.0)))
    bench.run(0.3)
    bad = bench.chunk((0.005, 0.0, 0.0))
    bad.actions[3, 4] = np.nan
    held = bench.post(bad)
    assert (held.phase, held.authority) == (Phase.HOLD, Authority.HOLD)
    assert any(
        isinstance(event, Notice) and event.sentence.startswith("The learner's waypoints hold numbers that are not")
        for event in held.events
    )
    rest = bench.run(0.5).commanded.position
    bench.post(bench.chunk((0.005, 0.0, 0.0)))
    assert np.array_equal(bench.run(1.0).commanded.position, rest), "a good chunk does not set it going again"
    assert bench.post(Verb.RESUME).phase is Phase.LEARNER


def test_a_learner_whose_waypoints_run_out_is_held_until_the_operators_word() -> None:
    bench = Bench()
    bench.post(ResetDone(), Verb.RESUME, bench.chunk((0.005, 0.0, 0.0), 4))
    assert bench.run(0.5).phase is Phase.LEARNER
    held = bench.run(0.3)
    assert held.phase is Phase.HOLD
    assert Notice(f"{Limit.STARVED.value} Resume, or take over.") in held.events
    bench.post(bench.chunk((0.005, 0.0, 0.0)))
    assert np.array_equal(bench.run(1.0).commanded.position, held.commanded.position)


def test_a_takeover_counts_from_the_policy_step_at_which_it_was_posted() -> None:
    bench = Bench()
    bench.post(Verb.RESUME, bench.chunk((0.01, 0.0, 0.0)))
    bench.post(bench.chunk((0.01, 0.0, 0.0)))
    bench.run(0.5)
    now_ns = bench.clock.now_ns()
    snapshot = bench.post(Verb.TAKEOVER, bench.teleop(0.0, 0.1, 0.0, 0.0, 0.0, 0.0))
    assert (snapshot.owner, snapshot.owner_since_ns, snapshot.watermark_ns) == (Owner.TRANSITION, now_ns, now_ns)
    assert bench.run(0.3).owner is Owner.TRANSITION
    bench.post(bench.teleop(0.0, 0.1, 0.0, 0.0, 0.0, 0.0))
    snapshot = bench.run(0.1)
    assert (snapshot.owner, snapshot.owner_since_ns) == (Owner.EXPERT, now_ns + 3 * STEP_NS)


def test_a_hand_back_waits_for_a_chunk_from_a_later_observation() -> None:
    bench = Bench()
    bench.post(Verb.RESUME)
    late = bench.chunk((0.01, 0.0, 0.0))
    bench.post(Verb.TAKEOVER)
    bench.run(0.5)
    snapshot = bench.post(Verb.HANDBACK, late)
    assert snapshot.refusal == "The learner's waypoints were computed 0.500 s before the last change of authority."
    snapshot = bench.run(0.1)
    assert snapshot.limited == {Limit.WAITING}
    snapshot = bench.post(bench.chunk((0.01, 0.0, 0.0)))
    assert bench.run(0.1).limited == frozenset()


def test_verbs_on_the_device_itself_are_followed_with_its_twist() -> None:
    bench = Bench()
    snapshot = bench.post(bench.teleop(*[0.0] * 6, verbs=(Verb.RESUME, Verb.TAKEOVER)))
    assert snapshot.phase is Phase.TRANSITION
    bench.post(bench.teleop(0.1, 0.0, 0.0, 0.0, 0.0, 0.0, gripper=0.2))
    snapshot = bench.run(0.1)
    assert snapshot.commanded.position[0] > START.position[0] + 0.005
    assert snapshot.commanded_gripper == 0.2


def test_a_silent_device_stops_the_arm_and_leaves_it_with_the_expert() -> None:
    bench = Bench()
    bench.post(Verb.RESUME, Verb.TAKEOVER, bench.teleop(0.1, 0.0, 0.0, 0.0, 0.0, 0.0))
    bench.run(0.5)
    at_rest = bench.loop.snapshot().commanded.position
    snapshot = bench.run(3.0)
    np.testing.assert_allclose(snapshot.commanded.position, at_rest, atol=1e-9)
    assert (snapshot.phase, snapshot.limited) == (Phase.EXPERT, {Limit.STALE_DEVICE})


@pytest.mark.parametrize("mode", ["adapt", "evaluate"])
def test_a_silent_device_holds_the_learner_until_it_answers_and_the_operator_resumes(
    mode: Literal["adapt", "evaluate"],
) -> None:
    bench = Bench(GateConfig(mode=mode))
    bench.post(bench.teleop(*[0.0] * 6, verbs=(Verb.RESUME,)), bench.chunk((0.005, 0.0, 0.0), n=40))
    assert bench.run(0.2).phase is Phase.LEARNER
    held = bench.run(0.1)
    assert (held.phase, held.authority) == (Phase.HOLD, Authority.HOLD)
    assert "The input device is silent, so the arm holds" in str(held.events)
    rest = bench.run(0.8).commanded.position
    bench.post(bench.teleop(*[0.0] * 6), bench.chunk((0.005, 0.0, 0.0)))
    assert np.array_equal(bench.run(0.1).commanded.position, rest), "it goes on by itself"
    assert bench.post(bench.teleop(*[0.0] * 6, verbs=(Verb.RESUME,))).phase is Phase.LEARNER


def test_while_the_device_is_silent_nothing_that_others_press_moves_the_arm() -> None:
    bench = Bench(start=Start(START))
    bench.post(bench.teleop(*[0.0] * 6))
    bench.run(0.3)
    away(bench)
    there = bench.run(0.2).commanded.position
    for verb, phase in ((Verb.RESET, Phase.IDLE), (Verb.RESUME, Phase.HOLD), (Verb.RESUME, Phase.HOLD)):
        assert bench.post(verb).phase is phase
        assert bench.run(0.5).authority is Authority.HOLD
    assert bench.post(Verb.DISCARD, Saved()).phase is Phase.IDLE, "nor does the end of an episode"
    np.testing.assert_array_equal(bench.run(0.5).commanded.position, there)


def test_a_device_that_falls_silent_stops_a_real_arm_on_its_way_to_the_start() -> None:
    bench = Bench()
    away(bench)
    bench.started(bench.gripper, start=Start(START))
    bench.post(bench.teleop(*[0.0] * 6, verbs=(Verb.RESET,)))
    assert bench.run(0.2).authority is Authority.RETURN
    stopped = bench.run(0.5)
    assert (stopped.phase, stopped.authority) == (Phase.IDLE, Authority.HOLD)
    assert "so the reset is cancelled: check its cable" in str(stopped.events)
    bench.post(bench.teleop(*[0.0] * 6))
    np.testing.assert_array_equal(bench.run(0.1).commanded.position, stopped.commanded.position)
    assert bench.post(bench.teleop(*[0.0] * 6, verbs=(Verb.RESET,))).phase is Phase.RESETTING


def test_a_simulated_cell_is_put_back_without_anybodys_device() -> None:
    bench = Bench()
    bench.post(bench.teleop(*[0.0] * 6), Verb.RESET)
    assert bench.run(1.0).phase is Phase.RESETTING
    assert bench.post(ResetDone()).phase is Phase.IDLE


def test_without_any_device_as_in_a_replay_nothing_counts_as_silent() -> None:
    bench = Bench(GateConfig(mode="evaluate"))
    bench.post(Verb.RESUME, bench.chunk((0.005, 0.0, 0.0), n=40))
    assert bench.run(3.0).phase is Phase.LEARNER


def test_events_are_handed_out_once_and_in_order() -> None:
    bench = Bench()
    snapshot = bench.post(Verb.RESUME, Verb.RECOVERED, Verb.SUCCEED)
    events = [event for event in snapshot.events if isinstance(event, EpisodeBegun | EpisodeEnded)]
    assert events == [EpisodeBegun(), EpisodeEnded(Outcome.SUCCESS)]
    assert snapshot.refusal == "Only a driving expert can mark a recovery."
    assert bench.loop.snapshot().events == ()


def test_between_episodes_nothing_is_sent_while_the_scene_is_reset_and_the_arm_is_not_pulled_back() -> None:
    bench = Bench()
    bench.post(Verb.RESUME)
    bench.post(bench.chunk((0.01, 0.0, 0.0)))
    bench.run(0.5)
    bench.post(Verb.SUCCEED)
    bench.run(0.5)
    snapshot = bench.post(Saved())
    assert snapshot.events == (ResetBegun(),)
    assert bench.arm.stops == 1
    sent = bench.arm.sent
    bench.arm.pose = Pose(np.array([0.6, 0.2, 0.4]), DOWN)
    bench.gripper.opening = 0.5
    bench.run(0.2)
    assert bench.arm.sent == sent
    bench.arm.pose = Pose(np.array([0.4, -0.2, 0.4]), DOWN)
    snapshot = bench.post(ResetDone())
    np.testing.assert_array_equal(snapshot.commanded.position, bench.arm.pose.position)
    assert snapshot.commanded_gripper == 0.5
    np.testing.assert_allclose(bench.run(0.2).commanded.position, [0.4, -0.2, 0.4])


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ({"safety": Safety.PROTECTIVE_STOP}, "protective stop"),
        ({"wrench": np.array([100.0, 0.0, 0.0, 0.0, 0.0, 0.0])}, "more than 80 N"),
    ],
)
def test_trouble_with_the_arm_is_a_fault_until_it_is_gone_and_the_operator_resumes(
    trouble: dict[str, object], words: str
) -> None:
    bench = Bench()
    bench.post(Verb.RESUME)
    bench.post(bench.chunk((0.01, 0.0, 0.0)))
    bench.run(0.3)
    for name, value in trouble.items():
        setattr(bench.arm, name, value)
    snapshot = bench.run(0.7)
    assert (snapshot.phase, snapshot.authority) == (Phase.FAULT, Authority.HOLD)
    assert words in str(snapshot.stopped)
    assert words in str(snapshot.events)
    assert "still there" in str(bench.post(Verb.RESUME).refusal)
    bench.arm.safety, bench.arm.wrench = Safety.NORMAL, np.zeros(6)
    assert bench.run(0.1).phase is Phase.FAULT
    snapshot = bench.post(Verb.RESUME)
    assert snapshot.phase is Phase.LEARNER
    assert bench.run(0.1).limited == {Limit.WAITING}


def test_an_arm_that_is_stopped_by_its_safety_system_is_sent_nothing() -> None:
    bench = Bench()
    bench.arm.safety = Safety.EMERGENCY_STOP
    bench.run(0.2)
    assert bench.arm.sent == 0


def test_a_fault_of_another_device_is_not_cleared_by_a_healthy_arm() -> None:
    bench = Bench()
    bench.post(Verb.RESUME, Fault("Camera wrist is stale for 0.7 s.", "wrist"))
    assert bench.run(0.8).phase is Phase.FAULT
    assert "Camera wrist" in str(bench.post(Verb.RESUME).refusal)
    assert bench.post(FaultCleared("wrist"), Verb.RESUME).phase is Phase.LEARNER


def test_many_episodes_in_a_row_begin_and_end_alike() -> None:
    bench = Bench()
    begun = ended = 0
    for _ in range(3):
        events = [*bench.post(Verb.RESUME).events]
        bench.post(bench.chunk((0.005, 0.0, 0.0)))
        bench.run(0.5)
        events += bench.post(*OVER).events
        begun += events.count(EpisodeBegun())
        ended += events.count(EpisodeEnded(Outcome.SUCCESS))
        assert bench.run(0.1).phase is Phase.IDLE
    assert (begun, ended) == (3, 3)


def away(bench: Bench) -> None:
    """Put arm and gripper where an episode may have left them, known to the loop."""
    bench.arm.pose = Pose(np.array([0.35, -0.2, 0.05]), rotations.exp(np.array([0.0, 0.0, 0.5])) @ DOWN)
    bench.gripper.opening = 0.2


def test_a_reset_takes_a_real_arm_up_then_across_to_the_start_and_opens_the_gripper_there() -> None:
    bench = Bench(start=Start(START, opening=1.0))
    away(bench)
    bench.started(bench.gripper, start=Start(START, 1.0))
    bench.post(Verb.RESET)
    path = [bench.arm.pose.position]
    for _ in range(400):
        snapshot = bench.run(PERIOD_S)
        path.append(bench.arm.pose.position)
        if snapshot.at_start:
            break
        assert snapshot.authority is Authority.RETURN
    positions = np.array(path)
    low = positions[:, 2] < START.position[2] - 0.01
    assert np.abs(positions[low][:, :2] - positions[0, :2]).max() < 1e-9
    assert np.linalg.norm(np.diff(positions, axis=0), axis=1).max() <= ArmLimits().slew_speed_m_s * PERIOD_S * 1.001
    np.testing.assert_allclose(positions[-1], START.position, atol=0.006)
    assert snapshot.at_start
    assert bench.gripper.opening == 1.0
    assert bench.post(ResetDone()).phase is Phase.IDLE
    assert bench.run(0.1).authority is Authority.HOLD


@pytest.mark.parametrize("message", [Verb.HOLD, Fault("Somebody is in the way.", "operator")])
def test_a_return_to_the_start_is_cancelled_by_a_hold_and_by_a_fault(message: ArmMessage) -> None:
    bench = Bench()
    away(bench)
    bench.started(bench.gripper, start=Start(START))
    bench.post(Verb.RESET)
    assert bench.run(0.5).authority is Authority.RETURN
    assert bench.post(message).authority is Authority.HOLD
    bench.run(0.3)
    stopped_at = bench.arm.pose.position
    assert not bench.run(0.5).at_start
    np.testing.assert_allclose(bench.arm.pose.position, stopped_at, atol=1e-6)
    assert np.linalg.norm(stopped_at - START.position) > 0.05


def test_the_operators_word_after_a_fault_of_a_device_readies_it_and_a_second_one_goes_on() -> None:
    bench = Bench()
    bench.post(Verb.RESUME)
    bench.arm.fault, bench.arm.safety = "The robot made a protective stop.", Safety.PROTECTIVE_STOP
    snapshot = bench.run(0.05)
    assert (snapshot.phase, snapshot.authority) == (Phase.FAULT, Authority.HOLD)
    assert Notice("The robot made a protective stop.", fault=True) in snapshot.events
    snapshot = bench.post(Verb.RESUME)
    assert bench.arm.confirmed == 1
    assert snapshot.phase is Phase.FAULT
    sent = bench.arm.sent
    bench.run(0.5)
    assert bench.arm.sent == sent, "nothing moves before the arm says that it is ready"
    bench.arm.fault, bench.arm.safety = None, Safety.NORMAL
    assert bench.run(0.5).phase is Phase.FAULT
    assert bench.post(Verb.RESUME).phase is Phase.LEARNER
    assert bench.arm.confirmed == 1


def test_a_fault_of_the_gripper_stops_the_arm_until_the_operators_word() -> None:
    bench = Bench()
    bench.post(Verb.RESUME)
    bench.gripper.fault = "The link to the gripper broke."
    assert bench.run(0.05).phase is Phase.FAULT
    bench.post(Verb.RESUME)
    assert (bench.gripper.confirmed, bench.arm.confirmed) == (1, 0)
    bench.gripper.fault = None
    bench.run(0.7)
    assert bench.post(Verb.RESUME).phase is Phase.LEARNER


def test_an_opening_that_a_failing_gripper_did_not_take_is_neither_believed_nor_lost() -> None:
    bench = Bench(GateConfig(mode="collect"), Start(START))
    bench.post(Verb.RESUME, bench.teleop(*[0.0] * 6))
    bench.run(0.1)
    bench.gripper.hangs = True
    bench.post(bench.teleop(*[0.0] * 6, gripper=0.0))
    assert bench.run(0.1).commanded_gripper == 0.0
    bench.gripper.fault = "The link to the gripper broke."
    assert bench.run(0.8).phase is Phase.FAULT
    bench.gripper.fault, bench.gripper.hangs = None, False
    cleared = bench.run(PERIOD_S)
    assert Verb.RESUME in bench.loop.offered()
    assert cleared.commanded_gripper == cleared.gripper == 1.0, "closed fingers were recorded that are open"
    bench.post(bench.teleop(*[0.0] * 6, gripper=cleared.commanded_gripper, verbs=(Verb.RESUME,)))
    assert bench.run(0.1).phase is Phase.EXPERT
    assert bench.gripper.moves == [], "the fingers moved unasked"
    bench.post(bench.teleop(*[0.0] * 6, gripper=0.0))
    bench.run(0.1)
    assert bench.gripper.moves == [0.0]


@pytest.mark.realtime
def test_a_close_in_the_last_moment_of_a_robotiq_is_not_taken_for_done(
    emulate: Callable[..., EmulatedController], host: str
) -> None:
    robot, bench = emulate(), Bench()
    gripper = RobotiqGripper(RobotiqConfig(host=host, timeout_s=2.0))

    def until(condition: Callable[[], bool], *readings: float) -> None:
        deadline = time.monotonic() + 60.0
        while not condition():
            assert time.monotonic() < deadline
            bench.post(*(bench.teleop(*[0.0] * 6, gripper=opening) for opening in readings))
            bench.run(PERIOD_S)
            time.sleep(PERIOD_S)

    try:
        bench.started(gripper, GateConfig(mode="collect"), Start(START))
        bench.post(Verb.RESUME)
        robot.do("silence", on=True)
        time.sleep(0.2)  # the driver waits for an answer
        until(lambda: gripper.fault is not None, 0.0)
        assert bench.run(PERIOD_S).phase is Phase.FAULT
        robot.do("silence", on=False)
        bench.post(Verb.RESUME)
        until(lambda: Verb.RESUME in bench.loop.offered() and gripper.fault is None)
        assert bench.post(Verb.RESUME).commanded_gripper == pytest.approx(1.0, abs=0.01)
        until(lambda: gripper.read() < 0.01, 0.0)
    finally:
        gripper.close()


class LosingOutputs:
    """The arm's outputs, which are not set once the arm fails, nor shortly before that is known."""

    def __init__(self, arm: IdealArm) -> None:
        self.arm, self.level, self.lost = arm, False, False

    @property
    def fault(self) -> str | None:
        return self.arm.fault

    def set_digital_output(self, output: int, level: bool) -> None:
        self.level = self.level if self.lost else level

    def digital_output(self, output: int) -> bool:
        return self.level


def test_an_output_that_was_lost_in_a_fault_of_the_arm_is_set_when_it_is_wanted_again() -> None:
    bench = Bench()
    outputs = LosingOutputs(bench.arm)
    bench.started(UrOutputGripper(UrOutputConfig(output=0), outputs, bench.clock), GateConfig(mode="collect"))
    bench.post(Verb.RESUME, bench.teleop(*[0.0] * 6))
    bench.run(0.1)
    outputs.lost = True
    bench.post(bench.teleop(*[0.0] * 6, gripper=0.0))
    bench.run(PERIOD_S)
    bench.arm.fault = "The robot made a protective stop."
    stopped = bench.run(0.8)
    assert sum(isinstance(event, Notice) for event in stopped.events) == 1
    bench.arm.fault, outputs.lost = None, False
    assert bench.run(0.1).commanded_gripper == 1.0
    assert not outputs.level
    bench.post(Verb.RESUME, bench.teleop(*[0.0] * 6, gripper=0.0))
    bench.run(0.1)
    assert outputs.level


def test_a_real_gripper_that_holds_something_is_told_nothing_when_the_arm_process_starts_again() -> None:
    bench = Bench()
    bench.gripper.opening = 0.4
    bench.started(bench.gripper, start=Start(START))
    bench.post(Fault("The arm process was started again."), FaultCleared())
    assert bench.run(0.5).commanded_gripper == 0.4
    assert bench.gripper.moves == []

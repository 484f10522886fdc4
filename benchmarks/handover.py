"""Measure what a takeover and a hand-back do to the commanded motion: steps in position, velocity and acceleration.

Run: python benchmarks/handover.py. A learner drives along a curve in chunks of 16 waypoints, an expert takes over at a
random moment with a random twist, and hands back; an ideal arm, 100 Hz and 500 Hz, on a clock that is stepped by hand.
"""

import time

import numpy as np

from hardware.arms import rotations
from hardware.arms.controller import ArmController, Chunk
from hardware.arms.limits import ArmLimits
from hardware.interfaces import ArmState, Teleop
from hardware.poses import Array, Pose, action_vector

STEP_NS = 100_000_000
DOWN = rotations.exp(np.array([np.pi, 0.0, 0.0]))
HANDOVERS = 40


def waypoint(time_ns: int) -> Array:
    t = time_ns / 1e9
    position = np.array([0.5, 0.0, 0.3]) + 0.08 * np.array([np.sin(1.1 * t), np.sin(0.7 * t), 0.5 * np.sin(1.7 * t)])
    return action_vector(Pose(position, rotations.exp(np.array([0.0, 0.0, 0.3 * np.sin(t)])) @ DOWN), 1.0)


def measure(period_s: float, rng: np.random.Generator) -> None:
    controller = ArmController(ArmLimits(), period_s)
    period_ns, now_ns = round(period_s * 1e9), 0
    pose = Pose(waypoint(0)[:3], DOWN)
    controller.restart(pose, 1.0, 0)
    positions, takeovers, handbacks, costs, errors = [], [], [], [], []

    def run(seconds: float, twist: Array | None) -> None:
        nonlocal now_ns, pose
        for k in range(round(seconds / period_s)):
            if twist is None and k % round(0.8 / period_s) == 0:
                times = now_ns + STEP_NS * np.arange(1, 17)
                refusal = controller.schedule(
                    Chunk(now_ns, times, np.stack([waypoint(t) for t in times.tolist()])), now_ns
                )
                if refusal:
                    raise RuntimeError(refusal.sentence)
            if twist is not None:
                controller.teleop(Teleop(now_ns, twist))
            begin = time.perf_counter()
            command = controller.tick(now_ns, ArmState(now_ns, np.zeros(6), np.zeros(6), pose, np.zeros(6)), 1.0)
            costs.append(time.perf_counter() - begin)
            pose = command.base_from_tcp
            positions.append(pose.position)
            now_ns += period_ns
        errors.append(float(np.linalg.norm(pose.position - waypoint(now_ns)[:3])))

    for _ in range(HANDOVERS):
        handbacks.append(len(positions))
        controller.hand_back(now_ns)
        run(float(rng.integers(20, 40)) / 10, None)
        learner_error = errors[-1]
        takeovers.append(len(positions))
        controller.take_over(now_ns)
        run(float(rng.integers(5, 20)) / 10, np.concatenate([rng.uniform(-0.08, 0.08, 3), np.zeros(3)]))
        errors[-1] = learner_error
    track = np.stack(positions)
    velocity = np.diff(track, axis=0) / period_s
    acceleration = np.diff(velocity, axis=0) / period_s
    print(f"{1 / period_s:.0f} Hz, {HANDOVERS} of each; tick {np.median(costs) * 1e6:.0f} us median")
    for name, moments in (("takeover", takeovers), ("hand-back", handbacks[1:])):
        step = max(float(np.linalg.norm(track[k] - track[k - 1] - (track[k - 1] - track[k - 2]))) for k in moments)
        jump = max(float(np.linalg.norm(velocity[k - 1] - velocity[k - 2])) for k in moments)
        print(f"  {name:9s} largest step in position {step * 1e3:.3f} mm, in velocity {jump * 1e3:.1f} mm/s")
    print(f"  whole run largest acceleration {np.abs(acceleration).max():.2f} m/s2 per axis")
    print(f"  largest distance to the learner's curve 2 s or more after a hand-back {max(errors) * 1e3:.3f} mm")


def measure_scheduling() -> None:
    """Time the scheduling of chunks that replace each other, as a learner sends them."""
    print("Scheduling a chunk, median of 2000:")
    for count in (8, 16):
        controller, costs = ArmController(ArmLimits(), 0.002), []
        controller.restart(Pose(waypoint(0)[:3], DOWN), 1.0, 0)
        controller.hand_back(0)
        actions = [np.stack([waypoint(k * STEP_NS + n * STEP_NS) for n in range(1, count + 1)]) for k in range(2000)]
        for k, chunk in enumerate(actions):
            now_ns = k * STEP_NS
            times = now_ns + STEP_NS * np.arange(1, count + 1)
            begin = time.perf_counter()
            controller.schedule(Chunk(now_ns, times, chunk), now_ns)
            costs.append(time.perf_counter() - begin)
        print(f"  {count:2d} waypoints {np.median(costs) * 1e6:.0f} us")


if __name__ == "__main__":
    for servo_period_s in (0.01, 0.002):
        measure(servo_period_s, np.random.default_rng(0))
    measure_scheduling()

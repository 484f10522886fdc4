"""What flows between the processes of a session at a high rate: fixed records and what they stand for.

Small messages are in `messages`. Rotations travel as matrices, so that nothing is rounded on the way.
"""

from typing import Any

import numpy as np

from data.schema import EpisodeLayout, Outcome, Owner
from drift_robot.arm_loop import ArmSnapshot
from drift_robot.gate import Effect, Phase
from drift_robot.status import Cadence
from hardware.arms.controller import Authority, Chunk
from hardware.arms.limits import Limit
from hardware.cell.task import Scene
from hardware.interfaces import ArmState, Safety, Teleop, Verb
from hardware.poses import ACTION_DIM, Array, Pose

Fields = dict[str, Any]
PHASES, LIMITS, VERBS = tuple(Phase), tuple(Limit), tuple(Verb)
SENTENCE = "S400"
MAX_VERBS = 4

POSE = np.dtype([("position", "<f8", (3,)), ("rotation", "<f8", (3, 3))])
ARM_STATE = [
    ("capture_ns", "<i8"),
    ("joints", "<f8", (6,)),
    ("joint_velocities", "<f8", (6,)),
    ("base_from_tcp", POSE),
    ("wrench", "<f8", (6,)),
    ("safety", "u1"),
    ("opening", "<f8"),
]


def _pose_fields(pose: Pose) -> tuple[Array, Array]:
    return pose.position, pose.rotation


def _pose(record: Any) -> Pose:
    return Pose(record["position"].copy(), record["rotation"].copy())


def _arm_state_fields(state: ArmState, opening: float) -> Fields:
    return {
        "capture_ns": state.capture_ns,
        "joints": state.joints,
        "joint_velocities": state.joint_velocities,
        "base_from_tcp": _pose_fields(state.base_from_tcp),
        "wrench": state.wrench,
        "safety": int(state.safety),
        "opening": opening,
    }


def arm_state(record: Any) -> ArmState:
    """Return the arm's state in a record of the cell or of the arm."""
    return ArmState(
        int(record["capture_ns"]),
        record["joints"].copy(),
        record["joint_velocities"].copy(),
        _pose(record["base_from_tcp"]),
        record["wrench"].copy(),
        Safety(int(record["safety"])),
    )


def cell_dtype(objects: int, state_size: int) -> np.dtype[Any]:
    """Return the record of the simulated cell: arm and gripper, objects true and tracked, what a picture shows."""
    return np.dtype(
        [
            *ARM_STATE,
            ("objects", POSE, (objects,)),
            ("tracked", POSE, (objects,)),
            ("drawing", "<f8", (state_size,)),
            ("scene", "<i8"),
            ("succeeded", "?"),
        ]
    )


def cell_fields(
    state: ArmState,
    opening: float,
    objects: tuple[Pose, ...],
    tracked: tuple[Pose, ...],
    drawing: Array,
    scene: int,
    succeeded: bool,
) -> Fields:
    """Return the fields of the cell's record; `scene` is the number of the scene that stands."""
    return {
        **_arm_state_fields(state, opening),
        "objects": [_pose_fields(pose) for pose in objects],
        "tracked": [_pose_fields(pose) for pose in tracked],
        "drawing": drawing,
        "scene": scene,
        "succeeded": succeeded,
    }


def true_scene(record: Any) -> Scene:
    """Return what only a scripted expert may see."""
    poses = tuple(_pose(item) for item in record["objects"])
    return Scene(_pose(record["base_from_tcp"]), float(record["opening"]), poses)


def tracked_objects(record: Any) -> tuple[Pose, ...]:
    """Return base_from_object of the objects as the tracker perceives them."""
    return tuple(_pose(item) for item in record["tracked"])


SERVO = np.dtype([("moving", "?"), ("target", POSE), ("opening", "<f8")])


def servo_fields(target: Pose | None, opening: float) -> Fields:
    """Return the fields of a servo command: a target base_from_tcp, or None to stop, and the gripper's opening."""
    if target is None:
        return {"moving": False, "opening": opening}
    return {"moving": True, "target": _pose_fields(target), "opening": opening}


def servo_target(record: Any) -> Pose | None:
    """Return the target base_from_tcp, or None to stop."""
    return _pose(record["target"]) if record["moving"] else None


ARM = np.dtype(
    [
        ("time_ns", "<i8"),
        *ARM_STATE,
        ("commanded", POSE),
        ("commanded_gripper", "<f8"),
        ("proposed", POSE),
        ("authority", "u1"),
        ("phase", "u1"),
        ("owner", "u1"),
        ("owner_since_ns", "<i8"),
        ("recovered", "?"),
        ("watermark_ns", "<i8"),
        ("at_start", "?"),
        ("limited", "<u4"),
        ("stopped", SENTENCE),
        ("refusal", SENTENCE),
        ("fault", SENTENCE),
        ("said", "<i8"),
        ("offered", "<u4"),
        ("target_hz", "<f8"),
        ("measured_hz", "<f8"),
        ("worst_late_s", "<f8"),
    ]
)


def arm_fields(arm: ArmSnapshot, said: int, offered: tuple[Verb, ...], cadence: Cadence) -> Fields:
    """Return the fields of the arm's record; its effects travel as messages, the last of them numbered `said`."""
    return {
        "time_ns": arm.time_ns,
        **_arm_state_fields(arm.state, arm.gripper),
        "commanded": _pose_fields(arm.commanded),
        "commanded_gripper": arm.commanded_gripper,
        "proposed": _pose_fields(arm.proposed),
        "authority": int(arm.authority),
        "phase": PHASES.index(arm.phase),
        "owner": int(arm.owner),
        "owner_since_ns": arm.owner_since_ns,
        "recovered": arm.recovered,
        "watermark_ns": arm.watermark_ns,
        "at_start": arm.at_start,
        "limited": sum(1 << LIMITS.index(limit) for limit in arm.limited),
        "stopped": (arm.stopped or "").encode(),
        "refusal": (arm.refusal or "").encode(),
        "fault": (arm.fault or "").encode(),
        "said": said,
        "offered": sum(1 << VERBS.index(verb) for verb in offered),
        "target_hz": cadence.target_hz,
        "measured_hz": cadence.measured_hz,
        "worst_late_s": cadence.worst_late_s,
    }


def cadence_of(record: Any) -> Cadence:
    """Return how well the arm process keeps its rate, in the arm's record."""
    return Cadence(float(record["target_hz"]), float(record["measured_hz"]), float(record["worst_late_s"]))


def phase_of(record: Any) -> Phase:
    """Return the gate's phase in the arm's record."""
    return PHASES[int(record["phase"])]


def offered_of(record: Any) -> tuple[Verb, ...]:
    """Return the verbs that the gate would follow, in the arm's record."""
    mask = int(record["offered"])
    return tuple(verb for bit, verb in enumerate(VERBS) if mask >> bit & 1)


def limits_of(record: Any) -> frozenset[Limit]:
    """Return the bounds that changed or stopped the last command, in the arm's record."""
    mask = int(record["limited"])
    return frozenset(limit for bit, limit in enumerate(LIMITS) if mask >> bit & 1)


def fault_of(record: Any) -> str | None:
    """Return why the gate has stopped the arm, in the arm's record."""
    return record["fault"].decode(errors="ignore") or None


def arm_snapshot(record: Any, events: tuple[Effect, ...]) -> ArmSnapshot:
    """Return the arm's snapshot from its record and the effects that came with it."""
    return ArmSnapshot(
        time_ns=int(record["time_ns"]),
        state=arm_state(record),
        gripper=float(record["opening"]),
        commanded=_pose(record["commanded"]),
        commanded_gripper=float(record["commanded_gripper"]),
        proposed=_pose(record["proposed"]),
        authority=Authority(int(record["authority"])),
        phase=phase_of(record),
        owner=Owner(int(record["owner"])),
        owner_since_ns=int(record["owner_since_ns"]),
        recovered=bool(record["recovered"]),
        watermark_ns=int(record["watermark_ns"]),
        limited=limits_of(record),
        stopped=record["stopped"].decode(errors="ignore") or None,
        refusal=record["refusal"].decode(errors="ignore") or None,
        fault=fault_of(record),
        at_start=bool(record["at_start"]),
        events=events,
    )


def chunk_dtype(horizon: int) -> np.dtype[Any]:
    """Return the record of the learner's chunks of `horizon` waypoints."""
    return np.dtype(
        [
            ("observation_ns", "<i8"),
            ("times_ns", "<i8", (horizon,)),
            ("actions", "<f8", (horizon, ACTION_DIM)),
            ("version", "<i8"),
        ]
    )


def chunk_of(record: Any) -> Chunk:
    """Return the chunk in a record."""
    return Chunk(
        int(record["observation_ns"]), record["times_ns"].copy(), record["actions"].copy(), int(record["version"])
    )


TELEOP = np.dtype(
    [
        ("capture_ns", "<i8"),
        ("twist", "<f8", (6,)),
        ("gripper", "<f8"),
        ("verbs", "i1", (MAX_VERBS,)),
        ("deadman", "?"),
    ]
)


def teleop_fields(reading: Teleop) -> list[Fields]:
    """Return the fields of the records of one reading: more than one if it brings more than four verbs."""
    numbers = [VERBS.index(verb) for verb in reading.verbs]
    rows = [numbers[start : start + MAX_VERBS] for start in range(0, len(numbers), MAX_VERBS)] or [[]]
    return [
        {
            "capture_ns": reading.capture_ns,
            "twist": reading.twist,
            "gripper": reading.gripper,
            "verbs": row + [-1] * (MAX_VERBS - len(row)),
            "deadman": reading.deadman,
        }
        for row in rows
    ]


def teleop_of(record: Any) -> Teleop:
    """Return the reading in a record."""
    verbs = tuple(VERBS[number] for number in record["verbs"].tolist() if number >= 0)
    return Teleop(
        int(record["capture_ns"]), record["twist"].copy(), float(record["gripper"]), verbs, bool(record["deadman"])
    )


def frame_dtype(height: int, width: int) -> np.dtype[Any]:
    """Return the record of a camera's pictures."""
    return np.dtype([("capture_ns", "<i8"), ("image", "u1", (height, width, 3))])


STATUS = np.dtype([("json", "S16384")])
BEAT = np.dtype([("time_ns", "<i8")])

BEGIN, STEP, END, DROP_LAST, BREAK_OFF, ALARM = range(6)
"""What a record for the recorder is: an episode's begin, a step of it, its end; the order to drop the last episode, or
to let go of the present one as interrupted; or that the alarm was raised in the step that comes next."""


def recording_dtype(layout: EpisodeLayout) -> np.dtype[Any]:
    """Return the record that control hands to the recorder: a step's columns, or an order.

    An order was given at `time_ns`; BEGIN brings the episode's `attributes` as JSON.
    """
    columns = [(column.name, np.dtype(column.dtype), column.shape) for column in layout.columns()]
    orders = [("order", "u1"), ("time_ns", "<i8"), ("attributes", "S256"), ("outcome", "S16")]
    return np.dtype([*orders, *columns])


def outcome_of(record: Any) -> Outcome:
    """Return the outcome in an END record."""
    return Outcome(record["outcome"].decode())


def arm_log_of(records: list[Any]) -> dict[str, Array]:
    """Return records of the arm as blocks for `EpisodeWriter.append_arm_log`."""
    rows = np.array(records, ARM)

    def vectors(poses: Any) -> Array:
        return np.concatenate([poses["position"], poses["rotation"][:, :, 0], poses["rotation"][:, :, 1]], axis=1)

    return {
        "time_ns": rows["capture_ns"],
        "joints": rows["joints"].astype(np.float32),
        "tcp": vectors(rows["base_from_tcp"]).astype(np.float32),
        "commanded": vectors(rows["commanded"]).astype(np.float32),
        "wrench": rows["wrench"].astype(np.float32),
        "authority": rows["authority"],
    }

"""Teaching the workspace in the simulated cell: by the arm's own feeling, and by the hand of a script."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from calibration import teaching
from calibration.board import Board
from calibration.errors import NotGoodEnoughError
from calibration.files import Calibration, Kind, lens_entry, pose_of
from calibration.guide import Answer, Guide, StoppedError, conduct, unattended
from calibration.hand_eye import difference
from calibration.procedures import Result, calibrate_hand_eye
from calibration.proposals import Bounds, Sight, propose
from calibration.rig import RELIEF_M
from calibration.simulated_rig import SimulatedRig
from calibration.teaching import calibrate_workspace, feeling, straight_down
from calibration.workspace import Plane, box_of, plane_of, tool_at
from calibration.workspace_pictures import Eye
from hardware.arms.limits import ArmLimits
from hardware.board import BoardConfig
from hardware.cell.optics import true_lens, true_pose
from hardware.cell.tasks.table import TableScene
from hardware.errors import DeviceError
from hardware.poses import Pose

LIMITS = replace(ArmLimits(), table_height_m=0.01)
TILTED = TableScene(0.03, (0.03, -0.02))
CORNERS = np.array([[x, y] for x in (0.2, 0.75) for y in (-0.4, 0.4)])
DOWN = np.diag([1.0, -1.0, -1.0])
EARLIER = "2026-01-02T03:04:05+00:00"


def rig(table: TableScene, **options: Any) -> SimulatedRig:
    cell = SimulatedRig(
        "front", BoardConfig(), feeling(LIMITS), False, table=table, **{"jumps": True, "turn_s": 0.25, **options}
    )
    cell.cameras = {}  # nobody looks on, which takes long
    return cell


def taught(cell: SimulatedRig, show: Callable[[Guide], Answer | None], earlier: Calibration | None = None) -> Result:
    return conduct(calibrate_workspace(cell, LIMITS, {}, earlier, {"arm": "simulated"}, "1"), show)


def true_plane(table: TableScene) -> Plane:
    frame = table.base_from_table
    return Plane(frame.rotation[:, 2], float(frame.rotation[:, 2] @ frame.position))


def assert_found(found: Calibration, table: TableScene) -> None:
    """Check a plane against the goal: 1 mm everywhere on the table, 0.2 degrees."""
    plane, true = plane_of(found), true_plane(table)
    assert np.abs(plane.height_m(CORNERS) - true.height_m(CORNERS)).max() < 1e-3
    assert np.degrees(np.arccos(min(1.0, float(plane.normal @ true.normal)))) < 0.2


@pytest.fixture(scope="module")
def felt() -> Result:
    return taught(rig(TILTED), unattended(lambda sentence: None))


def test_the_arm_feels_a_tilted_table_within_the_goal(felt: Result) -> None:
    found = felt.calibration
    assert_found(found, TILTED)
    assert found.residuals["rms_mm"] < 0.3
    assert found.views["used"] == 7
    assert found.values["tool_points_m"] == [list(point) for point in LIMITS.tool_points_m]
    assert box_of(found) is None
    assert "the higher of both holds" in felt.sentences[0]
    assert felt.pictures["touches"].ndim == 3


def test_nothing_is_touched_before_the_operator_agrees() -> None:
    cell = rig(TILTED)
    before = cell.arm().base_from_tcp.position
    offered: list[tuple[Answer, str]] = []
    procedure = calibrate_workspace(cell, LIMITS, {}, None, {}, "1")
    for _ in range(10):
        offered.extend(procedure.send(None).offers)
    np.testing.assert_allclose(cell.arm().base_from_tcp.position, before, atol=1e-3)
    assert set(offered) == {(Answer.GO, "start: the arm moves")}


def test_a_table_that_is_not_there_is_not_invented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teaching, "PLACES", teaching.PLACES[:3])
    monkeypatch.setattr(teaching, "SEARCH_M", 0.01)
    high = replace(LIMITS, table_height_m=0.09)
    procedure = calibrate_workspace(rig(TableScene()), high, {}, None, {}, "1")
    with pytest.raises(NotGoodEnoughError, match=r"felt at 0 of 3 places only.*limits\.table_height_m"):
        conduct(procedure, unattended(lambda sentence: None))


def test_a_touch_is_felt_gently_and_let_go_of() -> None:
    cell = rig(TILTED, jumps=False)
    cell.go(Pose(np.array([0.5, 0.0, 0.08]), straight_down(cell.arm().base_from_tcp.rotation)))
    until_arrived(cell)
    cell.touch(0.1)
    until_arrived(cell)
    assert cell.touched is not None
    tips = tool_at(cell.touched, np.array(LIMITS.tool_points_m))
    assert abs(true_plane(TILTED).above_m(tips).min()) < 1e-3
    forces = []
    for _ in range(4):
        forces.append(float(np.linalg.norm(cell.arm().wrench[:3])))
        cell.turn()
    assert forces[0] < 40.0
    assert forces[-1] < 5.0
    rest = cell.arm().base_from_tcp.position - cell.touched.position
    np.testing.assert_allclose(rest, [0.0, 0.0, RELIEF_M], atol=1e-3)


def until_arrived(cell: SimulatedRig) -> None:
    for _ in range(200):
        cell.turn()
        if cell.arrived:
            return
    raise AssertionError("the arm does not arrive")


class HandGuided(SimulatedRig):
    """A rig that is only read, whose arm a person guides: a script puts it where her hand would."""

    drives = False

    def go(self, base_from_tcp: Pose) -> None:
        raise DeviceError("The arm is only read, not driven.")

    def guide_to(self, base_from_tcp: Pose) -> None:
        super().go(base_from_tcp)


class Person:
    """Guides the arm from pose to pose, rests at each for some turns, then gives an answer there if there is one."""

    def __init__(self, cell: HandGuided, poses: Sequence[tuple[Pose | None, Answer | None]], rests: int) -> None:
        self.cell, self._todo, self._rests = cell, list(poses), rests
        self._waited = 0
        self.alarms: list[str] = []
        self.offered: list[set[Answer]] = []

    def __call__(self, guide: Guide) -> Answer | None:
        if guide.alarm and guide.alarm not in self.alarms:
            self.alarms.append(guide.alarm)
        offered = {answer for answer, _ in guide.offers}
        if not self._todo:
            return Answer.DONE if Answer.DONE in offered else Answer.STOP
        pose, answer = self._todo[0]
        if self._waited == 0 and pose is not None:
            self.cell.guide_to(pose)
        self._waited += 1
        if self._waited < self._rests:
            return None
        self._todo.pop(0)
        self._waited = 0
        self.offered.append(offered)
        return answer


def guided(table: TableScene) -> HandGuided:
    cell = HandGuided("front", BoardConfig(), feeling(LIMITS), False, table=table, jumps=True)
    cell.cameras = {}
    return cell


def held_on(table: TableScene, x: float, y: float) -> Pose:
    """Return the pose in which a hand holds the tool's tips on a table."""
    plane, points = true_plane(table), np.array(LIMITS.tool_points_m)
    lowest = float((points @ DOWN.T @ plane.normal).min())
    z = (plane.offset_m - lowest - plane.normal[:2] @ (x, y)) / plane.normal[2]
    return Pose(np.array([x, y, z]), DOWN)


FIVE = [held_on(TILTED, x, y) for x, y in ((0.3, -0.3), (0.3, 0.3), (0.45, 0.0), (0.65, -0.3), (0.65, 0.3))]
HIGH = Pose(np.array([0.3, -0.35, 0.45]), DOWN)
FAR = Pose(np.array([0.7, 0.3, 0.2]), DOWN)


def test_table_and_box_are_taught_by_hand() -> None:
    cell = guided(TILTED)
    steps = [(pose, Answer.GO) for pose in FIVE]
    person = Person(cell, [*steps, (None, Answer.DONE), (HIGH, Answer.GO), (FAR, Answer.GO), (None, Answer.DONE)], 6)
    result = taught(cell, person)
    assert_found(result.calibration, TILTED)
    box = box_of(result.calibration)
    assert box is not None
    np.testing.assert_allclose(box.low[:2], [0.3, -0.39], atol=2e-3)
    np.testing.assert_allclose(box.high, [0.7, 0.34, 0.45], atol=2e-3)
    assert box.low[2] < 0.03
    assert person.alarms == []
    assert Answer.DONE not in person.offered[1]
    assert "The box goes from" in result.sentences[1]


def test_a_hand_that_moves_or_stays_is_told_and_a_point_can_be_dropped() -> None:
    cell = guided(TILTED)
    nudged = Pose(FIVE[0].position + np.array([0.01, 0.0, 0.0]), DOWN)
    bad = Pose(FIVE[1].position + np.array([0.0, 0.0, 0.2]), DOWN)
    steps: list[tuple[Pose | None, Answer | None]] = [(FIVE[0], Answer.GO), (nudged, Answer.GO), (bad, Answer.GO)]
    steps += [(None, Answer.SKIP), *((pose, Answer.GO) for pose in FIVE[1:]), (None, Answer.DONE), (None, Answer.SKIP)]
    person = Person(cell, steps, 6)
    result = taught(cell, person)
    assert result.calibration.views["used"] == 5
    assert result.calibration.views["left_out"] == 0
    assert box_of(result.calibration) is None
    assert person.alarms == ["That is nearer than 3 cm to an earlier point: move on, and press again."]
    hasty = Person(guided(TILTED), [(FIVE[0], Answer.GO), (FIVE[1], Answer.GO)], 2)
    with pytest.raises(StoppedError):
        taught(hasty.cell, hasty)
    assert hasty.alarms == ["The arm moves: hold it still, and press again."]


def test_what_is_not_taught_anew_stays_as_it_was(felt: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teaching, "PLACES", teaching.PLACES[::3])
    by_arm = replace(felt.calibration, created_utc=EARLIER)
    cell = guided(TILTED)
    steps = [(None, Answer.SKIP), (HIGH, Answer.GO), (FAR, Answer.GO), (None, Answer.DONE)]
    boxed = taught(cell, Person(cell, steps, 6), by_arm).calibration
    assert plane_of(boxed).offset_m == plane_of(by_arm).offset_m
    assert (boxed.created_utc, boxed.residuals) == (EARLIER, by_arm.residuals)
    assert box_of(boxed) is not None
    cell = rig(TILTED)
    said: list[str] = []
    before = cell.arm().base_from_tcp.position
    again = taught(cell, unattended(said.append), boxed)
    kept, box = box_of(again.calibration), box_of(boxed)
    assert kept is not None
    assert box is not None
    np.testing.assert_array_equal(kept.high, box.high)
    assert again.calibration.created_utc > EARLIER
    assert "taught earlier" in again.sentences[1]
    assert "close the gripper" in said[0]
    np.testing.assert_allclose(cell.arm().base_from_tcp.position, before, atol=2e-3)  # it has gone back


def test_table_and_box_are_drawn_where_a_camera_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teaching, "PLACES", teaching.PLACES[::3])
    cell = SimulatedRig(
        "front", BoardConfig(), feeling(LIMITS), False, table=TILTED, jumps=True, turn_s=0.25, others={"wrist": True}
    )
    eyes = {name: Eye(true_lens(name, 480, 640), true_pose(name), site.on_arm) for name, site in cell.cameras.items()}
    bare = {name: cell.look(name).image.astype(int) for name in eyes}
    pictures = conduct(
        calibrate_workspace(cell, LIMITS, eyes, None, {}, "1"), unattended(lambda sentence: None)
    ).pictures
    assert set(pictures) == {"touches", "front", "wrist"}
    for name in eyes:
        changed = np.abs(pictures[name].astype(int) - bare[name]).max(axis=2) > 25
        assert 0.02 < changed.mean() < 0.9
    plane, here = true_plane(TILTED), cell.arm().base_from_tcp
    place = np.array([[0.5, 0.1, float(plane.height_m(np.array([0.5, 0.1])))]])  # where two lines of the grid cross
    x, y = np.rint(eyes["front"].project(place, here)[0]).astype(int).tolist()
    assert pictures["front"][y, x, 2] > bare["front"][y, x, 2]
    assert pictures["front"][y, x, 0] < bare["front"][y, x, 0] - 60


def test_a_point_behind_a_camera_is_not_drawn() -> None:
    eye = Eye(true_lens("front", 480, 640), true_pose("front"), False)
    assert np.isnan(eye.project(np.array([[2.0, 0.0, 0.62]]), HIGH)).all()


def test_a_camera_on_the_arm_is_found_by_a_guiding_hand() -> None:
    board = Board(BoardConfig())
    cell = HandGuided("wrist", BoardConfig(), ArmLimits(), True, jumps=True)
    lens = cell.true_lens()
    sight = Sight(lens, cell.true_link_from_camera(), cell.true_base_from_board(), on_arm=True)
    poses = propose(board, sight, Bounds(ArmLimits(), cell.arm(), cell.flange_from_tcp), 16)
    intrinsics = Calibration(
        Kind.INTRINSICS, "wrist", {"lens": lens_entry(lens), "lens_std_px": [1.0] * 4}, {"rms_px": 0.1}
    )
    person = Person(cell, [(pose, None) for pose in poses], 7)
    result = conduct(calibrate_hand_eye(cell, "wrist", board, intrinsics, "1"), person)
    off_m, off_rad = difference(pose_of(result.calibration, "tcp_from_camera"), cell.true_link_from_camera())
    assert off_m < 1e-3
    assert off_rad < np.radians(0.15)
    assert result.calibration.views["used"] >= 10
    assert Answer.DONE not in person.offered[3]


def test_a_hand_that_finishes_too_early_has_no_calibration() -> None:
    board = Board(BoardConfig())
    cell = HandGuided("wrist", BoardConfig(), ArmLimits(), True, jumps=True)
    lens = {"lens": lens_entry(cell.true_lens()), "lens_std_px": [1.0] * 4}
    intrinsics = Calibration(Kind.INTRINSICS, "wrist", lens, {"rms_px": 0.1})
    person = Person(cell, [(None, None), (None, Answer.DONE)], 7)
    with pytest.raises(StoppedError):
        conduct(calibrate_hand_eye(cell, "wrist", board, intrinsics, "1"), person)
    assert all(Answer.DONE not in offered for offered in person.offered)

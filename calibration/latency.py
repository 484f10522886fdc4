"""The guided measurements of latencies: the arm, each camera, the gripper. Each is a `Procedure` with a `Result`.

What can be seen from the host: by how much a report comes after its command, by how much a camera's pictures come
after the arm's reported poses, and by how much they come after what a screen shows. Only the last is against the host's
clock; with it the arm's round trip can be told apart (calibration/latencies.py).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.board import Board, Image
from calibration.errors import NotGoodEnoughError
from calibration.files import ARM, GRIPPER, Calibration, Kind
from calibration.guide import Answer, Guide, Procedure
from calibration.lag import Lag, Signal, find_lag
from calibration.picture_motion import BoardMotion, PictureMotion, SceneMotion
from calibration.pictures import lag_picture, votes_picture
from calibration.procedures import Result
from calibration.rig import TimingRig
from calibration.sway import REACH_M, SWAY_S, check_room
from calibration.time_code import NUMBERS, CodeReader, code_picture
from hardware.clock import NS_PER_S
from hardware.poses import Array

ENOUGH_PICTURES, MAX_SWAYS = 75, 4
"""A slow camera is looked through for so many sways at most."""
POOR_S = 0.005
TOO_BUSY = "That is not exact: measure again when the machine is less busy, and nothing else moves."
ENOUGH_READ = 110
LONGEST_WAIT_S = 0.05
MIN_READ = 40
VOTE_STEP_S = 0.0005
AGREEING = 0.95
"""Shifts with so large a share of the most votes count alike; the lag is their middle."""
MIN_AGREEING = 0.8


@dataclass(frozen=True)
class Shown:
    """By how much a camera's stamps come after what a screen showed.

    `votes` (m, 2) holds by shift in s the share of pictures that agree with it.
    """

    lag_s: float
    expected_error_s: float
    pictures: int
    votes: Array


def calibrate_arm_latency(rig: TimingRig, configured_s: float, software_version: str) -> Procedure[Result]:
    """Measure from command to reported pose. Raises NotGoodEnoughError.

    `configured_s` is what the driver takes off its stamps already.
    """
    yield from _swayed(rig, Guide("Latency of the arm", ""), grips=False)
    log = rig.log()
    lag = find_lag(log.commanded, log.reported, "the arm's reported pose")
    sentence = f"The arm reports its pose {_ms(lag)} after it was commanded."
    values = {"command_to_state_s": lag.lag_s, "arm_configured_s": configured_s}
    return _result(
        ARM, values, lag, {"arm": rig.serial}, sentence, software_version, "position along its main direction, m"
    )


def calibrate_gripper_latency(rig: TimingRig, software_version: str) -> Procedure[Result]:
    """Measure from command to reported opening. Raises NotGoodEnoughError."""
    empty = "Take everything out of the gripper: it will close by half and open, to and fro."
    yield from _swayed(rig, Guide("Latency of the gripper", empty), grips=True)
    log = rig.log()
    lag = find_lag(log.commanded_opening, log.reported_opening, "the gripper's reported opening")
    sentence = f"The gripper reports its opening {_ms(lag)} after it was commanded."
    values = {"command_to_report_s": lag.lag_s}
    return _result(GRIPPER, values, lag, {"gripper": rig.serial}, sentence, software_version, "opening, a share")


def calibrate_camera_latency(
    rig: TimingRig,
    camera: str,
    board: Board,
    configured_s: tuple[float, float],
    software_version: str,
    display_lag_s: float | None = None,
) -> Procedure[Result]:
    """Measure by how much a camera's pictures come after the arm's reported poses. Raises NotGoodEnoughError.

    `configured_s` is what the drivers of camera and arm take off their stamps already. With `display_lag_s`, how late
    the screen shows what it is told, the pictures are also measured against a number on the screen.
    """
    guide = Guide(f"Latency of camera {camera}", "")
    motion = yield from _await_view(rig, camera, board, guide)
    times_ns, shifts = yield from _swayed(rig, guide, grips=False, camera=camera, motion=motion)
    seen = Signal(np.array(times_ns, dtype=np.int64), np.array(shifts).reshape(-1, 2))
    lag = find_lag(rig.log().reported, seen, f"camera {camera}")
    sentence = f"Camera {camera}'s stamps come {_ms(lag)} after the arm's."
    values = {"against_arm_s": lag.lag_s, "camera_configured_s": configured_s[0], "arm_configured_s": configured_s[1]}
    devices = {"camera": rig.cameras[camera].serial, "arm": rig.serial}
    result = _result(camera, values, lag, devices, sentence, software_version, "shift of the picture, px")
    if display_lag_s is None:
        return result
    shown = yield from _measure_screen(rig, camera, guide)
    return _with_screen(result, camera, replace(shown, lag_s=shown.lag_s - display_lag_s), display_lag_s)


def _await_view(rig: TimingRig, camera: str, board: Board, guide: Guide) -> Procedure[PictureMotion]:
    """Wait until there is something in the picture that moves with the arm."""
    if rig.cameras[camera].on_arm:
        place = "Lay the board flat on the table, in the camera's picture."
    else:
        place = "Fix the board to the tool so that the camera sees it."
    while True:
        rig.turn()
        image = rig.look(camera).image
        motion = BoardMotion(board)
        if motion.shift(image) is not None:
            return motion
        unseen = f"Camera {camera} does not see the board of the configuration."
        if not rig.cameras[camera].on_arm:
            yield replace(guide, instruction=place, image=image, alarm=unseen, waiting=True)
            continue
        anyhow = f"{place} Or go on with what is there: anything that stays still and has an uneven surface."
        answer = yield replace(
            guide, instruction=anyhow, image=image, offers=((Answer.DONE, "go on without the board"),)
        )
        if answer is Answer.DONE:
            return SceneMotion()


def _swayed(
    rig: TimingRig, guide: Guide, grips: bool, camera: str | None = None, motion: PictureMotion | None = None
) -> Procedure[tuple[list[int], list[Array]]]:
    """Let arm or gripper sway once the operator agrees; return stamps and shifts of a camera's pictures meanwhile."""
    if not grips:
        check_room(rig.arm().base_from_tcp, rig.limits)
    moves = "the gripper moves" if grips else "the arm moves"
    words = guide.instruction or (
        f"The arm will move by {1000 * max(REACH_M):.0f} mm to and fro for {SWAY_S:.0f} s. Keep clear."
    )
    offered = replace(guide, instruction=words, offers=((Answer.GO, f"start: {moves}"),))
    answer = None
    while answer is not Answer.GO:
        rig.turn()
        answer = yield replace(offered, image=rig.look(camera).image if camera else None)
    times_ns, shifts = list[int](), list[Array]()
    told = replace(guide, instruction=f"{moves[0].upper()}{moves[1:]}. Let nothing else move.")
    for turn in range(MAX_SWAYS):
        rig.sway(grips, again=turn > 0)
        began_ns = rig.now_ns()
        while rig.swaying:
            rig.turn()
            done = min((rig.now_ns() - began_ns) / NS_PER_S / SWAY_S, 1.0)
            image: Image | None = None
            if camera is not None and motion is not None:
                frame = rig.look(camera)
                shift = motion.shift(frame.image)
                image = motion.marked(frame.image)
                if shift is not None:
                    times_ns.append(frame.capture_ns)
                    shifts.append(shift)
            lacking = 0 if camera is None else max(ENOUGH_PICTURES - len(times_ns), 0)
            yield replace(
                told,
                image=image,
                progress=done,
                score=done if camera is None else 1.0 - lacking / ENOUGH_PICTURES,
                missing=(f"{lacking} more pictures in which the motion is seen",) if lacking else (),
            )
        if camera is None or len(times_ns) >= ENOUGH_PICTURES:
            break
    return times_ns, shifts


def _measure_screen(rig: TimingRig, camera: str, guide: Guide) -> Procedure[Shown]:
    """Show numbers, read them in the camera's pictures, and find the shift in time with which most agree."""
    reader, rng = CodeReader(), np.random.default_rng(0)
    words = f"Hold the screen before camera {camera}, so that it sees all four markers, and keep it there."
    shown_ns, seen = list[int](), list[tuple[int, int]]()
    while len(seen) < ENOUGH_READ and len(shown_ns) < NUMBERS:
        picture = code_picture(len(shown_ns))
        rig.screen(picture)
        lacking = ENOUGH_READ - len(seen)
        yield replace(
            guide,
            instruction=words,
            image=picture,
            progress=len(seen) / ENOUGH_READ,
            score=len(seen) / ENOUGH_READ,
            missing=(f"{lacking} more numbers that are read",),
        )
        shown_ns.append(rig.now_ns())
        # Pictures come at regular times: without a wait that varies, every number would be as old when it is seen.
        wait_ns = round(rng.uniform(0.0, LONGEST_WAIT_S) * NS_PER_S)
        while rig.now_ns() - shown_ns[-1] < wait_ns:
            rig.turn()
        frame = rig.look(camera)
        if (read := reader.read(frame.image)) is not None:
            seen.append((frame.capture_ns, read))
    rig.screen(None)
    return _vote(np.array(shown_ns, dtype=np.int64), seen, camera)


def _vote(shown_ns: NDArray[np.int64], seen: list[tuple[int, int]], camera: str) -> Shown:
    """Return the shift with which most pictures show the number that stood there. Raises NotGoodEnoughError.

    A picture that was captured at `s` and shows a number that stood from `a` to `b` agrees with shifts from s - b to
    s - a.
    """
    known = [(s, n) for s, n in seen if 0 < n < len(shown_ns) - 1]
    if len(known) < MIN_READ:
        raise NotGoodEnoughError(
            f"Camera {camera} read {len(known)} numbers on the screen, fewer than {MIN_READ}: hold it nearer and "
            "steady, straight before the camera, without reflections."
        )
    stamps = np.array([s for s, _ in known], dtype=np.int64)
    numbers = np.array([n for _, n in known])
    least, most = (stamps - shown_ns[numbers + 1]) / NS_PER_S, (stamps - shown_ns[numbers]) / NS_PER_S
    shifts = np.arange(float(least.min()), float(most.max()), VOTE_STEP_S)
    shares = ((least[:, None] <= shifts) & (shifts <= most[:, None])).mean(axis=0)
    best = float(shares.max())
    if best < MIN_AGREEING:
        raise NotGoodEnoughError(
            f"Only {best:.0%} of what camera {camera} read on the screen fits together: its stamps are unsteady, or "
            "the machine is too busy to show numbers in time."
        )
    agreeing = shifts[shares >= AGREEING * best]
    half_s = 0.5 * float(agreeing[-1] - agreeing[0]) + VOTE_STEP_S
    return Shown(float(agreeing.mean()), half_s / float(np.sqrt(3.0)), len(known), np.column_stack([shifts, shares]))


def _result(
    name: str,
    values: dict[str, float],
    lag: Lag,
    devices: dict[str, str],
    sentence: str,
    software_version: str,
    quantity: str,
) -> Result:
    sentences = (sentence, TOO_BUSY) if lag.expected_error_s > POOR_S else (sentence,)
    calibration = Calibration(
        Kind.LATENCY,
        name,
        values,
        {"expected_error_ms": 1000 * lag.expected_error_s, "correlation_lacks": 1.0 - lag.correlation},
        {"samples": lag.samples, "seconds": float(lag.seconds[-1] - lag.seconds[0])},
        devices,
        software_version=software_version,
    )
    return Result(calibration, {"motion": lag_picture(lag, sentence, quantity)}, sentences)


def _with_screen(result: Result, camera: str, shown: Shown, display_lag_s: float) -> Result:
    """Return a camera's result with what the screen has told."""
    calibration, error_ms = result.calibration, 1000 * shown.expected_error_s
    sentence = (
        f"Camera {camera}'s stamps come {1000 * shown.lag_s:.1f} ms (expected error {error_ms:.1f} ms) after what it "
        "sees on the screen."
    )
    motion_ms = calibration.residuals["expected_error_ms"]
    errors = {
        "expected_error_ms": max(error_ms, motion_ms),
        "motion_expected_error_ms": motion_ms,
        "screen_expected_error_ms": error_ms,
    }
    return Result(
        replace(
            calibration,
            values={**calibration.values, "shown_s": shown.lag_s, "display_lag_s": display_lag_s},
            residuals={**calibration.residuals, **errors},
            views={**calibration.views, "numbers_read": shown.pictures},
        ),
        {**result.pictures, "screen": votes_picture(shown.votes, shown.lag_s + display_lag_s, sentence)},
        (*result.sentences, sentence),
    )


def _ms(lag: Lag) -> str:
    return f"{1000 * lag.lag_s:.1f} ms (expected error {1000 * lag.expected_error_s:.1f} ms)"

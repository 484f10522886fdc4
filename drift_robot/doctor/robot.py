"""The robot and its gripper: link, state, tool, pose. Reads only: nothing moves, no program or register is taken."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drift_robot.doctor.findings import Check, Finding, note, ok, problem, warning
from hardware.arms.limits import ArmLimits, Workspace
from hardware.arms.ur_dashboard import REMOTE_CONTROL_SINCE, UrDashboard
from hardware.arms.ur_pose import distance, pose
from hardware.arms.ur_process import schedule
from hardware.arms.ur_reader import Listening, library_reads, listen
from hardware.clock import NS_PER_S
from hardware.devices import DevicesConfig
from hardware.errors import DeviceError
from hardware.grippers.robotiq import ACTIVE, RobotiqConfig, read_registers
from hardware.grippers.ur_output import UrOutputConfig
from hardware.poses import Array, Pose

LISTEN_S = 2.0
TESTED_SINCE = {3: (3, 12), 5: (5, 5)}
"""The oldest software of each generation that ur-rtde is tested with; its page on PyPI lists them."""
MANY_MISSING = 0.01
SLOW_ROUND_TRIP_S = 0.005
SAME_TOOL_M, SAME_TOOL_RAD, SAME_PAYLOAD_KG = 0.001, 0.01, 0.05

NORMAL_MODE = 7
ROBOT_MODES = {
    -1: "without its controller",
    0: "disconnected from its controller",
    1: "waiting for its safety settings to be confirmed",
    2: "starting",
    3: "powered off",
    4: "powered on",
    5: "idle, its brakes on",
    6: "in freedrive",
    8: "updating its firmware",
}
STOPS = (
    (9, "a safety fault", "Restart the controller."),
    (8, "a safety violation", "Restart the controller."),
    (6, "an emergency stop at the robot", "Release the button, then switch the robot on at the pendant."),
    (5, "an emergency stop of the system", "Release the button, then switch the robot on at the pendant."),
    (7, "an emergency stop", "Release the button, then switch the robot on at the pendant."),
    (4, "a safeguard stop", "Close the safeguard (door, light curtain), then reset it."),
    (3, "recovery mode", "Move the arm back within its joint limits at the pendant."),
    (2, "a protective stop", "Remove the cause, then unlock it at the pendant."),
    (10, "a stop for safety", "Look at the pendant."),
)
"""Bits of RTDE's safety_status_bits that stop the arm, most telling first."""
REDUCED = 1 << 1
PLAYING = 2


@dataclass(frozen=True)
class Stream:
    """The packages of a time: how many came and how many by their stamps did not, their rate, the longest silence."""

    received: int
    missing: int
    rate_hz: float
    longest_gap_s: float


def check_robot(devices: DevicesConfig, limits: ArmLimits) -> Check:
    """Listen to the robot, ask its dashboard, and let the client library try."""
    host = devices.arm.host
    yield f"listening to the robot at {host}"
    schedule(realtime=devices.arm.realtime)
    try:
        heard = listen(host, LISTEN_S)
    except DeviceError as error:
        emulator = f"Start the emulated cell: drift-robot emulate --host {host}" if devices.emulator else ""
        yield problem("robot", str(error), emulator)
        return
    schedule(realtime=False)
    yield judge_version(heard.version)
    yield judge_round_trips(heard.round_trips_s)
    yield judge_stream(stream(heard), heard.rate_hz, devices.arm.max_age_s)
    yield from _check_dashboard(host, heard.version)
    if heard.packages:
        yield from _check_state(heard, devices, limits)
        yield "connecting through ur-rtde"
        yield _library(host)


def stream(heard: Listening) -> Stream:
    """Return the figures of what was heard. A gap at the end counts too."""
    receipts_ns = [package.receipt_ns for package in heard.packages]
    if not receipts_ns:
        return Stream(0, 0, 0.0, LISTEN_S)
    gaps_ns = np.diff([*receipts_ns, heard.end_ns])
    steps = np.diff([package.values["timestamp"] for package in heard.packages]) * heard.rate_hz
    seconds = (heard.end_ns - receipts_ns[0]) / NS_PER_S
    missing = int(np.maximum(np.round(steps) - 1, 0).sum())
    return Stream(len(receipts_ns), missing, len(receipts_ns) / seconds, float(gaps_ns.max()) / NS_PER_S)


def judge_version(version: tuple[int, int, int]) -> Finding:
    """Judge the controller's software."""
    text = f"{'PolyScope X' if version[0] >= 10 else 'PolyScope'} {'.'.join(map(str, version))}"
    oldest = TESTED_SINCE.get(version[0])
    if oldest is not None and version[:2] < oldest:
        return warning(
            "robot software",
            f"{text} is older than what ur-rtde is tested with.",
            f"Update it to {oldest[0]}.{oldest[1]} or newer.",
        )
    return ok("robot software", text)


def judge_round_trips(round_trips_s: Sequence[float]) -> Finding:
    """Judge how long the controller takes to answer a question."""
    middle, longest = float(np.median(round_trips_s)), max(round_trips_s)
    found = f"round trip {1e3 * middle:.2f} ms, longest {1e3 * longest:.2f} ms"
    if middle > SLOW_ROUND_TRIP_S:
        return warning("robot network", found, "Connect the robot by cable, without wireless links or busy switches.")
    return ok("robot network", found)


def judge_stream(seen: Stream, expected_hz: float, max_age_s: float) -> Finding:
    """Judge the robot's data; `max_age_s` is the silence after which a session counts the link as lost."""
    if not seen.received:
        return problem("robot data", "The robot answers but sends no data.", "Restart its controller.")
    found = (
        f"{seen.rate_hz:.0f} of {expected_hz:.0f} packages a second, {seen.missing} missing, "
        f"longest gap {1e3 * seen.longest_gap_s:.0f} ms"
    )
    if seen.longest_gap_s > max_age_s:
        return problem(
            "robot data",
            f"{found}, where a session counts the link as lost after {1e3 * max_age_s:.0f} ms.",
            "Connect the robot straight by cable, and give this computer less to do.",
        )
    if seen.longest_gap_s > max_age_s / 2 or seen.missing > MANY_MISSING * (seen.received + seen.missing):
        return warning("robot data", found, "Connect the robot straight by cable, and give this computer less to do.")
    return ok("robot data", found)


def _check_dashboard(host: str, version: tuple[int, int, int]) -> Check:
    if version[0] >= 10:
        yield note(
            "remote control",
            "PolyScope X does not tell whether it is on.",
            "Set the robot to automatic mode, with External Control installed.",
        )
        return
    yield f"asking the dashboard of the robot at {host}"
    try:
        with UrDashboard(host) as dashboard:
            remote = dashboard.remote_control()
            model, serial = dashboard.ask("get robot model"), dashboard.ask("get serial number")
    except DeviceError as error:
        yield warning("remote control", str(error))
        return
    if "understand" in model or "understand" in serial:  # what a dashboard says to a question of a later version
        model, serial = "robot", "unknown"
    yield judge_remote_control(remote, version, f"{model.strip()}, serial {serial.strip()}")


def judge_remote_control(remote: bool, version: tuple[int, int, int], identity: str) -> Finding:
    """Judge whether the robot lets itself be controlled from outside."""
    if not remote:
        return problem(
            "remote control",
            f"The robot ({identity}) is in local control.",
            "Switch it to Remote Control at the pendant, top right; enable that under Settings, System if it is not.",
        )
    if version[:2] < REMOTE_CONTROL_SINCE:
        return ok("remote control", f"always on in this version ({identity})")
    return ok("remote control", f"on ({identity})")


def _check_state(heard: Listening, devices: DevicesConfig, limits: ArmLimits) -> Check:
    arm, values = devices.arm, heard.packages[-1].values
    yield judge_safety(values["safety_status_bits"], values["robot_mode"])
    if values["runtime_state"] == PLAYING:
        yield note("robot program", "A program runs on the robot; a session stops it.", "Stop it if that is not meant.")
    base_from_tcp = pose(values["actual_TCP_pose"])
    if "tcp_offset" in values:
        yield judge_tool(arm.flange_from_tcp, values["tcp_offset"])
        base_from_tcp = base_from_tcp @ pose(values["tcp_offset"]).inverse() @ pose(arm.flange_from_tcp)
    if "payload" in values:
        yield judge_payload(arm.payload_kg, values["payload"])
    yield judge_pose(base_from_tcp, limits)
    yield judge_start(devices.start.start().base_from_tcp, limits)
    yield judge_force(float(np.linalg.norm(values["actual_TCP_force"][:3])), limits.max_force_n)


def judge_safety(safety_status_bits: int, robot_mode: int) -> Finding:
    """Judge the robot's safety state and mode, as RTDE numbers them."""
    for bit, name, advice in STOPS:
        if safety_status_bits >> bit & 1:
            return problem("robot state", f"The robot is in {name}.", advice)
    if robot_mode != NORMAL_MODE:
        mode = ROBOT_MODES.get(robot_mode, f"in mode {robot_mode}")
        return problem(
            "robot state", f"The robot is {mode}.", "Switch it on and release its brakes at the pendant (ON, START)."
        )
    if safety_status_bits & REDUCED:
        return note(
            "robot state",
            "The robot runs in reduced mode: its safety limits are tighter.",
            "Leave the zone or input that asks for it.",
        )
    return ok("robot state", "running, safety normal")


def judge_tool(configured: Sequence[float], reported: Sequence[float]) -> Finding:
    """Judge flange_from_tcp (6,) as configured against the robot's present one. A session sets the configured one."""
    offset_m, offset_rad = distance(np.array(configured), np.array(reported))
    there, here = f"{_millimetres(reported)} at the robot", f"{_millimetres(configured)} configured"
    if offset_m <= SAME_TOOL_M and offset_rad <= SAME_TOOL_RAD:
        return ok("tool (TCP)", here)
    if not np.any(reported):
        return note("tool (TCP)", f"{here}; none set at the robot, where a session sets it.")
    return warning(
        "tool (TCP)",
        f"{here}, but {there}, turned by {offset_rad:.2f} rad.",
        "One of them is wrong: a session uses devices.arm.flange_from_tcp.",
    )


def judge_payload(configured_kg: float, reported_kg: float) -> Finding:
    """Judge the payload as configured against the robot's present one. A session sets the configured one."""
    if abs(configured_kg - reported_kg) <= SAME_PAYLOAD_KG:
        return ok("payload", f"{configured_kg:g} kg")
    if not reported_kg:
        return note("payload", f"{configured_kg:g} kg configured; none set at the robot, where a session sets it.")
    return warning(
        "payload",
        f"{configured_kg:g} kg configured, but {reported_kg:g} kg at the robot.",
        "One of them is wrong, which falsifies forces: a session uses devices.arm.payload_kg.",
    )


def judge_pose(base_from_tcp: Pose, limits: ArmLimits) -> Finding:
    """Judge where the tool is now."""
    found = f"tool at {_millimetres(base_from_tcp.position)}"
    if Workspace(limits).holds(base_from_tcp):
        return ok("pose", f"{found}, inside the workspace")
    return warning(
        "pose", f"{found}, outside the workspace ({_outside(base_from_tcp, limits)}).", "Move the arm inside by hand."
    )


def judge_start(base_from_tcp: Pose, limits: ArmLimits) -> Finding:
    """Judge where episodes start."""
    if Workspace(limits).holds(base_from_tcp):
        return ok("start pose", f"tool at {_millimetres(base_from_tcp.position)}, inside the workspace")
    return problem(
        "start pose",
        f"devices.start lies outside the workspace ({_outside(base_from_tcp, limits)}), so the arm cannot get there.",
        "Change devices.start or limits.",
    )


def judge_force(force_n: float, max_force_n: float) -> Finding:
    """Judge the force that the robot feels while nothing should touch it."""
    found = f"{force_n:.0f} N at rest, of {max_force_n:g} N allowed"
    advice = "Check payload_kg and payload_center_m, that nothing touches the tool, and zero the force sensor."
    if force_n >= max_force_n:
        return problem("force", found, advice)
    return warning("force", found, advice) if force_n > max_force_n / 2 else ok("force", found)


def _library(host: str) -> Finding:
    """Try the client library: only its receiving side, which takes nothing from the robot."""
    try:
        reads = library_reads(host)
    except ImportError:
        return problem("ur-rtde", "The package ur-rtde is not there.", "Run  pip install 'drift-robot[ur]'")
    except Exception as error:  # it raises whatever its own libraries raise
        return problem("ur-rtde", f"The library does not connect ({error}).", "Restart the controller.")
    if not reads:
        return problem("ur-rtde", "The library connects but gets no data.", "Restart the controller.")
    return ok("ur-rtde", "connects and gets data")


def check_gripper(devices: DevicesConfig) -> Check:
    """Ask the gripper for its state, without activating it."""
    gripper = devices.gripper
    if isinstance(gripper, RobotiqConfig):
        config = dataclasses.replace(gripper, host=gripper.host or devices.arm.host)
        yield f"asking the gripper at {config.host}"
        try:
            yield judge_robotiq(read_registers(config, ("STA", "FLT", "POS")), config)
        except DeviceError as error:
            yield problem("gripper", str(error))
    elif isinstance(gripper, UrOutputConfig):
        yield judge_output(gripper.output, devices.arm.digital_outputs)
    else:
        yield note("gripper", "none configured")


def judge_robotiq(registers: dict[str, str], config: RobotiqConfig) -> Finding:
    """Judge what a Robotiq gripper says of itself. Source of the registers: Robotiq 2F-85 manual, "Control"."""
    if not all(value.isdigit() for value in registers.values()):
        return problem(
            "gripper", "The gripper is without power.", "Switch the robot on, and check the gripper's cable."
        )
    status, fault, position = (int(registers[name]) for name in ("STA", "FLT", "POS"))
    if fault:
        return problem(
            "gripper",
            f"The gripper reports fault {fault}.",
            "Look it up in its manual; often a new activation clears it.",
        )
    if status != ACTIVE:
        return note("gripper", "answers; it is not activated yet", "A session activates it, which moves the fingers.")
    opening = (config.closed_position - position) / (config.closed_position - config.open_position)
    return ok("gripper", f"active, {100 * min(max(opening, 0.0), 1.0):.0f} % open")


def judge_output(output: int, digital_outputs: bool) -> Finding:
    """Judge a gripper on a digital output of the robot."""
    if not digital_outputs:
        return problem(
            "gripper",
            f"It is on output {output}, but the arm's digital outputs are not in use.",
            "Set devices.arm.digital_outputs to true.",
        )
    return ok("gripper", f"on digital output {output}; it does not tell whether it moves")


def _millimetres(position: Sequence[float] | Array) -> str:
    return "({:.0f}, {:.0f}, {:.0f}) mm".format(*(1e3 * float(value) for value in position[:3]))


def _outside(base_from_tcp: Pose, limits: ArmLimits) -> str:
    """Say by how much a pose is outside the workspace, on each axis."""
    low, high = Workspace(limits).bounds(base_from_tcp)
    beyond = np.maximum(low - base_from_tcp.position, base_from_tcp.position - high)
    return ", ".join(
        f"{1e3 * by:.0f} mm {'below' if value < bottom else 'above'} in {axis}"
        for axis, by, value, bottom in zip("xyz", beyond, base_from_tcp.position, low, strict=True)
        if by > 0
    )

"""Which RTDE variables the emulated controller offers, their wire types, and the versions that have them.

Source: "Real-Time Data Exchange (RTDE) Guide", Universal Robots. Values live in the controller, not here.
"""

from hardware.errors import DeviceError

Version = tuple[int, int, int, int]

FORMATS = {
    "DOUBLE": "d",
    "VECTOR3D": "3d",
    "VECTOR6D": "6d",
    "VECTOR6INT32": "6i",
    "VECTOR6UINT32": "6I",
    "INT32": "i",
    "UINT32": "I",
    "UINT64": "Q",
    "UINT8": "B",
    "BOOL": "?",
}
LENGTHS = {"VECTOR3D": 3, "VECTOR6D": 6, "VECTOR6INT32": 6, "VECTOR6UINT32": 6}
REGISTERS = range(48)

_VECTORS = (
    "target_q target_qd target_qdd target_current target_moment actual_q actual_qd actual_current joint_control_output"
    " actual_TCP_pose actual_TCP_speed actual_TCP_force target_TCP_pose target_TCP_speed joint_temperatures"
    " actual_joint_voltage"
)
_DOUBLES = (
    "timestamp actual_execution_time speed_scaling target_speed_fraction actual_momentum actual_main_voltage"
    " actual_robot_voltage actual_robot_current standard_analog_input0 standard_analog_input1 standard_analog_output0"
    " standard_analog_output1"
)
_OUTPUTS = {
    **dict.fromkeys(_VECTORS.split(), "VECTOR6D"),
    **dict.fromkeys(_DOUBLES.split(), "DOUBLE"),
    **{f"output_int_register_{i}": "INT32" for i in REGISTERS},
    **{f"output_double_register_{i}": "DOUBLE" for i in REGISTERS},
    "actual_digital_input_bits": "UINT64",
    "actual_digital_output_bits": "UINT64",
    "robot_mode": "INT32",
    "safety_mode": "INT32",
    "joint_mode": "VECTOR6INT32",
    "actual_tool_accelerometer": "VECTOR3D",
    "runtime_state": "UINT32",
    "robot_status_bits": "UINT32",
    "safety_status_bits": "UINT32",
}
_SINCE: dict[str, tuple[str, tuple[int, int], tuple[int, int] | None]] = {
    # name: type, first e-Series version, first CB3 version (None: never)
    "tcp_offset": ("VECTOR6D", (5, 5), (3, 12)),
    "payload": ("DOUBLE", (5, 5), (3, 11)),
    "payload_cog": ("VECTOR3D", (5, 5), (3, 11)),
    "payload_inertia": ("VECTOR6D", (5, 11), (3, 15)),
    "ft_raw_wrench": ("VECTOR6D", (5, 9), None),
    "actual_current_as_torque": ("VECTOR6D", (5, 23), None),
}
INPUTS = {
    **{f"input_int_register_{i}": "INT32" for i in REGISTERS},
    **{f"input_double_register_{i}": "DOUBLE" for i in REGISTERS},
    "speed_slider_mask": "UINT32",
    "speed_slider_fraction": "DOUBLE",
    "standard_digital_output_mask": "UINT8",
    "standard_digital_output": "UINT8",
    "configurable_digital_output_mask": "UINT8",
    "configurable_digital_output": "UINT8",
    "tool_digital_output_mask": "UINT8",
    "tool_digital_output": "UINT8",
    "standard_analog_output_mask": "UINT8",
    "standard_analog_output_type": "UINT8",
    "standard_analog_output_0": "DOUBLE",
    "standard_analog_output_1": "DOUBLE",
    "external_force_torque": "VECTOR6D",
}


def outputs(version: Version) -> dict[str, str]:
    """Return the type of every output variable that a controller of this version has."""
    offered = dict(_OUTPUTS)
    for name, (kind, e_series, cb3) in _SINCE.items():
        first = cb3 if version[0] <= 3 else e_series
        if first is not None and version[:2] >= first:
            offered[name] = kind
    return offered


def parse_version(text: str) -> Version:
    """Return "5.12" or "5.12.0.0" as four numbers; raises DeviceError on anything else."""
    parts = text.split(".")
    if not 2 <= len(parts) <= 4 or not all(part.isdigit() for part in parts):
        raise DeviceError(f"'{text}' is not a controller version; write one like 3.15, 5.12 or 10.10.")
    major, minor, bugfix, build = (*map(int, parts), 0, 0)[:4]
    return major, minor, bugfix, build


def rate_hz(version: Version) -> float:
    """Return the controller's cycle rate: 125 Hz up to CB3, 500 Hz after."""
    return 125.0 if version[0] <= 3 else 500.0

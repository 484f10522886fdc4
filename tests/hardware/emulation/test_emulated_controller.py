"""The controller on a virtual clock, spoken to through its registers, as the client library would."""

import struct

import numpy as np
import pytest

from hardware.arms.ur_pose import six
from hardware.cell.kinematics import IDENTITY
from hardware.emulation import dashboard
from hardware.emulation.admin import FAULTS, described, fault_request
from hardware.emulation.controller import Controller, RobotMode, RuntimeState, Settings
from hardware.emulation.faults import Admin, Faults
from hardware.emulation.kinematics import tcp_pose
from hardware.emulation.robot import HOME_JOINTS_RAD, IdealRobot
from hardware.emulation.robotiq import RobotiqServer
from hardware.emulation.variables import FORMATS, LENGTHS
from hardware.errors import DeviceError

PROGRAM = "def rtde_control():\n  global reg_offset_int = # int register offset\n0\nend\n"
MOVEJ, SPEEDL, SERVOJ, SERVOL, STOPJ, WATCHDOG, STOP_SCRIPT = 1, 10, 11, 24, 34, 35, 255


class Rig:
    def __init__(self, version=(5, 12, 0, 0), **settings):
        self.robot = IdealRobot()
        self.controller = Controller(version, self.robot, Settings(**settings))
        self.now_s = 100.0

    def run(self, seconds):
        for _ in range(round(seconds / self.controller.cycle_s)):
            self.now_s += self.controller.cycle_s
            self.controller.tick(self.now_s)

    def start(self, text=PROGRAM):
        self.controller.upload(text, self.now_s)
        self.run(0.1)
        return self

    def command(self, number, *doubles, ints=()):
        offset = self.controller.registers.offset
        values = {f"input_double_register_{i + offset}": value for i, value in enumerate(doubles)}
        values |= {f"input_int_register_{i + 1 + offset}": value for i, value in enumerate(ints)}
        self.controller.write({f"input_int_register_{offset}": number, **values}, self.now_s)

    def published(self, name):
        return self.controller.published([name])[name]

    @property
    def answer(self):
        return self.published(f"output_int_register_{self.controller.registers.offset}")

    @property
    def texts(self):
        return [event.text for event in self.controller.events]


def test_a_program_is_ready_after_its_compile_time():
    rig = Rig()
    rig.controller.upload(PROGRAM, rig.now_s)
    rig.run(0.04)
    assert rig.controller.runtime is RuntimeState.STOPPED
    rig.run(0.02)
    assert rig.controller.runtime is RuntimeState.PLAYING
    assert rig.answer == 1


def test_a_blocking_command_is_done_only_when_the_motion_is_and_executed_once():
    rig = Rig().start()
    target = HOME_JOINTS_RAD + 0.1
    rig.command(MOVEJ, *target, 1.0, 2.0, ints=(0,))
    rig.run(0.1)
    assert rig.answer == 1
    rig.run(1.0)
    assert rig.answer == 2
    np.testing.assert_allclose(rig.robot.joints, target, atol=1e-9)
    rig.run(0.1)
    rig.command(0)
    rig.run(0.01)
    assert rig.answer == 1
    assert [command.number for command in rig.controller.commands] == [MOVEJ]


def test_an_asynchronous_motion_is_done_at_once_and_its_progress_told():
    rig = Rig().start()
    rig.command(MOVEJ, *(HOME_JOINTS_RAD + 0.1), 1.0, 2.0, ints=(1,))
    rig.run(0.01)
    assert rig.answer == 2
    progress = rig.published("output_int_register_2")
    assert progress >> 15 & 1
    rig.run(1.0)
    assert not rig.published("output_int_register_2") >> 15 & 1
    assert rig.published("output_int_register_2") >> 24 == progress >> 24


def test_every_package_is_logged_also_one_that_the_next_replaces_within_a_cycle():
    rig = Rig().start()
    base = [*HOME_JOINTS_RAD, 0.0, 0.0, 0.0, 0.1, 300.0]
    for shift in (0.01, 0.02):
        rig.command(SERVOJ, base[0] + shift, *base[1:])
    rig.run(0.004)
    shifts = [package.values[0] - base[0] for package in rig.controller.packages]
    assert shifts == pytest.approx([0.01, 0.02])
    executed = [command.values[0] - base[0] for command in rig.controller.commands]
    assert executed == pytest.approx([0.02, 0.02])
    log = Admin(rig.controller, Faults()).answer({"do": "packages"})["packages"]
    assert [package["number"] for package in log] == [SERVOJ, SERVOJ]
    assert not rig.controller.packages


def test_a_clock_that_drifts_gains_on_the_hosts():
    rig = Rig(clock_drift=1e-3)
    rig.run(1.002)
    assert rig.published("timestamp") == pytest.approx(1.001, abs=1e-9)


def test_servo_goes_on_without_commands_until_the_watchdog_expires():
    rig = Rig().start()
    rig.command(WATCHDOG, 10.0)
    rig.run(0.02)
    rig.command(0)
    rig.run(0.004)
    rig.command(SPEEDL, 0.05, 0, 0, 0, 0, 0, 1.0, 0.1)
    rig.run(0.09)
    assert np.abs(rig.robot.joint_velocities).max() > 0
    rig.run(0.3)
    assert rig.controller.runtime is RuntimeState.STOPPED
    assert "program ended: the watchdog expired" in rig.texts
    assert not rig.robot.joint_velocities.any()


def test_without_a_watchdog_speed_goes_on_for_ever():
    rig = Rig().start()
    rig.command(SPEEDL, 0.05, 0, 0, 0, 0, 0, 1.0, 0.1)
    start = tcp_pose(rig.robot.joints, IDENTITY).position
    rig.run(1.0)
    assert tcp_pose(rig.robot.joints, IDENTITY).position[0] - start[0] > 0.04


def test_a_pose_out_of_reach_ends_the_program_and_says_why():
    rig = Rig().start()
    rig.command(SERVOL, 3.0, 0, 0, 0, 0, 0, 0.5, 0.5, 0.002, 0.05, 300)
    rig.run(0.01)
    assert rig.controller.runtime is RuntimeState.STOPPED
    assert "inverse kinematics found no solution" in rig.texts[-1]


def test_a_jump_of_the_servo_target_trips_a_protective_stop_before_anything_moves():
    rig = Rig().start()
    rig.command(SERVOJ, *(HOME_JOINTS_RAD + 1.0), 0.5, 0.5, 0.002, 0.05, 300)
    rig.run(0.01)
    assert rig.controller.protective_stop
    np.testing.assert_array_equal(rig.robot.joints, HOME_JOINTS_RAD)


def test_nan_trips_a_protective_stop():
    rig = Rig().start()
    rig.command(SERVOJ, *[np.nan] * 6, 0.5, 0.5, 0.002, 0.05, 300)
    rig.run(0.01)
    assert rig.controller.protective_stop
    assert np.isfinite(rig.robot.joints).all()


def test_a_joint_at_the_end_of_its_range_trips_a_protective_stop():
    rig = Rig().start()
    rig.command(9, 0, 0, 3.0, 0, 0, 0, 10.0, 1.0)
    rig.run(2.0)
    assert rig.controller.protective_stop
    assert abs(rig.robot.joints[2]) <= np.pi


def test_a_protective_stop_brakes_and_is_unlocked_only_after_its_delay():
    rig = Rig().start()
    rig.command(SPEEDL, 0.1, 0, 0, 0, 0, 0, 1.0, 0.1)
    rig.run(0.5)
    rig.controller.trip("test")
    rig.run(0.2)
    assert not rig.robot.joint_velocities.any()
    assert rig.published("safety_status_bits") & 1 << 2
    assert dashboard.reply(rig.controller, "unlock protective stop").startswith("Cannot unlock")
    rig.run(5.0)
    assert dashboard.reply(rig.controller, "unlock protective stop\n") == "Protective stop releasing"
    rig.run(0.5)
    assert not rig.robot.joint_velocities.any()
    assert rig.controller.runtime is RuntimeState.STOPPED


def test_after_an_emergency_stop_the_arm_has_to_be_switched_on_by_hand():
    rig = Rig().start()
    rig.controller.press_emergency_stop(True)
    rig.run(0.1)
    assert rig.published("safety_status_bits") & 1 << 7
    dashboard.reply(rig.controller, "power on")
    assert rig.controller.robot_mode is RobotMode.POWER_OFF
    rig.controller.press_emergency_stop(False)
    rig.start()
    assert rig.controller.runtime is RuntimeState.STOPPED
    dashboard.reply(rig.controller, "brake release")
    assert rig.controller.robot_mode is RobotMode.POWER_OFF
    dashboard.reply(rig.controller, "power on")
    dashboard.reply(rig.controller, "brake release")
    assert rig.start().controller.runtime is RuntimeState.PLAYING


@pytest.mark.parametrize(("version", "runtime"), [((5, 12, 0, 0), "STOPPED"), ((3, 15, 0, 0), "PLAYING")])
def test_in_local_control_programs_are_refused_since_that_switch_exists(version, runtime):
    assert Rig(version, remote_control=False).start().controller.runtime.name == runtime


def test_a_program_that_is_not_the_control_program_is_refused_in_words():
    rig = Rig().start("def other():\n movej([0,0,0,0,0,0])\nend\n")
    assert rig.controller.runtime is RuntimeState.STOPPED
    assert "only the rtde_control program is emulated" in rig.texts[-1]


def test_the_upper_register_range_works_the_same():
    rig = Rig().start(PROGRAM.replace("\n0\n", "\n24\n"))
    assert rig.answer == 1
    rig.command(43)
    rig.run(0.01)
    assert rig.answer == 2
    values = [rig.published(f"output_double_register_{index}") for index in range(24, 30)]
    np.testing.assert_allclose(values, six(tcp_pose(HOME_JOINTS_RAD, IDENTITY)))


def test_a_command_that_is_not_emulated_ends_the_program_rather_than_pretend():
    rig = Rig().start()
    rig.command(52)
    rig.run(0.01)
    assert "program ended: command 52 is not emulated" in rig.texts


def test_digital_outputs_change_only_where_the_mask_says():
    rig = Rig()
    rig.controller.write({"standard_digital_output_mask": 0b110, "standard_digital_output": 0b111}, 0.0)
    rig.controller.write({"configurable_digital_output_mask": 1, "configurable_digital_output": 1}, 0.0)
    assert rig.published("actual_digital_output_bits") == 0b1_0000_0110


def test_time_stamps_step_by_the_cycle():
    rig = Rig((3, 15, 0, 0))
    stamps = []
    for _ in range(5):
        rig.run(0.008)
        stamps.append(rig.published("timestamp"))
    np.testing.assert_allclose(np.diff(stamps), 0.008)


def test_every_offered_variable_is_published():
    for version in ((3, 15, 0, 0), (5, 23, 0, 0), (10, 10, 0, 0)):
        rig = Rig(version)
        rig.run(0.1)
        for name, kind in rig.controller.offered.items():
            value = rig.published(name)
            struct.pack(f">{FORMATS[kind]}", *(value if kind in LENGTHS else [value]))


def test_the_admin_says_what_it_does_not_understand():
    admin = Admin(Rig().controller, Faults())
    assert "error" in admin.answer({"do": "levitate"})
    assert "error" in admin.answer({"do": "freeze", "on": "yes"})
    assert "error" in admin.answer({"do": "drop", "service": "coffee"})
    assert "without a cell" in admin.answer({"do": "view"})["error"]
    assert "without a cell" in admin.answer({"do": "scene", "seed": 1})["error"]


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_that_people_can_type_is_understood_with_its_default(name):
    assert Admin(Rig().controller, Faults()).answer(fault_request(name, None)) == {}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("levitate", None, "There is no fault 'levitate'; choose one of drop"),
        ("drop", "coffee", r"expected rtde\|script"),
        ("freeze", "yes", r"does not know 'yes'; expected on\|off or nothing"),
        ("slow", "fast", "expected SECONDS"),
        ("slow", "-1", "expected SECONDS"),
        ("slow", "nan", "expected SECONDS"),
        ("end-program", "now", "takes no value"),
    ],
)
def test_a_fault_that_makes_no_sense_is_one_sentence(name, value, words):
    with pytest.raises(DeviceError, match=words):
        fault_request(name, value)


def test_a_fault_is_switched_on_and_off_and_said():
    rig, faults = Rig(), Faults()
    admin = Admin(rig.controller, faults)
    for name, value in (("freeze", None), ("slow", "0.25"), ("remote-control", "off")):
        admin.answer(fault_request(name, value))
    assert faults == Faults(freeze=True, slow_s=0.25)
    assert described(admin.answer({"do": "state"})) == (
        "arm on; no stop; control program stopped; local control; link freeze, slow by 0.25 s"
    )
    admin.answer(fault_request("freeze", "off"))
    assert faults == Faults(slow_s=0.25)


def test_an_arm_without_power_is_switched_on_only_with_the_button_released():
    rig = Rig()
    admin = Admin(rig.controller, Faults())
    admin.answer(fault_request("e-stop", None))
    assert "release it first" in admin.answer(fault_request("power-on", None))["error"]
    admin.answer(fault_request("e-stop", "off"))
    assert rig.controller.robot_mode is RobotMode.POWER_OFF
    assert admin.answer(fault_request("power-on", None)) == {}
    assert rig.start().controller.runtime is RuntimeState.PLAYING


def test_the_delay_of_unlocking_can_be_changed():
    rig = Rig().start()
    Admin(rig.controller, Faults()).answer(fault_request("unlock-delay", "1"))
    rig.controller.trip("test")
    rig.run(1.1)
    assert dashboard.reply(rig.controller, "unlock protective stop") == "Protective stop releasing"


def test_clear_ends_all_but_a_protective_stop():
    rig, faults = Rig(), Faults()
    admin = Admin(rig.controller, faults)
    for name in ("freeze", "silence", "refuse", "slow", "e-stop", "protective-stop", "remote-control"):
        admin.answer(fault_request(name, None))
    admin.answer(fault_request("clear", None))
    assert faults == Faults()
    assert described(admin.answer({"do": "state"})) == (
        "arm on; protective stop; control program stopped; remote control; link in order"
    )


def gripper_after(server, seconds, opening=1.0, wanted_speed=1.0):
    for _ in range(round(seconds / 0.002)):
        if server.target_opening is not None:
            opening += min(max(server.target_opening - opening, -0.002 * wanted_speed), 0.002 * wanted_speed)
        server.tick(opening, 0.002)
    return opening


def test_the_gripper_moves_only_once_active():
    server = RobotiqServer()
    assert server.reply("SET ACT 1 GTO 1 SPE 255 FOR 10 POS 255") == b"ack"
    gripper_after(server, 0.1)
    assert server.reply("GET STA") == b"STA 1\n"
    assert server.target_opening is None
    gripper_after(server, 0.5)
    assert server.reply("GET STA") == b"STA 3\n"
    server.reply("SET GTO 1 POS 255")
    assert server.reply("GET OBJ") == b"OBJ 0\n"
    assert gripper_after(server, 1.2) == pytest.approx(0.0)
    assert server.reply("GET POS") == b"POS 230\n"
    assert server.reply("GET OBJ") == b"OBJ 3\n"


def test_a_gripper_that_is_held_reports_contact():
    server = RobotiqServer()
    server.reply("SET ACT 1")
    gripper_after(server, 0.5)
    server.reply("SET GTO 1 POS 255")
    gripper_after(server, 0.5, opening=0.6, wanted_speed=0.0)
    assert server.reply("GET OBJ") == b"OBJ 2\n"


def test_a_gripper_without_power_answers_question_marks():
    server = RobotiqServer()
    server.powered = False
    assert server.reply("GET POS") == b"POS ?\n"

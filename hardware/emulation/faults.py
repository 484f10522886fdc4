"""What can be made to go wrong with the emulated controller, and what else is asked of it on its admin socket.

Every request is one JSON object a line: {"do": NAME, ...}, answered by one line. The asking side is admin.py.
"""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from hardware.emulation.admin import SERVICES, UNLOCK_DELAY_S
from hardware.emulation.controller import Command, Controller, RobotMode
from hardware.emulation.robot import Scenery


@dataclass
class Faults:
    """Link faults that the server obeys.

    freeze: no more RTDE data, all else goes on. silence: nothing is read or answered on any port, connections stay
    open (a pulled cable). refuse: nobody listens. slow_s: RTDE data come late by this time. camera_late_s: cameras that
    are opened take so much longer than their drivers are told.
    """

    freeze: bool = False
    silence: bool = False
    refuse: bool = False
    slow_s: float = 0.0
    camera_late_s: float = 0.0


class Admin:
    """Turns admin requests into faults and answers. `drops` collects the services whose connections are to be cut.

    `scenery` is what stands around the arm, if there is a cell.
    """

    def __init__(self, controller: Controller, faults: Faults, scenery: Scenery | None = None) -> None:
        self._controller, self._faults, self._scenery = controller, faults, scenery
        self.drops: list[str] = []
        self.quit = False

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request says; unknown ones are answered with an error."""
        controller, faults = self._controller, self._faults
        match request:
            case {"do": "freeze" | "silence" | "refuse" as name, "on": bool(on)}:
                setattr(faults, name, on)
            case {"do": "slow", "seconds": float(seconds) | int(seconds)}:
                faults.slow_s = float(seconds)
            case {"do": "camera_late", "seconds": float(seconds) | int(seconds)}:
                faults.camera_late_s = float(seconds)
            case {"do": "obey_late", "seconds": float(seconds) | int(seconds)}:
                controller.mechanism.late_cycles = round(seconds / controller.cycle_s)
            case {"do": "drop", "service": str(service)} if service in (*SERVICES, "all"):
                self.drops.extend(SERVICES if service == "all" else (service,))
            case {"do": "protective_stop"}:
                controller.trip("commanded")
            case {"do": "emergency_stop", "on": bool(on)}:
                controller.press_emergency_stop(on)
            case {"do": "remote_control", "on": bool(on)}:
                controller.settings.remote_control = on
            case {"do": "unlock_delay", "seconds": float(seconds) | int(seconds)}:
                controller.settings.unlock_delay_s = float(seconds)
            case {"do": "power_on"} if controller.emergency_stop:
                return {"error": "the emergency stop is pressed; release it first"}
            case {"do": "power_on"}:
                self._power_on()
            case {"do": "end_program"}:
                controller.end_program("commanded")
            case {"do": "clear"}:
                self._clear()
            case {"do": "view" | "scene"} if self._scenery is None:
                return {"error": "it runs without a cell, so there is nothing to see and no scene to put up"}
            case {"do": "view"} if self._scenery is not None:
                return {**self._scenery.view(), "camera_late_s": faults.camera_late_s}
            case {"do": "scene", "seed": int(seed)} if self._scenery is not None and seed >= 0:
                return {"scene_number": self._scenery.put_up(seed)}
            case {"do": "state"}:
                return self._state()
            case {"do": "events"}:
                return {"events": [asdict(event) for event in controller.events]}
            case {"do": "commands" | "packages" as name}:
                log: deque[Command] = getattr(controller, name)
                commands = [asdict(command) for command in log]
                log.clear()
                return {name: commands}
            case {"do": "quit"}:
                self.quit = True
            case _:
                return {"error": f"cannot do {request}"}
        return {}

    def _power_on(self) -> None:
        if self._controller.robot_mode is not RobotMode.RUNNING:
            self._controller.power(RobotMode.IDLE)
            self._controller.power(RobotMode.RUNNING)

    def _clear(self) -> None:
        faults, settings = self._faults, self._controller.settings
        faults.freeze = faults.silence = faults.refuse = False
        faults.slow_s = faults.camera_late_s = 0.0
        self._controller.mechanism.late_cycles = 0
        settings.remote_control, settings.unlock_delay_s = True, UNLOCK_DELAY_S
        if self._controller.emergency_stop:
            self._controller.press_emergency_stop(False)
        self._power_on()

    def _state(self) -> dict[str, Any]:
        controller = self._controller
        arm = controller.mechanism
        return {
            "joints": arm.robot.joints.tolist(),
            "joint_velocities": arm.robot.joint_velocities.tolist(),
            "tcp_position": arm.base_from_tcp.position.tolist(),
            "flange_from_tcp": arm.flange_from_tcp.position.tolist(),
            "payload_kg": arm.payload_kg,
            "opening": arm.robot.opening,
            "runtime": controller.runtime.name,
            "robot_mode": controller.robot_mode.name,
            "protective_stop": controller.protective_stop,
            "emergency_stop": controller.emergency_stop,
            "digital_outputs": controller.digital_outputs,
            "speed_fraction": controller.speed_fraction,
            "remote_control": controller.settings.remote_control,
            **asdict(self._faults),
        }

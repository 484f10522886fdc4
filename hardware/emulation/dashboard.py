"""The dashboard server's answers. Source: "Dashboard Server e-Series", Universal Robots. PolyScope X has none."""

from hardware.emulation.controller import Controller, RobotMode, RuntimeState

GREETING = "Connected: Universal Robots Dashboard Server"
SERIAL_NUMBER = "20215501234"


def reply(controller: Controller, line: str) -> str:
    """Act on one line and return the answer, without the newline."""
    command = line.strip().lower()
    stopped = controller.emergency_stop, controller.protective_stop
    safety = "ROBOT_EMERGENCY_STOP" if stopped[0] else "PROTECTIVE_STOP" if stopped[1] else "NORMAL"
    if command in _ACTIONS:
        return _ACTIONS[command](controller)
    version = controller.version
    answers = {
        "polyscopeversion": f"URSoftware {version[0]}.{version[1]}.{version[2]}.{version[3]} (Jan 01 2023)",
        "get serial number": SERIAL_NUMBER,
        "get robot model": "UR5",
        "is in remote control": str(controller.settings.remote_control).lower(),
        "robotmode": f"Robotmode: {controller.robot_mode.name}",
        "safetymode": f"Safetymode: {safety}",
        "safetystatus": f"Safetystatus: {safety}",
        "running": f"Program running: {str(controller.runtime is RuntimeState.PLAYING).lower()}",
        "programstate": f"{controller.runtime.name} <unnamed>",
        "close popup": "closing popup",
        "close safety popup": "closing safety popup",
        "quit": "Disconnected",
    }
    return answers.get(command, f"could not understand: '{line.strip()}'")


def _stop(controller: Controller) -> str:
    controller.end_program("stopped from the dashboard")
    return "Stopped"


def _unlock(controller: Controller) -> str:
    return controller.unlock() or "Protective stop releasing"


def _power_on(controller: Controller) -> str:
    if controller.robot_mode is RobotMode.POWER_OFF:
        controller.power(RobotMode.IDLE)
    return "Powering on"


def _power_off(controller: Controller) -> str:
    controller.power(RobotMode.POWER_OFF)
    return "Powering off"


def _release_brakes(controller: Controller) -> str:
    controller.power(RobotMode.RUNNING)
    return "Brake releasing"


_ACTIONS = {
    "stop": _stop,
    "unlock protective stop": _unlock,
    "power on": _power_on,
    "power off": _power_off,
    "brake release": _release_brakes,
}

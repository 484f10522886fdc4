"""The real client library against an emulated controller: what it sends arrives, what it asks is answered.

The library lives in a process of its own here too: its constructors hold the interpreter lock.
"""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

pytestmark = pytest.mark.realtime

CLIENT = """
import json, sys, time
import rtde_control, rtde_io, rtde_receive
host = sys.argv[1]
seen = {}
receiver = rtde_receive.RTDEReceiveInterface(host, use_upper_range_registers=False)
flags = rtde_control.RTDEControlInterface.FLAG_UPLOAD_SCRIPT
if sys.argv[2] == "upper":
    flags |= rtde_control.RTDEControlInterface.FLAG_UPPER_RANGE_REGISTERS
control = rtde_control.RTDEControlInterface(host, flags=int(flags))
start = receiver.getActualQ()
pose = receiver.getActualTCPPose()
target = [start[0] + 0.1, *start[1:]]
seen["moveJ"] = [control.moveJ(target, 1.0, 4.0), *receiver.getActualQ()]
seen["target"] = target
seen["ik"] = control.getInverseKinematics(pose, start)
seen["start"] = start
seen["fk"] = control.getForwardKinematics(start, [0, 0, 0.1, 0, 0, 0])
seen["pose"] = pose
seen["moveL"] = [control.moveL(pose, 0.5, 2.0), *receiver.getActualTCPPose()]
seen["settings"] = [control.setPayload(1.5, [0, 0, 0.02]), control.setTcp([0, 0, 0.1, 0, 0, 0])]
seen["tcp"] = control.getTCPOffset()
seen["tcp_pose"] = receiver.getActualTCPPose()
seen["reachable"] = [control.isPoseWithinSafetyLimits(pose), control.isPoseWithinSafetyLimits([3, 0, 0, 0, 0, 0])]
control.moveJ(target, 0.2, 4.0, True)
time.sleep(0.1)
seen["running"] = control.getAsyncOperationProgress()
control.stopJ(10.0)
seen["stopped"] = control.getAsyncOperationProgress()
control.speedL([0.0, 0.02, 0, 0, 0, 0], 1.0, 0.0)
time.sleep(0.5)
seen["speed"] = receiver.getActualTCPSpeed()
seen["stopL"] = control.speedStop()
servo = receiver.getActualQ()
servo[5] += 0.02
control.servoJ(servo, 0.5, 0.5, 0.002, 0.05, 300)
time.sleep(1.0)
seen["servoJ"] = [*servo, *receiver.getActualQ()]
control.servoStop()
outputs = rtde_io.RTDEIOInterface(host)
outputs.setStandardDigitalOut(3, True)
outputs.setSpeedSlider(0.5)
time.sleep(0.2)
seen["outputs"] = [receiver.getDigitalOutState(3), receiver.getDigitalOutState(2), receiver.getTargetSpeedFraction()]
control.stopScript()  # reuploadScript with a running program crashes the library on PolyScope X
seen["reupload"] = [control.isProgramRunning(), control.reuploadScript()]
time.sleep(0.5)
seen["reupload"].append(control.isProgramRunning())
print(json.dumps(seen), flush=True)
import os
os._exit(0)
"""


def run_client(host, registers):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CLIENT), host, registers],
        capture_output=True,
        env=environment,
        timeout=120,
        check=True,
    )
    return json.loads(result.stdout.decode().strip().splitlines()[-1])


@pytest.mark.parametrize(
    ("version", "registers"), [("3.15", "lower"), ("5.12", "upper"), ("5.23", "lower"), ("10.10", "lower")]
)
def test_the_real_client_moves_asks_and_sets_on_every_generation(emulate, host, version, registers):
    controller = emulate("--controller-version", version)
    seen = run_client(host, registers)
    assert seen["moveJ"][0]
    np.testing.assert_allclose(seen["moveJ"][1:], seen["target"], atol=1e-4)
    np.testing.assert_allclose(seen["ik"], seen["start"], atol=1e-6)
    assert seen["fk"][2] == pytest.approx(seen["pose"][2] - 0.1, abs=1e-3)
    assert seen["moveL"][0]
    np.testing.assert_allclose(seen["moveL"][1:4], seen["pose"][:3], atol=1e-4)
    assert seen["settings"] == [True, True]
    np.testing.assert_allclose(seen["tcp"], [0, 0, 0.1, 0, 0, 0], atol=1e-9)
    assert seen["tcp_pose"][2] == pytest.approx(seen["pose"][2] - 0.1, abs=1e-3)
    assert seen["reachable"] == [True, False]
    assert seen["running"] >= 0
    assert seen["stopped"] < 0
    np.testing.assert_allclose(seen["speed"], [0.0, 0.02, 0, 0, 0, 0], atol=1e-4)
    assert seen["stopL"]
    np.testing.assert_allclose(seen["servoJ"][6:], seen["servoJ"][:6], atol=1e-3)
    assert seen["outputs"] == [True, False, 0.5]
    assert seen["reupload"] == [False, True, True]
    state = controller.state()
    assert state["payload_kg"] == 1.5
    assert state["digital_outputs"] == 0b1000


def test_an_address_that_is_not_loopback_is_refused(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "hardware.emulation", "--host", "0.0.0.0"], capture_output=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert b"loopback addresses only" in result.stderr


def test_an_address_that_is_taken_is_said(emulate, host):
    emulate()
    result = subprocess.run(
        [sys.executable, "-m", "hardware.emulation", "--host", host], capture_output=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert b"use another 127.0.0.x address" in result.stderr

"""A check that hangs, crashes or fails costs one line, in bounded time, and leaves no process behind."""

import ctypes
import os
import time
from multiprocessing import active_children

from drift_robot.doctor.apart import Job, run_apart
from drift_robot.doctor.findings import Check, Finding, Level, ok


def well(name: str) -> Check:
    yield f"looking at {name}"
    yield ok(name, f"fine in {os.getpid()}")


def hangs_holding_the_interpreter_lock() -> Check:
    yield ok("camera", "connected")
    ctypes.PyDLL(None).sleep(1000)  # as ur-rtde's constructors hang: no other thread of the process runs


def crashes() -> Check:
    yield ok("robot", "connected")
    ctypes.string_at(0)


def fails() -> Check:
    yield from ()
    raise RuntimeError("the driver is angry")


def noisy() -> Check:
    os.write(1, b"a library talks")
    os.write(2, b"a library complains")
    yield ok("noisy", "fine")


def findings(*jobs: Job) -> list[Finding]:
    return [said for said in run_apart(*jobs) if isinstance(said, Finding)]


def test_a_check_reports_from_a_process_of_its_own() -> None:
    said = list(run_apart(Job("a", 60.0, well, ("a",))))
    assert said[0] == "looking at a"
    assert isinstance(said[1], Finding)
    assert str(os.getpid()) not in said[1].found
    assert active_children() == []


def test_a_check_that_hangs_is_killed_and_said_and_what_it_found_is_kept() -> None:
    began_s = time.monotonic()
    found = findings(Job("camera", 5.0, hangs_holding_the_interpreter_lock))
    assert time.monotonic() - began_s < 30.0
    assert [finding.level for finding in found] == [Level.OK, Level.PROBLEM]
    assert found[1].found == "The check did not end within 5 s."
    assert found[1].advice
    assert active_children() == []


def test_a_check_that_crashes_is_said() -> None:
    found = findings(Job("robot", 60.0, crashes))
    assert [finding.level for finding in found] == [Level.OK, Level.PROBLEM]
    assert "SIGSEGV" in found[1].found


def test_an_error_that_nobody_foresaw_is_said() -> None:
    (found,) = findings(Job("robot", 60.0, fails))
    assert found.level is Level.PROBLEM
    assert "the driver is angry" in found.found


def test_checks_at_the_same_time_do_not_wait_for_each_other() -> None:
    hanging = Job("camera", 5.0, hangs_holding_the_interpreter_lock)
    subjects = [finding.subject for finding in findings(hanging, Job("b", 5.0, well, ("b",)))]
    assert subjects.index("b") < 2
    assert subjects[-1] == "camera"


def test_libraries_that_talk_to_the_terminal_are_not_heard(capfd: object) -> None:
    assert findings(Job("noisy", 60.0, noisy))[0].level is Level.OK
    assert tuple(capfd.readouterr()) == ("", "")  # type: ignore[attr-defined]


def test_an_examination_that_is_given_up_leaves_no_process() -> None:
    running = run_apart(Job("camera", 60.0, hangs_holding_the_interpreter_lock))
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert active_children() == []

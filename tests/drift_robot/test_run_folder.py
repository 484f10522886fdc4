import os
from pathlib import Path

import pytest

from drift_robot.errors import UserError
from drift_robot.run_folder import RunFolder, occupied


def test_a_run_that_is_worked_in_is_refused_to_a_second_session(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with (
        occupied(run),
        pytest.raises(UserError, match=r"Another drift-robot works in .*run; end that one first"),
        occupied(run),
    ):
        pass
    with occupied(run):
        pass


def test_a_run_is_free_again_once_its_process_has_died(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    pid = os.fork()
    if pid == 0:
        with occupied(run):
            os._exit(0)
    os.waitpid(pid, 0)
    with occupied(run):
        pass

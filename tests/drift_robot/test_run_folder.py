import os
from dataclasses import replace
from pathlib import Path

import pytest

from data.files import read_json, write_json
from drift_robot.config import Config
from drift_robot.errors import UserError
from drift_robot.run_folder import RunFolder, claim, occupied


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


def test_a_run_goes_on_with_options_that_came_after_it_as_long_as_they_are_not_set(tmp_path: Path) -> None:
    run, config = RunFolder(tmp_path / "run"), Config()
    claim(run, config)
    path = run.path / "configuration.json"
    older = read_json(path)
    del older["compile_policy"]
    write_json(path, older)
    claim(run, config)
    with pytest.raises(UserError, match="was begun with another configuration"):
        claim(run, replace(config, compile_policy=True))
    assert read_json(path) == older

from collections.abc import Iterator

import pytest
from realtime_bench import LAYOUT, PROCESSES, configuration
from tiny_run import silently

from drift_robot.bootstrap import bootstrap
from drift_robot.collect import collect
from drift_robot.realtime.lines import Lines, open_lines
from drift_robot.run_folder import RunFolder


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The rings of a session of the lift task with one small camera."""
    with open_lines(PROCESSES, LAYOUT, 16, 1, 15) as rings:
        yield rings


@pytest.fixture(scope="session")
def bootstrapped(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with demonstrations and version 0 for a real-time session; leave it as it is."""
    run = RunFolder(tmp_path_factory.mktemp("realtime"))
    collect(configuration(1), run, silently)
    bootstrap(configuration(1), run, silently)
    return run

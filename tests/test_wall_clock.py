"""A clock that is stepped, by NTP or by hand, moves nothing: whatever decides or measures uses the monotonic clock."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
WALL_CLOCKS = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}
LABELS = {
    "calibration/files.py",  # when a calibration was made, and how many days ago
    "data/episode.py",  # started_utc
    "data/events.py",  # utc
    "data/relabel.py",  # when somebody corrected a label
    "data/session.py",  # started_utc
    "drift_robot/trainer.py",  # utc of a line of its figures
}


def readings(path: Path) -> Iterator[str]:
    """Yield the calls in a file that read the wall clock."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=name)) if (module, name) in WALL_CLOCKS:
                yield f"{module}.{name}"


def test_the_wall_clock_is_read_for_labels_alone() -> None:
    reading = {
        str(path.relative_to(ROOT)): set(readings(path))
        for package in ("drift_robot", "hardware", "policies", "data", "calibration")
        for path in (ROOT / package).rglob("*.py")
    }
    assert {file for file, calls in reading.items() if calls} <= LABELS
    assert all(calls <= {"datetime.now"} for calls in reading.values())

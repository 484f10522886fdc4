"""Our client of spacenavd's socket against a double that speaks the daemon's protocol over a real Unix socket."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hardware.emulation.spacenavd import COMPACT, PRO, EmulatedSpacenavd
from hardware.errors import DeviceError
from hardware.input_devices import puck
from hardware.input_devices.puck import Button, Motion
from hardware.input_devices.spacenav import SpacenavLink


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spnav.sock"


@pytest.fixture
def daemon(path: Path) -> Iterator[EmulatedSpacenavd]:
    daemon = EmulatedSpacenavd(path)
    yield daemon
    daemon.close()


@pytest.fixture
def connect(path: Path) -> Iterator[Callable[..., SpacenavLink]]:
    links: list[SpacenavLink] = []

    def connect(answer_s: float = 0.5) -> SpacenavLink:
        links.append(SpacenavLink(str(path), answer_s))
        return links[-1]

    yield connect
    for link in links:
        link.close()


def collect(link: SpacenavLink, number: int) -> list[Motion | Button]:
    events: list[Motion | Button] = []
    wait_until(lambda: len(events) >= number or bool(events.extend(link.events())))
    return events


def wait_until(done: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.002)


def test_the_axes_come_as_right_forward_and_up(connect: Callable[..., SpacenavLink], daemon: EmulatedSpacenavd) -> None:
    link = connect()
    daemon.move(x=1, y=2, z=3, rx=4, ry=5, rz=6)
    assert collect(link, 1) == [Motion((1, 3, 2, 4, 6, 5))]


def test_buttons_come_by_name_and_in_order(connect: Callable[..., SpacenavLink], daemon: EmulatedSpacenavd) -> None:
    link = connect()
    daemon.press(1)
    daemon.move(x=100)
    daemon.release(1)
    assert collect(link, 3) == [Button("right", True), Motion((100, 0, 0, 0, 0, 0)), Button("right", False)]


@pytest.mark.parametrize(("number", "name"), [(0, "1"), (4, "menu"), (13, "shift"), (14, "ctrl"), (40, "button 40")])
def test_the_daemon_tells_that_it_is_a_pro(
    connect: Callable[..., SpacenavLink], path: Path, number: int, name: str
) -> None:
    daemon = EmulatedSpacenavd(path, usb_id=PRO)
    link = connect()
    assert link.model is puck.PRO
    daemon.press(number)
    assert collect(link, 1) == [Button(name, True)]
    daemon.close()


def test_an_unknown_device_counts_as_a_compact(connect: Callable[..., SpacenavLink], path: Path) -> None:
    daemon = EmulatedSpacenavd(path, usb_id=(0x1234, 0x5678))
    assert connect().model is puck.COMPACT
    daemon.close()


def test_a_daemon_that_knows_only_version_zero_is_understood(connect: Callable[..., SpacenavLink], path: Path) -> None:
    daemon = EmulatedSpacenavd(path, protocol=0)
    link = connect(answer_s=0.05)
    daemon.wait_for_client()
    assert daemon.protocols == [0]
    daemon.move(x=7)
    daemon.press(0)
    assert collect(link, 2) == [Motion((7, 0, 0, 0, 0, 0)), Button("left", True)]
    daemon.close()


def test_thousands_of_events_are_read_whole_and_in_order(
    connect: Callable[..., SpacenavLink], daemon: EmulatedSpacenavd
) -> None:
    link = connect()
    events: list[Motion | Button] = []
    for x in range(3000):
        daemon.move(x=x % 350, y=x)
        if x % 50 == 0:
            events += link.events()
    events += collect(link, 3000 - len(events))
    assert events == [Motion((x % 350, 0, x, 0, 0, 0)) for x in range(3000)]


def test_a_dead_daemon_is_seen_at_once_and_one_that_comes_back_is_found(
    connect: Callable[..., SpacenavLink], path: Path
) -> None:
    daemon = EmulatedSpacenavd(path)
    link = connect()
    assert link.problem == ""
    daemon.close()
    link.events()
    assert "spacenavd has stopped" in link.problem
    again = EmulatedSpacenavd(path)
    wait_until(lambda: link.events() == [] and link.problem == "")
    again.wait_for_client()
    again.move(z=5)
    assert collect(link, 1) == [Motion((0, 5, 0, 0, 0, 0))]
    again.close()


def test_a_device_that_is_unplugged_and_plugged_in_again_is_noticed(
    connect: Callable[..., SpacenavLink], daemon: EmulatedSpacenavd
) -> None:
    link = connect()
    daemon.unplug()
    wait_until(lambda: link.events() == [] and "sees no SpaceMouse" in link.problem)
    daemon.plug(PRO)
    wait_until(lambda: link.events() == [] and link.problem == "")
    assert link.model is puck.PRO


def test_without_the_daemon_the_command_that_starts_it_is_named(connect: Callable[..., SpacenavLink]) -> None:
    with pytest.raises(DeviceError, match=r"spacenavd does not answer at .*: start it with `sudo systemctl start"):
        connect()


def test_a_daemon_without_a_device_is_refused(connect: Callable[..., SpacenavLink], path: Path) -> None:
    daemon = EmulatedSpacenavd(path, usb_id=None)
    with pytest.raises(DeviceError, match="spacenavd sees no SpaceMouse: plug it in"):
        connect()
    daemon.plug(COMPACT)
    assert connect().problem == ""
    daemon.close()

"""The whole job in real time with a person: every key and button through SDL, her device, gate, recorder, trainer."""

from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from person import demonstrate, teleop_with_a_person, whole_job, window_with_a_person
from realtime_bench import configuration

from data.episode import Episode
from data.schema import Outcome, Owner
from data.session import Session
from data.verify import verify
from drift_robot.realtime import supervisor
from drift_robot.realtime.supervisor import run_session
from drift_robot.run_folder import RunFolder
from hardware.input_devices import DeviceName
from hardware.input_devices.mapping import Style

pytestmark = pytest.mark.realtime

LEARNER, TRANSITION, EXPERT = Owner.LEARNER, Owner.TRANSITION, Owner.EXPERT


@pytest.fixture(autouse=True)
def without_hardware(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    monkeypatch.setenv("SPNAV_SOCKET", str(tmp_path / "spnav.sock"))


def owners(episode: Episode) -> list[Owner]:
    """Return who drove, one after the other."""
    return [Owner(owner) for owner, _ in groupby(episode.column("owner").tolist())]


@pytest.mark.parametrize("device", ["keyboard", "gamepad"])
def test_a_person_shows_the_task(device: DeviceName, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    _sit(monkeypatch, device, demonstrate)
    figures = run_session(configuration(1, demonstrations=3), run, "collect", device, device == "keyboard", print)
    assert figures.complete
    episode = Episode.open(Session.open(run.demonstrations).episodes()[-1])
    assert episode.outcome is Outcome.SUCCESS
    assert owners(episode) == [EXPERT]


@pytest.mark.parametrize(
    ("device", "style"),
    [pytest.param("keyboard", "toggle", marks=pytest.mark.long), ("gamepad", "deadman"), ("spacemouse", "toggle")],
)
def test_a_person_presses_through_the_whole_job(
    device: DeviceName, style: Style, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    _sit(monkeypatch, device, partial(whole_job, run.path))
    config = configuration(3, candidate_labels=100_000)
    config = replace(config, gate=replace(config.gate, style=style, min_correction_s=0.9))
    heard: list[str] = []
    figures = run_session(config, run, "adapt", device, device == "keyboard", heard.append)
    assert figures.complete, heard
    assert heard[-1] == "All 3 episodes are done.", "she has ended the session"
    session = Session.open(run.session)
    corrected, with_new, rolled_back = (Episode.open(path) for path in session.episodes())

    assert corrected.outcome is Outcome.SUCCESS
    assert owners(corrected) == [LEARNER, TRANSITION, LEARNER, TRANSITION, EXPERT, LEARNER, TRANSITION, EXPERT]
    assert [figure.index for figure in figures.episodes] == [corrected.index, with_new.index, rolled_back.index], (
        "what was dropped does not count"
    )
    assert sum("nobody learns from it" in sentence for sentence in heard) >= 1
    recovered = corrected.column("recovered")
    marked = int(np.argmax(recovered))
    assert marked > 0
    assert recovered[marked:].all()
    assert corrected.column("owner")[marked] == EXPERT

    binned = [Episode.open(path) for path in session.binned_episodes()]
    assert [episode.outcome for episode in binned] == [Outcome.DISCARDED, Outcome.FAILURE, Outcome.FAILURE]
    assert all(finding.good for finding in verify(run.session))

    assert run.versions().published() == [0, 1]
    assert run.versions().good() == [0]
    assert set(with_new.column("policy.version")) == {1}
    assert set(rolled_back.column("policy.version")) == {0}
    assert figures.swaps == 2


def _sit(monkeypatch: pytest.MonkeyPatch, device: DeviceName, job: object) -> None:
    if device == "keyboard":
        monkeypatch.setattr(supervisor, "run_operator_window", partial(window_with_a_person, job))
    else:
        monkeypatch.setattr(supervisor, "run_teleop", partial(teleop_with_a_person, job))

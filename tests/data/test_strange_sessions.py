"""Episodes that a stranger made to harm: nothing outside their folder is read, and no absurd memory is asked for."""

import io
import json
import os
from pathlib import Path

import pytest
from exchanged import session_of
from rich.console import Console

from data.episode import Episode
from data.errors import DataError
from data.report import list_session
from data.session import Session, finished_episodes
from data.verify import State, verify


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    return finished_episodes(session_of(tmp_path / "session"))[0]


def read_all(path: Path) -> None:
    opened = Episode.open(path)
    for column in opened.columns:
        opened.column(column.name)


def change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def attributes(episode: Path, **changes: object) -> None:
    document = json.loads((episode / "zarr.json").read_text())
    change(episode / "zarr.json", attributes=document["attributes"] | changes)


LINKED = ["zarr.json", "owner", "owner/zarr.json", "owner/c.0", "observation.images.front/c.0.0.0.0"]


@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize("target", ["copy", "/dev/zero"])
def test_no_link_is_followed(episode: Path, name: str, target: str) -> None:
    (episode / name).rename(episode.parent / "copy")
    (episode / name).symlink_to(episode.parent / "copy" if target == "copy" else target)
    with pytest.raises(DataError, match="link"):
        read_all(episode)
    assert verify(episode)[0].state is State.CORRUPT


def test_no_pipe_is_waited_for(episode: Path) -> None:
    (episode / "owner" / "c.0").unlink()
    os.mkfifo(episode / "owner" / "c.0")
    with pytest.raises(DataError, match="not a file"):
        read_all(episode)


STRANGE_ATTRIBUTES = {
    "a camera outside": {"layout": {"object_dim": 8, "cameras": {"../../../etc": [4, 4]}}},
    "absurd pictures": {"layout": {"object_dim": 8, "cameras": {"front": [10**6, 10**6]}}},
    "absurd objects": {"layout": {"object_dim": 10**12, "cameras": {}}},
    "absurd steps": {"committed_steps": 10**15},
    "steps that are none": {"committed_steps": "__import__('os')"},
    "relabelled steps that are none": {"relabelled": [{"utc": "", "by": "", "steps": [0, -5]}]},
}


@pytest.mark.parametrize("changes", STRANGE_ATTRIBUTES.values(), ids=STRANGE_ATTRIBUTES.keys())
def test_strange_attributes_are_refused(episode: Path, changes: dict[str, object]) -> None:
    attributes(episode, **changes)
    with pytest.raises(DataError):
        read_all(episode)


STRANGE_ARRAYS = {
    "another type": {"data_type": "object"},
    "a codec that runs code": {"codecs": [{"name": "numcodecs.pickle"}]},
    "absurd chunks": {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [65_536, 64, 96, 3]}}},
    "absurd rows": {"shape": [10**12, 64, 96, 3]},
}


@pytest.mark.parametrize("changes", STRANGE_ARRAYS.values(), ids=STRANGE_ARRAYS.keys())
def test_strange_arrays_are_refused(episode: Path, changes: dict[str, object]) -> None:
    attributes(episode, committed_steps=10**12)
    for column in Episode.open(episode).layout.columns():
        if "shape" in changes:
            described = episode / column.name / "zarr.json"
            change(described, shape=[10**12, *json.loads(described.read_text())["shape"][1:]])
    change(episode / "observation.images.front" / "zarr.json", **changes)
    with pytest.raises(DataError):
        Episode.open(episode).column("observation.images.front")


def test_deep_json_is_refused(episode: Path) -> None:
    (episode / "zarr.json").write_text("[" * 200_000)
    with pytest.raises(DataError, match="not JSON"):
        Episode.open(episode)


def test_a_strange_episode_does_not_keep_the_others_from_being_listed(episode: Path) -> None:
    attributes(episode, committed_steps=10**15)
    console = Console(file=io.StringIO(), width=200)
    session = episode.parent.parent
    list_session(session, console)
    assert len(Session.open(session).episodes()) == 3
    assert "damaged" in console.file.getvalue()  # type: ignore[attr-defined]

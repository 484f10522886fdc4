"""Sessions whose trainer is another program, which they meet in an object store: an S3 server on loopback."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from tiny_run import TINY, cli, ended_trainer, meeting, same_episodes, silently

from drift_robot.adapt import adapt
from drift_robot.remote.courier import Courier
from drift_robot.remote.store import Store, StoreError
from drift_robot.run_folder import RunFolder
from policies.checkpoint import load_policy

pytestmark = pytest.mark.slow


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A URL in an empty bucket of an S3 server on loopback, which this process and its children can reach."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "operator",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    bucket = f"bucket-{port}"
    S3FileSystem().mkdir(bucket)
    yield f"s3://{bucket}/run"
    S3FileSystem.clear_instance_cache()
    server.stop()


def test_through_an_object_store_a_session_learns_what_it_learns_from_a_trainer_of_its_own(
    bootstrapped: RunFolder, run: RunFolder, s3: str, tmp_path: Path
) -> None:
    alone = RunFolder(tmp_path / "alone")
    shutil.copytree(bootstrapped.path, alone.path)
    figures = adapt(TINY, alone, silently, print)
    elsewhere = RunFolder(tmp_path / "elsewhere")
    trainer = cli("train", "--store", s3, "--out", elsewhere.path)
    said: list[str] = []
    try:
        remote = adapt(meeting(TINY, s3), run, silently, said.append)
    finally:
        words = ended_trainer(trainer)
    assert said == []
    assert remote.episodes == figures.episodes
    assert remote.swaps == figures.swaps >= 1
    assert remote.final_version == figures.final_version
    assert remote.episodes[-1].version >= 1, "what was trained there acts here"
    assert same_episodes(run, alone)
    assert f"Version {remote.final_version} is published." in words
    for version in run.versions().published():
        policy, mine = load_policy(run.versions().path(version))[0], load_policy(alone.versions().path(version))[0]
        assert all((value == mine.state_dict()[name]).all() for name, value in policy.state_dict().items())
    assert len(run.trainer_figures.read_text().splitlines()) == TINY.adapt.episodes


def test_a_trainer_that_is_started_again_on_another_machine_goes_on(run: RunFolder, s3: str, tmp_path: Path) -> None:
    short = replace(TINY, adapt=replace(TINY.adapt, episodes=2))
    trainer = cli("train", "--store", s3, "--out", tmp_path / "first")
    try:
        first = adapt(meeting(short, s3), run, silently, print)
    finally:
        ended_trainer(trainer)
    trainer = cli("train", "--store", s3, "--out", tmp_path / "second")
    try:
        second = adapt(meeting(TINY, s3), run, silently, print)
    finally:
        ended_trainer(trainer)
    assert second.final_version > first.final_version >= 1
    assert RunFolder(tmp_path / "second").versions().published() == run.versions().published()


def test_an_object_store_without_the_bucket_or_the_server_is_told_in_a_sentence(run: RunFolder, s3: str) -> None:
    with pytest.raises(StoreError, match="The store s3://nowhere/run does not answer"):
        Courier(run, Store("s3://nowhere/run"), {}).turn()

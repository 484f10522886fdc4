import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from recording import WITH_PICTURES, numbers, owners, picture, record

from data.buffer import ReplayBuffer
from data.episode import Episode
from data.errors import DataError
from data.schema import EpisodeLayout, Outcome
from data.verify import verify
from data.windows import Source, WindowRules

CORRECTED = owners("L" * 30 + "TTT" + "E" * 20 + "L" * 10)


def add(buffer: ReplayBuffer, session: Path, index: int, labels: list, outcome: Outcome = Outcome.SUCCESS) -> Path:
    path = record(session, labels, outcome, index)
    buffer.add(Episode.open(path))
    return path


def demonstration(steps: int = 40) -> list:
    return owners("E" * steps)


def test_a_batch_holds_the_steps_that_its_windows_name(tmp_path: Path) -> None:
    buffer = ReplayBuffer(obs_horizon=2, pred_horizon=4, cameras=("front",))
    buffer.add(Episode.open(record(tmp_path, 7, index=0, layout=WITH_PICTURES)))
    buffer.add(Episode.open(record(tmp_path, owners("LLEEEL"), index=1, layout=WITH_PICTURES)))
    batch = buffer.gather(np.array([0, 3, 7]))
    for row, (observed, acted) in enumerate([((0, 0), (0, 1, 2, 3)), ((2, 3), (3, 4, 5, 6)), ((1, 2), (2, 3, 4, 5))]):
        np.testing.assert_array_equal(batch.tcp[row], [numbers(step, 9) for step in observed])
        np.testing.assert_array_equal(batch.commanded[row], numbers(observed[-1] + 1000, 9))
        np.testing.assert_array_equal(batch.gripper[row], [numbers(step, 1) for step in observed])
        np.testing.assert_array_equal(batch.objects[row], [numbers(step + 2000, 8) for step in observed])
        np.testing.assert_array_equal(batch.images["front"][row], [picture(step, (6, 8)) for step in observed])
        np.testing.assert_array_equal(batch.actions[row], [numbers(step + 3000, 10) for step in acted])
    assert batch.mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch.source.tolist() == [Source.DEMONSTRATION, Source.DEMONSTRATION, Source.INTERVENTION]
    assert list(batch.images) == ["front"]
    assert {batch.tcp.dtype, batch.actions.dtype, batch.mask.dtype} == {np.dtype(np.float32)}
    assert batch.images["front"].dtype == np.uint8


def test_many_episodes_stay_apart_while_the_memory_grows(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 16)
    for index in range(12):
        add(buffer, tmp_path, index, demonstration(10 + index))
    batch = buffer.gather(np.arange(len(buffer)))
    first = batch.actions[:, 0, 0] - 3000
    np.testing.assert_array_equal(batch.tcp[:, 1, 0], first)
    assert len(buffer) == sum(10 + index for index in range(12))
    last = np.cumsum([10 + index for index in range(12)]) - 1
    np.testing.assert_array_equal(batch.actions[last, 15, 0] - 3000, [9 + index for index in range(12)])


@pytest.mark.parametrize("batch_size", [1, 7, 128])
def test_each_source_has_its_share(tmp_path: Path, batch_size: int) -> None:
    buffer = ReplayBuffer(2, 4, WindowRules(autonomous=True))
    add(buffer, tmp_path, 0, demonstration())
    add(buffer, tmp_path, 1, CORRECTED)
    rng = np.random.default_rng(0)
    shares = {Source.INTERVENTION: 0.5, Source.DEMONSTRATION: 0.3, Source.AUTONOMOUS: 0.2}
    counts = np.zeros(3)
    for _ in range(3000):
        batch = buffer.sample(batch_size, rng, shares)
        assert len(batch.source) == batch_size
        of_batch = np.bincount(batch.source, minlength=3)
        assert (np.abs(of_batch - batch_size * np.array([0.3, 0.5, 0.2])) <= 1).all()
        counts += of_batch
    np.testing.assert_allclose(counts / counts.sum(), [0.3, 0.5, 0.2], atol=0.03)


def test_the_share_of_an_absent_source_goes_to_the_others(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 4)
    add(buffer, tmp_path, 0, demonstration())
    batch = buffer.sample(16, np.random.default_rng(0))
    assert set(batch.source.tolist()) == {Source.DEMONSTRATION}


def test_windows_are_drawn_by_weight(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 4)
    add(buffer, tmp_path, 0, CORRECTED)
    rng = np.random.default_rng(0)
    first = np.concatenate([buffer.sample(200, rng).actions[:, 0, 0] for _ in range(100)]) - 3000
    drawn = np.bincount(np.rint(first).astype(int), minlength=60)[33:53]
    near = drawn[:8].mean()
    far = drawn[8:].mean()
    assert near / far == pytest.approx(4.0, rel=0.15)
    assert (drawn > 0).all()


def test_steps_before_a_takeover_are_never_drawn(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 4, WindowRules(autonomous=True))
    add(buffer, tmp_path, 0, CORRECTED)
    rng = np.random.default_rng(0)
    batch = buffer.sample(5000, rng, {Source.AUTONOMOUS: 1.0})
    drawn = set(np.rint(batch.actions[:, 0, 0] - 3000).astype(int).tolist())
    assert drawn == {*range(15), *range(53, 63)}


def test_an_empty_buffer_says_that_there_is_nothing_to_train_on(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 4)
    with pytest.raises(DataError, match="nothing to train on"):
        buffer.sample(8, np.random.default_rng(0))
    add(buffer, tmp_path, 0, owners("LLLL"))
    with pytest.raises(DataError, match="nothing to train on"):
        buffer.sample(8, np.random.default_rng(0))


def test_every_nth_corrected_episode_is_held_out(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 4, held_out_every=3)
    held_out = []
    for index in range(9):
        labels = demonstration() if index % 3 == 0 else CORRECTED
        held_out.append(buffer.add(Episode.open(record(tmp_path, labels, index=index))).held_out)
    assert held_out == [False, False, False, False, True, False, False, False, True]
    kept, apart = buffer.select(Source.INTERVENTION), buffer.select(Source.INTERVENTION, held_out=True)
    assert (len(kept), len(apart)) == (80, 40)
    assert not set(kept) & set(apart)
    marked = np.zeros(len(buffer), dtype=bool)
    marked[apart] = True
    draws = buffer.gather(apart)
    assert (draws.source == Source.INTERVENTION).all()


def test_nothing_held_out_is_drawn(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 4, held_out_every=1)
    add(buffer, tmp_path, 0, CORRECTED)
    add(buffer, tmp_path, 1, demonstration())
    batch = buffer.sample(64, np.random.default_rng(0))
    assert set(batch.source.tolist()) == {Source.DEMONSTRATION}
    assert len(buffer.select(Source.INTERVENTION, held_out=True)) == 20


def test_a_forgotten_episode_is_not_drawn_and_may_come_back(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 4)
    path = add(buffer, tmp_path, 0, CORRECTED)
    add(buffer, tmp_path, 1, demonstration())
    rng = np.random.default_rng(0)
    assert Source.INTERVENTION in buffer.sample(64, rng).source
    buffer.forget(path)
    assert Source.INTERVENTION not in buffer.sample(64, rng).source
    assert path not in buffer.episodes
    buffer.add(Episode.open(path))
    assert Source.INTERVENTION in buffer.sample(64, rng).source


def test_what_an_episode_brings_is_reported(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 4, WindowRules(autonomous=True))
    brought = buffer.add(Episode.open(record(tmp_path, CORRECTED)))
    assert brought.windows == {Source.DEMONSTRATION: 0, Source.INTERVENTION: 20, Source.AUTONOMOUS: 25}
    assert (brought.expert_steps, brought.held_out) == (20, False)


def test_an_episode_is_not_added_twice(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 4)
    path = add(buffer, tmp_path, 0, demonstration())
    with pytest.raises(DataError, match="in the buffer already"):
        buffer.add(Episode.open(path))


def test_an_episode_of_another_layout_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 4)
    add(buffer, tmp_path, 0, demonstration())
    other = record(tmp_path, 5, index=1, layout=EpisodeLayout(object_dim=3))
    with pytest.raises(DataError, match=r"observation\.objects of shape \[3\]; the other episodes have \[8\]"):
        buffer.add(Episode.open(other))
    assert len(buffer) == 40
    assert buffer.sample(8, np.random.default_rng(0)).objects.shape == (8, 2, 8)


def test_a_damaged_episode_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 4)
    path = record(tmp_path, demonstration())
    chunk = path / "action.executed" / "c.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-3])
    with pytest.raises(DataError, match="corrupt"):
        buffer.add(Episode.open(path))
    assert (len(buffer), buffer.episodes) == (0, ())


def test_the_same_seed_draws_the_same_batch(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 4)
    add(buffer, tmp_path, 0, demonstration())
    add(buffer, tmp_path, 1, CORRECTED)
    one, two = (buffer.sample(32, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.actions, two.actions)


def test_sampling_is_fast(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 16)
    for index in range(10):
        add(buffer, tmp_path, index, demonstration(100) if index % 2 else CORRECTED)
    rng = np.random.default_rng(0)
    buffer.sample(128, rng)
    times = []
    for _ in range(50):
        began = time.perf_counter()
        buffer.sample(128, rng)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.3e-3


def test_a_cell_without_tracked_objects_gives_batches_without_object_features(tmp_path: Path) -> None:
    path = record(tmp_path, 20, layout=EpisodeLayout(object_dim=0, cameras={"front": (6, 8)}))
    assert all(finding.good for finding in verify(path))
    assert "observation.objects" not in zarr.open_group(path, mode="r")
    buffer = ReplayBuffer(2, 4, cameras=["front"])
    buffer.add(Episode.open(path))
    batch = buffer.sample(8, np.random.default_rng(0))
    assert batch.objects.shape == (8, 2, 0)
    assert batch.images["front"].shape == (8, 2, 6, 8, 3)


def test_held_out_windows_are_told_apart_by_episode(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 4, held_out_every=2)
    for index in range(5):
        add(buffer, tmp_path, index, CORRECTED)
    episodes = buffer.held_out_episodes()
    assert [len(windows) for windows in episodes] == [20, 20]
    np.testing.assert_array_equal(np.concatenate(episodes), buffer.select(Source.INTERVENTION, held_out=True))


def test_pairs_are_windows_of_one_episode_so_many_steps_apart(tmp_path: Path) -> None:
    buffer = ReplayBuffer(2, 4)
    assert buffer.pairs(Source.DEMONSTRATION, 3).shape == (0, 2)
    paths = [add(buffer, tmp_path, index, demonstration(length)) for index, length in enumerate((20, 3, 12))]
    add(buffer, tmp_path, 3, owners("LLLLLEEEEEEEE"))
    pairs = buffer.pairs(Source.DEMONSTRATION, 3)
    assert len(pairs) == 17 + 9
    first, later = (buffer.gather(part).tcp[:, -1, 0] for part in pairs.T)
    assert np.array_equal(later - first, np.full(26, 3.0, np.float32))
    assert len(buffer.pairs(Source.INTERVENTION, 3)) == 5
    buffer.forget(paths[0])
    assert len(buffer.pairs(Source.DEMONSTRATION, 3)) == 9

"""The exchange through a folder: whole or nothing, whatever is cut or damaged; and what either side makes of it."""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from folders import Cut, CutStore, contents, episode, small_run, visible, write_item
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import wait_for

from drift_robot.config import Config, config_to_dict
from drift_robot.errors import UserError
from drift_robot.remote import courier as courier_module
from drift_robot.remote import exchange as exchange_module
from drift_robot.remote import items as items_module
from drift_robot.remote import train as train_module
from drift_robot.remote.courier import Courier, carry
from drift_robot.remote.exchange import ROBOT_HEAD, TRAINER_HEAD, Exchange, Noted, note_store, offered_episodes
from drift_robot.remote.items import Head, fetch_item, read_head
from drift_robot.remote.store import Store, StoreError
from drift_robot.remote.train import Mirror
from drift_robot.run_folder import RunFolder
from drift_robot.trainer import TrainerWord
from policies.checkpoint import Manifest, save
from policies.policy import DiffusionPolicy, PolicyConfig

SMALL = PolicyConfig(unet_dims=(8,))
CONFIGURATION = config_to_dict(Config())
PIECES = 512
CUTS = st.lists(st.integers(0, 40), max_size=4)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "store").mkdir()
    return Store(str(tmp_path / "store"))


@pytest.fixture
def robot(tmp_path: Path) -> RunFolder:
    return small_run(tmp_path / "robot")


@pytest.fixture
def machine(tmp_path: Path) -> RunFolder:
    (tmp_path / "machine").mkdir()
    return RunFolder(tmp_path / "machine")


def courier_of(run: RunFolder, store: Store) -> Courier:
    return Courier(run, store, CONFIGURATION)


def mirrored(run: RunFolder, store: Store) -> Mirror:
    mirror = Mirror(run, store.url)
    assert mirror.prepare() is not None
    return mirror


def met(robot: RunFolder, machine: RunFolder, store: Store) -> tuple[Courier, Mirror]:
    """A session and a trainer that have met in the store: what training begins with is on both sides."""
    courier = courier_of(robot, store)
    courier.turn()
    return courier, mirrored(machine, store)


def mirrored_elsewhere(folder: Path, store: Store) -> tuple[RunFolder, Mirror]:
    """The folder of one more machine, and the trainer there."""
    run = RunFolder(folder)
    run.path.mkdir()
    return run, mirrored(run, store)


@settings(max_examples=25)
@given(CUTS)
def test_wherever_sending_is_cut_nothing_is_seen_in_half_and_going_on_completes_it(cuts: list[int]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(items_module, "PIECE_BYTES", PIECES)
        patch.setattr(items_module, "BATCH_PIECES", 3)
        run, url = small_run(Path(folder) / "robot"), str(Path(folder) / "store")
        Path(url).mkdir()
        for number, cut in enumerate([*cuts, 10_000]):
            with suppress(Cut):
                courier_of(run, CutStore(url, cut)).turn()
            store = Store(url)
            head = read_head(store, ROBOT_HEAD) or Head("0" * 32)
            for name, item in head.items.items():
                staged = Path(folder) / f"seen-{number}" / name
                fetch_item(store, name, item, staged)
                copy = RunFolder(Path(folder) / f"seen-{number}")
                assert contents(copy, name) == contents(run, name)
            assert head.complete == (head.items.keys() == visible(run))
        assert head.complete


@settings(max_examples=25)
@given(CUTS)
def test_wherever_fetching_is_cut_nothing_is_seen_in_half_and_going_on_completes_it(cuts: list[int]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(items_module, "PIECE_BYTES", PIECES)
        patch.setattr(items_module, "BATCH_PIECES", 3)
        run, url = small_run(Path(folder) / "robot"), str(Path(folder) / "store")
        Path(url).mkdir()
        courier_of(run, Store(url)).turn()
        offered = read_head(Store(url), ROBOT_HEAD)
        assert offered is not None
        copy = RunFolder(Path(folder) / "machine")
        for cut in [*cuts, 10_000]:
            missing = {name: item for name, item in offered.items.items() if name not in visible(copy)}
            with suppress(Cut):
                Exchange(copy, CutStore(url, cut), TRAINER_HEAD, Head(offered.run)).fetch(missing)
            for name in visible(copy):
                assert contents(copy, name) == contents(run, name)
        assert visible(copy) == visible(run)


def test_a_new_version_reaches_the_robot_and_an_episode_the_trainer(
    robot: RunFolder, machine: RunFolder, store: Store
) -> None:
    courier = courier_of(robot, store)
    assert courier.turn() == ""
    mirror = mirrored(machine, store)
    assert visible(machine) == visible(robot)
    write_item(robot, episode(2))
    write_item(machine, "versions/000001")
    write_item(machine, "training/000001")
    courier.turn()
    mirror.turn(None)
    courier.turn()
    assert contents(machine, episode(2)) == contents(robot, episode(2))
    assert contents(robot, "versions/000001") == contents(machine, "versions/000001")
    assert "training/000001" not in visible(robot), "only the trainer needs it"


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_a_damaged_version_is_refused_by_name_and_fetched_once_it_is_mended(
    robot: RunFolder, machine: RunFolder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "DAMAGED_PAUSE_S", 0.0)
    courier, mirror = met(robot, machine, store)
    for name in ("versions/000001", "versions/000002"):
        write_item(machine, name)
    mirror.turn(None)
    stored = Path(store.url) / "versions" / "000001"
    for piece in stored.iterdir():
        whole = piece.read_bytes()
        damage(piece)
        wrong = courier.turn()
        assert "versions/000001" in wrong
        assert "does not match its hash; it is damaged or was changed." in wrong
        piece.unlink()
        assert "does not hold all that it announces" in courier.turn()
        assert "versions/000001" not in visible(robot)
        piece.write_bytes(whole)
    assert "versions/000002" in visible(robot), "one that is damaged keeps no other back"
    assert courier.turn() == ""
    assert contents(robot, "versions/000001") == contents(machine, "versions/000001")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text[: len(text) // 2], "trainer.json in .* is damaged or of another software"),
        (lambda text: text.replace("versions/000001", "versions/../../x"), "is damaged or of another software"),
        (lambda text: text.replace('"format":1', '"format":2'), "is damaged or of another software"),
        (lambda text: text + " " * items_module.HEAD_BYTES, "trainer.json in .* is larger than"),
        (lambda text: text.replace('"run":"', '"run":"0').replace('","writer', '"  ,"writer'), "damaged"),
    ],
    ids=["truncated", "escaping", "format", "large", "name"],
)
def test_a_head_that_is_not_as_it_should_be_is_refused_in_a_sentence(
    robot: RunFolder, machine: RunFolder, store: Store, change: Callable[[str], str], sentence: str
) -> None:
    courier, mirror = met(robot, machine, store)
    write_item(machine, "versions/000001")
    mirror.turn(None)
    path = Path(store.url) / TRAINER_HEAD
    path.write_text(change(path.read_text()))
    with pytest.raises(StoreError, match=sentence):
        courier.turn()


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a//b", "a/../b", "a\\b", "", "a/./b", "x" * 501])
def test_a_manifest_whose_files_lead_out_of_their_folder_is_refused(
    robot: RunFolder, machine: RunFolder, store: Store, name: str
) -> None:
    courier = courier_of(robot, store)
    courier.turn()
    head = read_head(store, ROBOT_HEAD)
    assert head is not None
    item = head.items[episode(0)]
    manifest = items_module.read_manifest(store, episode(0), item)
    content = json.dumps({name: [vars(piece) for piece in next(iter(manifest.values()))]}).encode()
    listed = items_module.Piece(len(content), items_module.hashlib.sha256(content).hexdigest())
    store.write_all({f"{episode(0)}/{listed.sha256}": content})
    with pytest.raises(StoreError, match="its manifest is not one"):
        fetch_item(store, episode(0), replace(item, manifest=listed), machine.path / "staged")
    assert not list(machine.path.parent.rglob("outside*"))


def test_quarantine_and_dropped_episodes_follow(robot: RunFolder, machine: RunFolder, store: Store) -> None:
    courier, mirror = met(robot, machine, store)
    for version in (1, 2):
        write_item(machine, f"versions/{version:06d}")
    mirror.turn(None)
    courier.turn()
    robot.versions().quarantine(1)
    machine.versions().quarantine(2)
    (robot.path / episode(1)).rename(robot.path / "binned")
    for _ in range(2):
        courier.turn()
        mirror.turn(None)
    assert robot.versions().good() == machine.versions().good() == [0]
    assert episode(1) not in visible(machine)
    assert episode(0) in visible(machine)


def test_the_wish_to_train_now_goes_there_and_its_fulfilment_comes_back(
    robot: RunFolder, machine: RunFolder, store: Store
) -> None:
    courier, mirror = met(robot, machine, store)
    robot.train_now.touch()
    courier.turn()
    mirror.turn(None)
    assert machine.train_now.exists()
    courier.turn()
    assert robot.train_now.exists(), "not before the trainer has done so"
    machine.train_now.unlink()
    mirror.turn(None)
    courier.turn()
    mirror.turn(None)
    assert not robot.train_now.exists()
    assert not machine.train_now.exists()


def test_the_trainers_word_comes_after_the_version_that_it_speaks_of(
    robot: RunFolder, machine: RunFolder, store: Store
) -> None:
    courier, mirror = met(robot, machine, store)
    courier.turn()
    word = TrainerWord(1, "waiting", episodes=2, rounds=4, version=1, message="Version 1 is published.")
    machine.trainer_figures.write_text('{"round": 4}\n')
    write_item(machine, "versions/000001")
    mirror.turn(word)
    damage(next((Path(store.url) / "versions" / "000001").iterdir()))
    courier.turn()
    assert not robot.trainer_status.exists()
    write_item(machine, "versions/000002")
    mirror.turn(replace(word, version=2))
    courier.turn()
    assert json.loads(robot.trainer_status.read_text())["version"] == 2
    assert robot.trainer_figures.read_text() == '{"round": 4}\n'


def test_a_word_that_an_earlier_trainer_has_left_is_not_taken_for_a_trainers(
    robot: RunFolder, machine: RunFolder, store: Store
) -> None:
    courier_of(robot, store).turn()
    mirrored(machine, store).turn(TrainerWord(1, "waiting"))
    later = courier_of(robot, store)
    later.turn()
    later.turn()
    assert not robot.trainer_status.exists()


def test_what_was_relabelled_is_fetched_again_at_the_trainers_next_start_and_not_before(
    robot: RunFolder, machine: RunFolder, store: Store
) -> None:
    courier, mirror = met(robot, machine, store)
    before = contents(machine, episode(0))
    (robot.path / episode(0) / ".scratch").write_bytes(b"other labels")
    (robot.path / episode(0) / ".scratch").rename(robot.path / episode(0) / "zarr.json")
    courier.turn()
    mirror.turn(None)
    assert contents(machine, episode(0)) == before
    mirrored(machine, store)
    assert contents(machine, episode(0)) == contents(robot, episode(0)) != before


def test_a_trainers_machine_may_be_lost_and_its_old_states_do_not_pile_up(
    robot: RunFolder, machine: RunFolder, store: Store, tmp_path: Path
) -> None:
    _, mirror = met(robot, machine, store)
    for version in (1, 2):
        write_item(machine, f"versions/{version:06d}")
        write_item(machine, f"training/{version:06d}")
        mirror.turn(None)
    for path in (machine.training / "000001").rglob("*"):
        if path.is_file():
            path.unlink()
    (machine.training / "000001").rename(machine.path / "pruned")
    mirror.turn(None)
    assert not list((Path(store.url) / "training" / "000001").iterdir())
    other, _ = mirrored_elsewhere(tmp_path / "other", store)
    assert visible(other) == {*visible(robot), "versions/000001", "versions/000002", "training/000002"}


def test_of_two_trainers_the_later_one_goes_on(
    robot: RunFolder, machine: RunFolder, store: Store, tmp_path: Path
) -> None:
    _, first = met(robot, machine, store)
    _, second = mirrored_elsewhere(tmp_path / "second", store)
    with pytest.raises(UserError, match="Another trainer has begun"):
        first.turn(None)
    second.turn(None)


def test_an_earlier_trainer_takes_nothing_back_while_it_is_still_sending(
    robot: RunFolder, machine: RunFolder, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "BEAT_S", 0.0)
    _, first = met(robot, machine, store)
    its_folder, second = mirrored_elsewhere(tmp_path / "second", store)
    write_item(its_folder, "versions/000001")
    second.turn(None)
    with pytest.raises(UserError, match="Another trainer has begun"):
        first.beat()
    head = read_head(store, TRAINER_HEAD)
    assert head is not None
    assert "versions/000001" in head.items


def test_of_two_sessions_the_later_one_goes_on(robot: RunFolder, machine: RunFolder, store: Store) -> None:
    killed, mirror = met(robot, machine, store)
    later = courier_of(robot, store)
    later.turn()
    write_item(robot, episode(2))
    with pytest.raises(UserError, match="Another session has begun"):
        killed.turn()
    later.turn()
    mirror.turn(None)
    assert episode(2) in visible(machine)


def test_figures_go_on_where_a_trainer_here_or_on_another_machine_has_left_them(
    robot: RunFolder, machine: RunFolder, store: Store, tmp_path: Path
) -> None:
    robot.trainer_figures.write_text('{"round": 1}\n')
    _, mirror = met(robot, machine, store)
    assert machine.trainer_figures.read_text() == '{"round": 1}\n'
    machine.trainer_figures.write_text('{"round": 1}\n{"round": 2}\n')
    mirror.turn(TrainerWord(1, "waiting", rounds=2))
    other, _ = mirrored_elsewhere(tmp_path / "other", store)
    assert other.trainer_figures.read_text() == '{"round": 1}\n{"round": 2}\n'


def test_a_mirror_that_is_removed_under_its_trainer_takes_nothing_out_of_the_store(
    robot: RunFolder, machine: RunFolder, store: Store, tmp_path: Path
) -> None:
    _, mirror = met(robot, machine, store)
    for name in ("versions/000001", "training/000001"):
        write_item(machine, name)
    mirror.turn(None)
    machine.path.rename(tmp_path / "gone")
    with pytest.raises(UserError, match="has been removed under the trainer"):
        mirror.turn(None)
    other, _ = mirrored_elsewhere(tmp_path / "other", store)
    assert visible(other) == {*visible(robot), "versions/000001", "training/000001"}


def test_a_trainer_removes_nothing_that_the_session_offers_too(
    robot: RunFolder, machine: RunFolder, store: Store, tmp_path: Path
) -> None:
    _, mirror = met(robot, machine, store)
    write_item(machine, "versions/000001")
    mirror.turn(None)
    courier = courier_of(robot, store)
    courier.turn()
    (Path(store.url) / TRAINER_HEAD).unlink()
    for _ in range(2):
        courier.turn()
        mirror.turn(None)
    other, _ = mirrored_elsewhere(tmp_path / "other", store)
    assert "versions/000001" in visible(other)


def test_what_has_learned_on_from_a_version_that_was_barred_meanwhile_never_acts(
    robot: RunFolder, machine: RunFolder, store: Store
) -> None:
    courier, mirror = met(robot, machine, store)
    weights = DiffusionPolicy(SMALL).state_dict()
    for version, parent in ((1, 0), (2, 1), (3, 2), (4, 0)):
        manifest = Manifest(version, parent, "D(RR)", rank=1, epoch=0, epochs=0, config=SMALL)
        save(machine.versions().path(version), manifest, weights)
        if version == 1:
            mirror.turn(None)
            courier.turn()
            robot.versions().quarantine(1)  # the store is out of reach, and the trainer does not hear of it
    mirror.turn(None)
    courier.turn()
    assert robot.versions().published() == [0, 1, 2, 3, 4]
    assert robot.versions().good() == [0, 4]
    mirror.turn(None)
    assert machine.versions().good() == [0, 4]


def test_what_is_wrong_with_an_item_is_forgotten_with_the_item(
    robot: RunFolder, machine: RunFolder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "DAMAGED_PAUSE_S", 0.0)
    courier, mirror = met(robot, machine, store)
    write_item(robot, episode(2))
    courier.turn()
    damage(next((Path(store.url) / episode(2)).iterdir()))
    mirror.turn(None)
    assert "The trainer elsewhere says" in courier.turn()
    (robot.path / episode(2)).rename(robot.path / "binned")
    courier.turn()
    mirror.turn(None)
    assert courier.turn() == ""


def test_an_episode_that_goes_while_it_is_sent_is_not_offered(
    robot: RunFolder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items_module, "BATCH_PIECES", 1)
    write = store.write_all

    def binned(pieces: Mapping[str, bytes]) -> None:
        write(pieces)
        if next(iter(pieces)).startswith(episode(1)) and (robot.path / episode(1)).exists():
            (robot.path / episode(1)).rename(robot.path / "binned")

    monkeypatch.setattr(store, "write_all", binned)
    courier_of(robot, store).turn()
    head = read_head(store, ROBOT_HEAD)
    assert head is not None
    assert episode(0) in head.items
    assert episode(1) not in head.items


def test_a_store_that_stops_answering_has_not_damaged_what_was_being_fetched(
    robot: RunFolder, machine: RunFolder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    courier, mirror = met(robot, machine, store)
    write_item(machine, "versions/000001")
    mirror.turn(None)

    def cut(sizes: Mapping[str, int]) -> list[bytes]:
        raise StoreError("The store does not answer.")

    with monkeypatch.context() as line:
        line.setattr(store, "read_all", cut)
        with pytest.raises(StoreError, match="does not answer"):
            courier.turn()
    assert courier.turn() == ""
    assert "versions/000001" in visible(robot)


def test_while_a_session_sends_everything_again_the_trainer_drops_nothing(
    robot: RunFolder, machine: RunFolder, store: Store
) -> None:
    _, mirror = met(robot, machine, store)
    (Path(store.url) / ROBOT_HEAD).unlink()
    for requests in range(2, 40):
        with suppress(Cut):
            courier_of(robot, CutStore(store.url, requests)).turn()
        with suppress(StoreError):
            mirror.turn(None)
        assert visible(machine) == visible(robot)


def test_a_trainer_waits_until_all_that_training_begins_with_is_there(machine: RunFolder, store: Store) -> None:
    robot = small_run(machine.path.parent / "robot")
    assert Mirror(machine, store.url).prepare() is None, "nobody has been there"
    for requests in range(2, 40):
        try:
            courier_of(robot, CutStore(store.url, requests)).turn()
        except Cut:
            if not (head := read_head(store, ROBOT_HEAD)) or not head.complete:
                assert Mirror(machine, store.url).prepare() is None
                continue
        break
    assert Mirror(machine, store.url).prepare() is not None


def test_a_store_of_another_run_an_emptied_one_and_a_missing_folder_are_refused_in_a_sentence(
    robot: RunFolder, store: Store, tmp_path: Path
) -> None:
    courier_of(robot, store).turn()
    with pytest.raises(StoreError, match="holds another run; give this one a store of its own"):
        courier_of(small_run(tmp_path / "another"), store).turn()
    Path(store.url).rename(tmp_path / "unmounted")
    with pytest.raises(StoreError, match="is empty, but held this run before: is it mounted"):
        courier_of(robot, store).turn()
    with pytest.raises(StoreError, match="is no folder: make it, or mount what it is on"):
        courier_of(small_run(tmp_path / "third"), store).turn()
    assert not Path(store.url).exists(), "nothing is written where a share is not mounted"


def test_a_folder_that_is_no_mirror_of_this_run_is_left_alone(robot: RunFolder, store: Store, tmp_path: Path) -> None:
    courier_of(robot, store).turn()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="is not empty and no mirror of a run"):
        Mirror(RunFolder(tmp_path / "mine"), store.url).prepare()
    other = small_run(tmp_path / "third")
    note_store(other, Noted("0" * 32, "elsewhere", mirror=True))
    with pytest.raises(UserError, match="mirrors another run"):
        Mirror(other, store.url).prepare()


def test_a_session_never_becomes_the_mirror_of_itself(robot: RunFolder, store: Store) -> None:
    courier_of(robot, store).turn()
    before = set(offered_episodes(robot))
    assert before
    with pytest.raises(UserError, match="is a session's own run; choose another --out folder"):
        Mirror(robot, store.url).prepare()
    assert set(offered_episodes(robot)) == before


def test_while_a_store_is_gone_it_is_told_and_what_was_not_sent_is_sent_when_it_is_back(
    robot: RunFolder, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("GRACE_S", 0.0), ("POLL_S", 0.02)):
        monkeypatch.setattr(courier_module, name, value)
    monkeypatch.setattr(exchange_module, "POLL_S", 0.02)
    done = threading.Event()

    def fault() -> str:
        return str(json.loads(robot.store_status.read_text())["fault"]) if robot.store_status.exists() else ""

    def sent() -> set[str]:
        head = read_head(store, ROBOT_HEAD)
        return set(head.items) if head else set()

    carrier = threading.Thread(target=carry, args=(robot, store.url, CONFIGURATION, done.is_set))
    carrier.start()
    try:
        wait_for(lambda: episode(1) in sent())
        Path(store.url).rename(tmp_path / "away")
        write_item(robot, episode(2))
        wait_for(lambda: "is no folder: make it" in fault())
        (tmp_path / "away").rename(store.url)
        wait_for(lambda: episode(2) in sent() and fault() == "")
        write_item(robot, episode(3))
    finally:
        done.set()
        carrier.join()
    assert episode(3) in sent(), "the last one is sent when the session ends"


def test_a_trainer_that_does_not_come_or_falls_silent_is_told(
    robot: RunFolder, machine: RunFolder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "ABSENT_S", 0.0)
    courier = courier_of(robot, store)
    assert "The trainer elsewhere has not come" in courier.turn()
    monkeypatch.setattr(train_module, "BEAT_S", 0.0)
    mirror = mirrored(machine, store)
    courier.turn()
    mirror.turn(None)
    assert "has been silent" in courier.turn()


def test_showing_that_it_is_there_while_it_sends_takes_nothing_back(
    robot: RunFolder, machine: RunFolder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "BEAT_S", 0.0)
    _, mirror = met(robot, machine, store)
    for version in (1, 2):
        write_item(machine, f"versions/{version:06d}")
    mirror.turn(TrainerWord(1, "waiting", version=2))
    head = read_head(store, TRAINER_HEAD)
    assert head is not None
    assert head.items.keys() == {"versions/000001", "versions/000002"}
    assert head.word is not None

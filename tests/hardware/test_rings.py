import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
import pytest

from hardware import rings
from hardware.errors import DeviceError
from hardware.rings import SHARED_MEMORY, Record, Ring, RingHandle, RingReader, RingWriter, remove_abandoned_rings

SMALL = np.dtype([("time_ns", "<i8"), ("pose", "<f8", (9,))])
PICTURE = np.dtype([("number", "<i8"), ("image", "u1", (240, 320, 3))])
SPAWN = get_context("spawn")
PATIENCE_S = 60.0


def write_pictures(handle: RingHandle, count: int, pause_s: float) -> None:
    writer = RingWriter(handle)
    image = np.zeros((240, 320, 3), np.uint8)
    for number in range(1, count + 1):
        image[:] = number % 256
        writer.write({"number": number, "image": image})
        if pause_s:
            time.sleep(pause_s)
    writer.close()


def write_for_ever(handle: RingHandle) -> None:
    writer = RingWriter(handle)
    image = np.zeros((240, 320, 3), np.uint8)
    number = 0
    while True:
        number += 1
        image[:] = number % 256
        writer.write({"number": number, "image": image})


def read_once(handle: RingHandle) -> None:
    RingReader(handle).latest()


def await_newer(reader: RingReader, seen: int) -> Record:
    """Wait until there is a record after a number; return the newest."""
    deadline = time.monotonic() + PATIENCE_S
    while (newest := reader.latest()) is None or newest.sequence <= seen:
        assert time.monotonic() < deadline, "nothing came in time"
        time.sleep(0.0001)
    return newest


def small(time_ns: int) -> dict[str, object]:
    return {"time_ns": time_ns, "pose": np.full(9, float(time_ns))}


def whole(value: np.void) -> bool:
    return bool((value["image"] == value["number"] % 256).all())


def test_an_empty_ring_has_no_latest_record() -> None:
    with Ring(SMALL) as ring:
        reader = RingReader(ring.handle)
        assert reader.latest() is None
        assert reader.since(0) == []
        reader.close()


def test_latest_is_the_newest_record_and_a_copy() -> None:
    with Ring(SMALL) as ring:
        writer, reader = RingWriter(ring.handle), RingReader(ring.handle)
        writer.write(small(1))
        first = reader.latest()
        for number in range(2, 20):
            assert writer.write(small(number)) == number
        last = reader.latest()
        assert first is not None
        assert last is not None
        assert (first.sequence, first.value["time_ns"]) == (1, 1)
        assert (last.sequence, last.value["time_ns"], last.value["pose"][8]) == (19, 19, 19.0)
        writer.close()
        reader.close()


def test_since_returns_what_is_left_in_order_and_numbers_show_the_gap() -> None:
    with Ring(SMALL, slots=4) as ring:
        writer, reader = RingWriter(ring.handle), RingReader(ring.handle)
        for number in range(1, 4):
            writer.write(small(number))
        assert [record.sequence for record in reader.since(1)] == [2, 3]
        for number in range(4, 12):
            writer.write(small(number))
        late = reader.since(3)
        assert [record.sequence for record in late] == [8, 9, 10, 11]
        assert [int(record.value["time_ns"]) for record in late] == [8, 9, 10, 11]
        assert reader.since(11) == []
        writer.close()
        reader.close()


def test_a_slot_that_is_being_overwritten_is_never_returned() -> None:
    with Ring(SMALL, slots=4) as ring:
        writer, reader = RingWriter(ring.handle), RingReader(ring.handle)
        for number in range(1, 6):
            writer.write(small(number))
        writer._numbers[6 % 4] = 6
        writer._values[6 % 4]["time_ns"] = 6
        assert [record.sequence for record in reader.since(0)] == [3, 4, 5]
        writer.close()
        reader.close()


def test_a_writer_in_the_place_of_a_dead_one_goes_on_with_the_numbers() -> None:
    with Ring(SMALL, slots=4) as ring:
        dead, reader = RingWriter(ring.handle), RingReader(ring.handle)
        dead.write(small(1))
        dead._numbers[2] = 2
        dead.close()
        heir = RingWriter(ring.handle)
        assert heir.write(small(7)) == 2
        assert [int(record.value["time_ns"]) for record in reader.since(0)] == [1, 7]
        heir.close()
        reader.close()


def test_bad_rings_are_refused_in_words() -> None:
    with pytest.raises(DeviceError, match="at least 4 slots"):
        Ring(SMALL, slots=3)
    with pytest.raises(DeviceError, match="structured records"):
        Ring(np.dtype(np.float64))


def test_attaching_to_a_ring_that_is_gone_says_so() -> None:
    ring = Ring(SMALL)
    ring.close()
    with pytest.raises(DeviceError, match="is gone"):
        RingReader(ring.handle)


def test_no_torn_picture_is_read_from_another_process_at_full_speed() -> None:
    with Ring(PICTURE, slots=4) as ring:
        child = SPAWN.Process(target=write_pictures, args=(ring.handle, 3000, 0.0))
        child.start()
        reader = RingReader(ring.handle)
        last, looked = 0, 0
        while last < 3000:
            newest = await_newer(reader, last)
            for record in [newest, *reader.since(last)]:
                assert record.value["number"] == record.sequence
                assert whole(record.value)
            assert newest.sequence > last
            last, looked = newest.sequence, looked + 1
        child.join(PATIENCE_S)
        assert child.exitcode == 0
        assert looked > 10
        reader.close()


def test_a_paced_writer_is_followed_without_loss() -> None:
    with Ring(PICTURE, slots=64) as ring:
        child = SPAWN.Process(target=write_pictures, args=(ring.handle, 50, 0.005))
        child.start()
        reader = RingReader(ring.handle)
        numbers: list[int] = []
        while len(numbers) < 50:
            await_newer(reader, len(numbers))
            numbers += [record.sequence for record in reader.since(len(numbers))]
        child.join(PATIENCE_S)
        assert numbers == list(range(1, 51))
        reader.close()


def test_a_reader_survives_the_kill_of_the_writer_and_reads_only_whole_records() -> None:
    with Ring(PICTURE, slots=4) as ring:
        reader, last = RingReader(ring.handle), 0
        for _ in range(3):
            child = SPAWN.Process(target=write_for_ever, args=(ring.handle,))
            child.start()
            await_newer(reader, last)
            os.kill(child.pid or 0, signal.SIGKILL)
            child.join(PATIENCE_S)
            newest = reader.latest()
            assert newest is not None
            assert whole(newest.value)
            last = newest.sequence
            assert all(whole(record.value) for record in reader.since(0))
        reader.close()


def test_rings_of_a_program_that_was_killed_with_all_its_helpers_are_deleted_by_the_next_and_others_stay() -> None:
    script = (
        "import time; from test_rings import SMALL; from hardware.rings import Ring\n"
        "ring = Ring(SMALL); print(ring.handle.name, flush=True); time.sleep(60)"
    )
    paths = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    owner = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert owner.stdout is not None
    abandoned = SHARED_MEMORY / owner.stdout.readline().strip()
    os.killpg(owner.pid, signal.SIGKILL)
    owner.communicate()
    with Ring(SMALL) as ring:
        claimed = SHARED_MEMORY / ring.handle.name
        remove_abandoned_rings()
        assert not abandoned.exists()
        assert claimed.exists()


def test_a_ring_that_is_being_made_is_not_taken_for_an_abandoned_one(monkeypatch: pytest.MonkeyPatch) -> None:
    claim, removing = rings._claim, threading.Thread(target=remove_abandoned_rings)

    def claim_late(path: Path) -> int | None:
        removing.start()
        removing.join(0.2)
        assert path.exists()
        return claim(path)

    monkeypatch.setattr(rings, "_claim", claim_late)
    with Ring(SMALL) as ring:
        removing.join(PATIENCE_S)
        assert not removing.is_alive()
        assert (SHARED_MEMORY / ring.handle.name).exists()


def test_the_segment_outlives_children_and_is_gone_after_close() -> None:
    ring = Ring(SMALL)
    writer = RingWriter(ring.handle)
    writer.write(small(1))
    child = SPAWN.Process(target=read_once, args=(ring.handle,))
    child.start()
    child.join(PATIENCE_S)
    assert child.exitcode == 0
    SharedMemory(ring.handle.name).close()
    writer.close()
    ring.close()
    with pytest.raises(FileNotFoundError):
        SharedMemory(ring.handle.name)

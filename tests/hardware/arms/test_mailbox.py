import mmap
import os
import subprocess
import sys
import time

from hypothesis import given
from hypothesis import strategies as st

from hardware.arms.mailbox import Mailbox

LAYOUT = "=200q"
WRITER = """
import sys
from hardware.arms.mailbox import Mailbox
box = Mailbox("=200q", int(sys.argv[1]))
number = 0
while True:
    number += 1
    box.write([number] * 200)
"""


def test_an_empty_mailbox_reads_none():
    box = Mailbox("=q")
    assert box.read() is None
    box.close()


@given(st.lists(st.tuples(st.integers(-(2**62), 2**62), st.floats(allow_nan=False)), min_size=1, max_size=12))
def test_the_newest_record_is_read_with_its_number(records):
    writer = Mailbox("=qd")
    reader = Mailbox("=qd", os.dup(writer.descriptor))
    for number, record in enumerate(records, 1):
        writer.write(record)
        assert reader.read() == (number, record)
        assert reader.read() == (number, record)
    writer.close()
    reader.close()


def test_a_writer_that_takes_over_goes_on_with_the_numbers():
    first = Mailbox("=q")
    first.write([1])
    second = Mailbox("=q", os.dup(first.descriptor))
    second.write([2])
    assert first.read() == (2, (2,))
    first.close()
    second.close()


def test_a_write_that_is_under_way_hides_nothing_that_was_read_before():
    box = Mailbox("=q")
    box.write([7])
    assert box.read() == (1, (7,))
    with mmap.mmap(box.descriptor, 0) as memory:
        memory[:8] = bytes(8)
        assert box.read() == (1, (7,))
    box.close()


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_record_is_never_handed_out(position, flip):
    box = Mailbox("=6d")
    box.write([1.0] * 6)
    with mmap.mmap(box.descriptor, 0) as memory:
        memory[position % len(memory)] ^= flip
    assert box.read() in (None, (1, (1.0,) * 6))
    box.close()


def test_a_reader_never_sees_a_torn_record_of_another_process():
    box = Mailbox(LAYOUT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(box.descriptor)], pass_fds=[box.descriptor], env=environment
    )
    seen, last = 0, 0
    deadline = time.monotonic() + 120.0
    try:
        while seen < 1000 and time.monotonic() < deadline:
            newest = box.read()
            assert newest is not None or last == 0, "a record once read was gone"
            if newest is not None:
                number, record = newest
                assert set(record) == {number}
                assert number >= last
                seen, last = seen + (number != last), number
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait(30.0)
    assert seen == 1000
    box.close()

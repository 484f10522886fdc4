import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hardware.emulation import rtde
from hardware.emulation.rtde import RtdeSession, Written, frame
from hardware.emulation.variables import INPUTS, outputs, parse_version, rate_hz
from hardware.errors import DeviceError

VERSION = (5, 12, 0, 0)


def session(taken=frozenset()):
    return RtdeSession(VERSION, outputs(VERSION), 500.0, lambda: set(taken))


def setup_outputs(frequency, *names):
    return frame(rtde.SETUP_OUTPUTS, struct.pack(">d", frequency) + ",".join([*names, ""]).encode())


def test_protocol_2_is_accepted_and_others_are_not():
    assert list(session().receive(frame(ord("V"), b"\x00\x02"))) == [frame(ord("V"), b"\x01")]
    assert list(session().receive(frame(ord("V"), b"\x00\x01"))) == [frame(ord("V"), b"\x00")]


def test_controller_version_is_told():
    assert list(session().receive(frame(ord("v"), b""))) == [frame(ord("v"), struct.pack(">4I", *VERSION))]


def test_an_unknown_output_is_named_not_found_and_no_data_flow():
    client = session()
    (reply,) = client.receive(setup_outputs(500.0, "timestamp", "nonsense"))
    assert reply == frame(ord("O"), b"\x01DOUBLE,NOT_FOUND")
    list(client.receive(frame(ord("S"), b"")))
    assert client.package({"timestamp": 1.0}) is None


def test_data_flow_only_after_start_and_stop_at_pause():
    client = session()
    list(client.receive(setup_outputs(125.0, "timestamp", "actual_q")))
    values = {"timestamp": 1.5, "actual_q": range(6)}
    assert client.package(values) is None
    list(client.receive(frame(ord("S"), b"")))
    assert client.package(values) == frame(ord("U"), b"\x01" + struct.pack(">7d", 1.5, *range(6)))
    assert client.divisor == 4
    list(client.receive(frame(ord("P"), b"")))
    assert client.package(values) is None


def test_recipes_are_numbered_in_order_of_setup_and_a_variable_in_use_is_refused():
    client = session(taken={"input_int_register_1"})
    replies = [*client.receive(frame(ord("I"), b"input_int_register_0,input_double_register_0"))]
    replies += client.receive(frame(ord("I"), b"input_int_register_1"))
    replies += client.receive(frame(ord("I"), b"external_force_torque"))
    assert [reply[3] for reply in replies] == [1, 0, 2]
    assert replies[1].endswith(b"IN_USE")
    assert client.held == {"input_int_register_0", "input_double_register_0", "external_force_torque"}


@given(st.lists(st.integers(1, 40), min_size=1), st.integers(-(2**31), 2**31 - 1), st.floats(allow_nan=False))
def test_packages_are_read_whatever_pieces_they_arrive_in(cuts, number, value):
    client = session()
    stream = frame(ord("I"), b"input_int_register_0,external_force_torque,input_double_register_3")
    stream += frame(ord("U"), b"\x01" + struct.pack(">i7d", number, *range(6), value))
    items, start = [], 0
    while start < len(stream):
        size = cuts[start % len(cuts)]
        items += client.receive(stream[start : start + size])
        start += size
    assert items[1:] == [
        Written(
            {
                "input_int_register_0": number,
                "external_force_torque": tuple(map(float, range(6))),
                "input_double_register_3": value,
            }
        )
    ]


def test_a_short_package_sets_only_what_is_whole_and_an_excess_is_ignored():
    client = session()
    list(client.receive(frame(ord("I"), b"input_int_register_0,input_double_register_0")))
    (short,) = client.receive(frame(ord("U"), b"\x01" + struct.pack(">if", 7, 1.0)))
    (long,) = client.receive(frame(ord("U"), b"\x01" + struct.pack(">idd", 7, 1.0, 2.0)))
    assert short == Written({"input_int_register_0": 7})
    assert long == Written({"input_int_register_0": 7, "input_double_register_0": 1.0})


@given(st.binary(max_size=200))
@example(frame(ord("O"), b"short"))
@example(frame(ord("U"), b""))
@example(frame(ord("U"), b"\x01"))
@example(frame(ord("V"), b""))
@example(b"\x00\x00\x00")
def test_no_stream_of_bytes_breaks_a_session(data):
    client = session()
    list(client.receive(frame(ord("I"), ",".join(INPUTS).encode())))
    try:
        list(client.receive(data))
    except struct.error:
        pytest.fail("a malformed package was not caught")


def test_variables_come_with_their_versions():
    assert "ft_raw_wrench" not in outputs((3, 15, 0, 0))
    assert "ft_raw_wrench" not in outputs((5, 8, 0, 0))
    assert "ft_raw_wrench" in outputs((5, 9, 0, 0))
    assert "payload_inertia" in outputs((3, 15, 0, 0))
    assert "actual_current_as_torque" in outputs((10, 10, 0, 0))
    assert rate_hz((3, 15, 0, 0)) == 125.0
    assert rate_hz((10, 10, 0, 0)) == 500.0


@pytest.mark.parametrize("text", ["", "5", "5.x", "1.2.3.4.5"])
def test_a_version_that_is_none_is_refused(text):
    with pytest.raises(DeviceError, match="not a controller version"):
        parse_version(text)

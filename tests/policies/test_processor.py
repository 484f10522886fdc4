"""What is read of the processor."""

from pathlib import Path

from policies.processor import about_processor

CPUINFO = """processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 9354: 32 cores

processor\t: 1
vendor_id\t: another
"""


def test_an_entry_of_the_first_core_is_read_and_nothing_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    assert about_processor("vendor_id", tmp_path / "cpuinfo") == "AuthenticAMD"
    assert about_processor("model name", tmp_path / "cpuinfo") == "AMD EPYC 9354: 32 cores"
    assert about_processor("cache size", tmp_path / "cpuinfo") == ""
    assert about_processor("vendor_id", tmp_path / "no such file") == ""

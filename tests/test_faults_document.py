"""docs/faults.md against the code: every test that it names exists, and every sentence is the code's own."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "faults.md").read_text()
SHORTEST = 8
"""Pieces of a sentence between its names and numbers that are shorter prove nothing."""


@cache
def strings() -> str:
    """Return all text in the code, f-strings piece by piece."""
    trees = [
        ast.parse(path.read_text())
        for package in ("drift_robot", "hardware", "policies", "data")
        for path in (ROOT / package).rglob("*.py")
    ]
    nodes = (node for tree in trees for node in ast.walk(tree))
    return "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(\w+\.py)::(\w+)`", DOCUMENT)
    assert len(named) > 40
    sources = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in sources.get(file, "")]
    assert missing == []


def test_every_row_names_a_test_or_a_benchmark() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and not line.startswith("| fault |")]
    assert len(rows) > 25
    for row in rows:
        assert row.count(" | ") == 5, row
        assert re.search(r"`test_\w+\.py::test_\w+`|`benchmarks/\w+\.py`", row), row


def test_every_sentence_is_the_codes_own() -> None:
    sentences = re.findall(r'"([^"]+)"', DOCUMENT)
    assert len(sentences) > 25
    pieces = [piece.strip(" .:;()") for sentence in sentences for piece in sentence.split("…")]
    unknown = [piece for piece in pieces if len(piece) >= SHORTEST and piece not in strings()]
    assert unknown == []

"""What a check says: a level, what was looked at, what was found, and what to do. No measuring here."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Level(StrEnum):
    """How bad it is; only a problem would stop a session."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: `advice` says what to do, where there is something to do."""

    level: Level
    subject: str
    found: str
    advice: str = ""


Check: TypeAlias = Iterator[Finding | str]
"""A check at work: its findings as they come and, between them, words that say what is being done."""


def ok(subject: str, found: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(Level.OK, subject, found)


def note(subject: str, found: str, advice: str = "") -> Finding:
    """Return a finding that is good to know."""
    return Finding(Level.NOTE, subject, found, advice)


def warning(subject: str, found: str, advice: str = "") -> Finding:
    """Return a finding that makes a session worse."""
    return Finding(Level.WARNING, subject, found, advice)


def problem(subject: str, found: str, advice: str = "") -> Finding:
    """Return a finding that would stop a session."""
    return Finding(Level.PROBLEM, subject, found, advice)


def fit_for_a_session(findings: Iterable[Finding]) -> bool:
    """Return whether nothing found would stop a session."""
    return all(finding.level is not Level.PROBLEM for finding in findings)

"""What of a session is whole, partial, missing or corrupt, by reading every stored chunk and its checksum."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from data.arrays import read_chunk, read_column
from data.episode import EPISODES, PARTIAL, WHOLE, Episode, is_being_written
from data.errors import DataError, MissingDataError
from data.schema import ARM_COLUMNS, Column, Owner
from data.session import SESSION_FILE, Session, is_episode, is_session, sessions_below

_FINITE = {
    *("observation.tcp", "observation.commanded", "observation.gripper", "observation.objects"),
    "action.executed",
}


class State(StrEnum):
    """What was found."""

    WHOLE = "whole"
    WRITING = "being written"
    PARTIAL = "partial"
    MISSING = "missing"
    CORRUPT = "corrupt"
    LEFTOVER = "left over"


@dataclass(frozen=True)
class Finding:
    """One fact about a file or folder, in a sentence."""

    path: Path
    state: State
    text: str

    @property
    def good(self) -> bool:
        """Whether nothing needs to be done about it."""
        return self.state in (State.WHOLE, State.WRITING)


@dataclass(frozen=True)
class Inspection:
    """What is known of one episode: findings, and how many of its steps and arm samples are good from the start on."""

    findings: list[Finding]
    episode: Episode | None = None
    good_steps: int = 0
    good_arm_samples: int = 0

    @property
    def good(self) -> bool:
        """Whether nothing needs to be done about it."""
        return all(finding.good for finding in self.findings)


def verify(path: Path) -> list[Finding]:
    """Check an episode, all episodes of a session, or all sessions of a run; at least one finding for each."""
    if not path.is_dir():
        return [Finding(path, State.MISSING, f"{path} does not exist.")]
    if is_episode(path):
        return inspect(path).findings
    if not is_session(path):
        try:
            return [finding for session in sessions_below([path]) for finding in verify(session)]
        except DataError as error:
            return [Finding(path, State.MISSING, str(error))]
    findings = []
    try:
        Session.open(path)
    except DataError as error:
        findings.append(_fault(path / SESSION_FILE, error))
    for entry in leftovers(path):
        text = f"{entry.name} was left by a process that was killed; it holds no committed step."
        findings.append(Finding(entry, State.LEFTOVER, text))
    for entry in episode_folders(path):
        findings += inspect(entry).findings
    return findings


def episode_folders(session: Path) -> list[Path]:
    """Return the whole and the partial episodes of a session, by number."""
    entries = (session / EPISODES).glob("[0-9]*")
    return sorted(path for path in entries if path.name.endswith((WHOLE, PARTIAL)))


def leftovers(session: Path) -> list[Path]:
    """Return the scratch files and folders among a session's episodes that no living writer is using."""
    found = []
    for entry in sorted((session / EPISODES).glob(".*")):
        owner = entry if entry.is_dir() else entry.with_name(entry.name[1:].removesuffix(".tmp"))
        if not (owner.is_dir() and is_being_written(owner)):
            found.append(entry)
    return found


def inspect(path: Path) -> Inspection:
    """Check one episode."""
    try:
        episode = Episode.open(path)
    except DataError as error:
        return Inspection([_fault(path, error)])
    if is_being_written(path):
        text = f"{path.name} is being written; committed steps: {episode.steps}."
        return Inspection([Finding(path, State.WRITING, text)], episode)
    findings = []
    good = {"steps": episode.steps, "arm_samples": episode.arm_samples}
    for column in episode.columns:
        kind = "arm_samples" if column in ARM_COLUMNS else "steps"
        readable, finding = _readable_rows(path / column.name, column, episode.rows_of(column))
        plausible = readable
        if finding is None:
            plausible = _plausible_rows(episode, column, readable)
            if plausible < readable:
                text = f"{path / column.name} has an impossible value in row {plausible}."
                finding = Finding(path / column.name, State.CORRUPT, text)
        if finding is not None:
            findings.append(finding)
        good[kind] = min(good[kind], plausible)
    steps, samples = good["steps"], good["arm_samples"]
    if not episode.finished:
        findings.insert(0, Finding(path, State.PARTIAL, f"{path.name} was interrupted; good steps: {steps}."))
    elif not findings:
        findings.append(Finding(path, State.WHOLE, f"{path.name} is whole; steps: {steps}."))
    return Inspection(findings, episode, steps, samples)


def _readable_rows(folder: Path, column: Column, rows: int) -> tuple[int, Finding | None]:
    """Return how many of a column's committed rows can be read, and what is wrong with the next one."""
    good = 0
    try:
        stored, length = read_column(folder, column)
        while good < min(rows, length):
            read_chunk(folder, stored, good // stored.chunk)
            good = min(good + stored.chunk, rows, length)
        if length < rows:
            raise MissingDataError(f"{folder} holds {length} of {rows} committed rows.")
    except DataError as error:
        return good, _fault(folder, error)
    return good, None


def _plausible_rows(episode: Episode, column: Column, rows: int) -> int:
    """Return how many rows come before the first with a value that no recording can produce."""
    if column.name not in (*_FINITE, "owner", "time.step"):
        return rows
    values = episode.recorded(column.name)
    if column.name == "owner":
        bad = np.asarray(values > max(Owner))
    elif column.name == "time.step":
        bad = np.asarray(np.diff(values, prepend=values[:1] - 1) <= 0)
    else:
        bad = np.asarray(~np.isfinite(values).all(axis=1))
    return int(bad.argmax()) if bad.any() else rows


def _fault(path: Path, error: DataError) -> Finding:
    return Finding(path, State.MISSING if isinstance(error, MissingDataError) else State.CORRUPT, str(error))

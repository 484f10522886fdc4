"""Changing an episode's labels after the fact, and taking that back: which changes are honest, and the record of each.

Who drove is a fact, so no step ever becomes the expert's that was not recorded as hers. One file is replaced whole, the
group's attributes: the recorded columns and their checksums stay.
"""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from data.arrays import write_group
from data.episode import BIN, EPISODES, Episode, is_being_written, rewriting, scratch_of
from data.errors import DataError
from data.labels import Relabelling, to_attribute
from data.schema import JUDGEMENTS, Outcome, Owner
from data.session import is_session


def relabel(
    path: Path,
    by: str,
    because: str = "",
    outcome: Outcome | None = None,
    steps: tuple[int, int] | None = None,
    owner: Owner | None = None,
    recovered: bool | None = None,
) -> Relabelling:
    """Change the outcome of a whole episode, or owner or recovery mark of steps (first and last, both included).

    Raises DataError, and changes nothing, for what is no honest label:
    - an outcome other than success and failure;
    - the owner of a step that the learner drove; expert only where the recording says so, else transition;
    - a recovery mark on a step that the learner drove.
    """
    episode = _open(path)
    if (steps is None) is not (owner is None and recovered is None):
        raise DataError("Steps, and an owner or a recovery mark for them, belong together: give both.")
    if outcome is None and steps is None:
        raise DataError("Nothing to change: give an outcome, or steps with an owner or a recovery mark.")
    if outcome is not None:
        _check_outcome(episode, outcome)
    if steps is not None:
        _check_steps(episode, steps, owner, recovered)
    change = Relabelling(
        utc=_now(),
        by=by,
        because=because,
        outcome=outcome,
        outcome_before=None if outcome is None else episode.outcome,
        steps=steps,
        owner=owner,
        recovered=recovered,
    )
    _write(episode, outcome or episode.outcome, (*episode.relabellings, change))
    return change


def undo(path: Path, by: str) -> Relabelling:
    """Take back the last change that holds; it stays in the record. Raises DataError if there is none."""
    episode = _open(path)
    changes = list(episode.relabellings)
    holding = [index for index, change in enumerate(changes) if change.undone is None]
    if not holding:
        raise DataError(f"{path} has the labels that were recorded: there is nothing to undo.")
    change = dataclasses.replace(changes[holding[-1]], undone=f"by {by} at {_now()}")
    changes[holding[-1]] = change
    outcome = episode.outcome
    if change.outcome is outcome and change.outcome_before is not None:
        outcome = change.outcome_before
    _write(episode, outcome, changes)
    return change


def _open(path: Path) -> Episode:
    if is_session(path):
        raise DataError(f"{path} is a session; name one of its episodes, such as {path / EPISODES / '000000.zarr'}.")
    episode = Episode.open(path)
    if not episode.finished:
        advice = "wait until it is saved" if is_being_written(path) else "repair it first"
        raise DataError(f"{path} is not whole, so its labels are not final: {advice}.")
    if path.resolve().parent.name == BIN:
        raise DataError(f"{path} is in the bin; restore it first.")
    return episode


def _check_outcome(episode: Episode, outcome: Outcome) -> None:
    if outcome not in JUDGEMENTS:
        raise DataError(f"An outcome can be changed to success or failure, not to {outcome.value}; see also discard.")
    if outcome is episode.outcome:
        raise DataError(f"{episode.path} is a {outcome.value} already.")


def _check_steps(episode: Episode, steps: tuple[int, int], owner: Owner | None, recovered: bool | None) -> None:
    first, last = steps
    if not 0 <= first <= last < episode.steps:
        raise DataError(f"{episode.path} has steps 0 to {episode.steps - 1}; {first} to {last} is not among them.")
    recorded = episode.recorded("owner", first, last + 1)
    if owner is Owner.LEARNER:
        raise DataError("No step can be made the learner's: what a person did stays hers; transition takes it out.")
    if owner is Owner.EXPERT and (other := np.flatnonzero(recorded != Owner.EXPERT)).size:
        was = Owner(recorded[other[0]]).name.lower()
        raise DataError(
            f"Step {first + other[0]} was recorded as {was}; only what was recorded as the expert's may be the "
            "expert's again, so that nothing else ever becomes her training target."
        )
    if (driven := np.flatnonzero(recorded == Owner.LEARNER)).size:
        raise DataError(
            f"The learner drove in step {first + driven[0]}, and nothing about that can be relabelled: owner and "
            "recovery mark may change only where the expert had the arm."
        )
    wanted = {"owner": owner, "recovered": recovered}
    present = {name: episode.column(name, first, last + 1) for name in wanted}
    if all(value is None or (present[name] == value).all() for name, value in wanted.items()):
        raise DataError(f"Steps {first} to {last} of {episode.path} are labelled so already.")


def _write(episode: Episode, outcome: Outcome, changes: tuple[Relabelling, ...] | list[Relabelling]) -> None:
    changed = to_attribute(changes) | {"outcome": outcome.value}
    try:
        with rewriting(episode.path):
            write_group(episode.path, episode.attributes | changed, scratch_of(episode.path))
    except OSError as error:
        raise DataError(f"{episode.path} cannot be written: {error.strerror}.") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

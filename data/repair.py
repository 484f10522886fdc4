"""The repair that keeps the good prefix of an interrupted or damaged episode; the original goes to the bin."""

import shutil
from pathlib import Path

from data.arrays import GrowingArray, read_column, read_rows, write_group
from data.episode import EPISODES, WHOLE, Episode, require_there, scratch_of
from data.schema import ARM_COLUMNS, Outcome
from data.session import is_episode, is_session, sessions_below, to_bin
from data.verify import Inspection, episode_folders, inspect, leftovers


def repair(path: Path) -> list[str]:
    """Repair an episode of a session, or what needs it in a session or a run; return a sentence for each thing done.

    An episode keeps its steps before the first bad one, under the name of a whole episode; its outcome is unknown if
    steps were lost. Raises DataError if it is not there, the bin holds another of its name, and for any other folder.
    """
    if is_episode(path) and path.parent.name == EPISODES:
        require_there(path)
        return _repair_episode(path)
    if not is_session(path):
        return [sentence for session in sessions_below([path]) for sentence in repair(session)]
    done = [_remove(entry) for entry in leftovers(path)]
    for episode in episode_folders(path):
        done += _repair_episode(episode)
    return done


def _remove(entry: Path) -> str:
    if entry.is_dir():
        shutil.rmtree(entry)
    else:
        entry.unlink()
    return f"{entry.name}: removed; it was left by a process that was killed."


def _repair_episode(path: Path) -> list[str]:
    inspection = inspect(path)
    if inspection.good:
        return []
    whole = path.with_name(path.name[:6] + WHOLE)
    if inspection.episode is None or inspection.good_steps == 0:
        to_bin(path)
        return [f"{path.name}: moved to the bin; no step of it is good."]
    if path != whole and whole.exists():
        to_bin(path)
        return [f"{path.name}: moved to the bin; {whole.name} exists beside it."]
    copy = path.with_name(f".{path.name[:6]}.new")
    _copy_prefix(inspection, inspection.episode, copy)
    to_bin(path)
    copy.rename(whole)
    return [f"{path.name}: kept {inspection.good_steps} of {inspection.episode.steps} steps as {whole.name}."]


def _copy_prefix(inspection: Inspection, episode: Episode, copy: Path) -> None:
    """Write the good steps and arm samples of an episode as a new one."""
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    scratch = scratch_of(copy)
    for column in episode.columns:
        rows = inspection.good_arm_samples if column in ARM_COLUMNS else inspection.good_steps
        array = GrowingArray(copy / column.name, column, scratch)
        for start in range(0, rows, column.chunk):
            stored, _ = read_column(episode.path / column.name, column)
            array.extend(read_rows(episode.path / column.name, stored, start, min(start + column.chunk, rows)))
        array.flush()
    lost = episode.steps - inspection.good_steps
    counts = {"committed_steps": inspection.good_steps, "committed_arm_samples": inspection.good_arm_samples}
    outcome = {"outcome": Outcome.UNKNOWN.value} if lost else {}
    repaired = {"repaired": {"lost_steps": lost, "findings": [finding.text for finding in inspection.findings]}}
    write_group(copy, episode.attributes | counts | outcome | repaired, scratch)

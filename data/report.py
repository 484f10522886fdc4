"""What `drift-robot data` prints: sessions and episodes as tables, who drove when, and a contact sheet of pictures.

The functions take a folder and a rich console, so that the command line has nothing to do but to call them.
"""

import json
from collections.abc import Callable, Sequence
from itertools import chain, groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table
from rich.text import Text

from data.colours import OWNER_COLOURS
from data.episode import EPISODES, Episode, is_being_written
from data.errors import DataError
from data.labels import RELABELLED
from data.listing import Line, bar, lines
from data.relabel import relabel as change_labels
from data.relabel import undo
from data.repair import repair
from data.schema import Outcome, Owner
from data.session import Session, is_session, sessions_below
from data.stats import document, figures, session_stats, takeovers, total, turns
from data.stats_picture import draw
from data.verify import State, verify

OUTCOME_STYLES = {Outcome.SUCCESS: "green", Outcome.FAILURE: "red", Outcome.DISCARDED: "dim", Outcome.UNKNOWN: "yellow"}
SHEET_COLUMNS = 8
_HEADINGS = ("episode", "outcome", "steps", "s", "expert steps", "takeovers", "version")
_GLYPHS = {Owner.LEARNER: "─", Owner.TRANSITION: "╌", Owner.EXPERT: "█"}
_OWNER_STYLES = {owner: Style.parse(colour) for owner, colour in OWNER_COLOURS.items()}
_BOLD, _DAMAGED, _UNFINISHED = Style(bold=True), Style(color="red"), Style(color="yellow")
_STATE_STYLES = {outcome.value: Style.parse(style) for outcome, style in OUTCOME_STYLES.items()} | {"damaged": _DAMAGED}
MIN_TILE_WIDTH = 160


def list_session(folder: Path, console: Console) -> None:
    """Print a line for each of a session's episodes, those in the bin too. Raises DataError if there is no session."""
    session = Session.open(folder)
    found = lines(session)
    rows = [_HEADINGS, *(_cells(name, line) for name, line in found.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    room = max(10, console.width - sum(widths) - 3 * len(widths) - 1)
    console.print(Text(f"{folder}: {session.info.task}", "bold"), soft_wrap=True)
    print_row = _printer(widths)
    segments = print_row(_HEADINGS, [Segment("who drove", _BOLD)], _BOLD)
    for cells, line in zip(rows[1:], found.values(), strict=True):
        drove = [Segment(line.damage, _DAMAGED)] if line.damage else _bar_segments(line.bar, room)
        segments += print_row(cells, drove, _STATE_STYLES.get(line.state, _UNFINISHED))
    console.print(Segments(segments), end="", soft_wrap=True)
    console.print(_legend())


def show(path: Path, console: Console, contact_sheet: Path | None = None) -> None:
    """Print what an episode holds and who drove when; if asked, save a contact sheet of its pictures as PNG."""
    if is_session(path):
        raise DataError(f"{path} is a session; name one of its episodes, such as {path / EPISODES / '000000.zarr'}.")
    episode = Episode.open(path)
    owner, version = episode.column("owner"), episode.column("policy.version")
    console.print(Text.assemble((str(path), "bold"), "  ", _outcome(episode)))
    console.print(
        f"{episode.steps} steps in {episode.duration_s():.1f} s, {episode.arm_samples} samples of the arm log"
    )
    console.print(Text.assemble("who drove  ", timeline(owner, max(20, min(100, console.width - 12)))))
    console.print(_legend())
    counts = ", ".join(f"{(owner == kind).sum()} {kind.name.lower()}" for kind in Owner)
    console.print(f"labels     {counts}; takeovers: {takeovers(owner)}; policy versions: {_range(version)}")
    for start, stop, kind in turns(owner):
        if kind is not Owner.LEARNER:
            console.print(f"  {kind.name.lower():<10} steps {start} to {stop - 1}")
    for change in episode.relabellings:
        console.print(Text(f"relabelled {change}"))
    own = {"format", "format_version", "index", "layout", "committed_steps", "committed_arm_samples", "outcome"}
    own.add(RELABELLED)
    for key, value in episode.attributes.items():
        if key not in own:
            console.print(Text.assemble((f"{key}: ", "dim"), str(value)))
    columns = Table(header_style="bold")
    for name in ("column", "rows", "unit", "meaning"):
        columns.add_column(name)
    for column in episode.columns:
        rows = " x ".join(map(str, (episode.rows_of(column), *column.shape)))
        columns.add_row(column.name, f"{rows} {column.dtype}", column.unit, column.meaning)
    console.print(columns)
    if contact_sheet is not None:
        save_contact_sheet(episode, contact_sheet)
        console.print(f"Contact sheet: {contact_sheet}")


def print_verification(path: Path, console: Console) -> bool:
    """Print a line for each finding and a summary; return whether everything is good."""
    findings = verify(path)
    for finding in findings:
        style = "green" if finding.good else "yellow" if finding.state in (State.PARTIAL, State.LEFTOVER) else "red"
        console.print(Text.assemble((f"{finding.state.value:>14} ", style), finding.text))
    bad = sum(not finding.good for finding in findings)
    console.print(f"To repair: {bad} of {len(findings)} findings." if bad else "Everything is whole.")
    return not bad


def print_repair(path: Path, console: Console) -> None:
    """Repair and print a line for each thing done."""
    done = repair(path)
    for line in done or ["Nothing to repair."]:
        console.print(Text(line))


def discard(folder: Path, index: int, console: Console) -> None:
    """Move an episode to the bin. Raises DataError if there is none of this number."""
    console.print(Text(f"Moved to {Session.open(folder).discard(index)}; `restore` brings it back."))


def restore(folder: Path, index: int, console: Console) -> None:
    """Bring an episode back from the bin. Raises DataError if there is none of this number."""
    console.print(Text(f"Restored to {Session.open(folder).restore(index)}."))


def relabel(
    path: Path,
    console: Console,
    by: str,
    because: str = "",
    outcome: Outcome | None = None,
    steps: tuple[int, int] | None = None,
    owner: Owner | None = None,
    recovered: bool | None = None,
) -> None:
    """Change labels of an episode and say what was changed. Raises DataError for what is no honest label."""
    change = change_labels(path, by, because, outcome, steps, owner, recovered)
    console.print(Text(f"Relabelled: {change}. The labels that were recorded are kept; --undo takes this back."))


def undo_relabelling(path: Path, console: Console, by: str) -> None:
    """Take back the last change of an episode's labels and say which. Raises DataError if there is none."""
    console.print(Text(f"Taken back: {undo(path, by)}."))


def print_stats(paths: Sequence[Path], console: Console, as_json: bool = False, picture: Path | None = None) -> None:
    """Print the figures of sessions, each and together; if asked as JSON, or with a picture saved as PNG.

    Raises DataError if the paths hold no session.
    """
    sessions = [session_stats(folder) for folder in sessions_below(paths)]
    if picture is not None:
        draw(sessions, picture)
    if as_json:
        console.print_json(json.dumps(document(sessions)))
        return
    columns = [figures(stats) for stats in (sessions if len(sessions) == 1 else [*sessions, total(sessions)])]
    table = Table(header_style="bold")
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(Text("/".join(Path(column["session"]).parts[-2:])), justify="right", overflow="fold")
    for row in zip(*map(_stats_cells, columns), strict=True):
        table.add_row(row[0][0], *(figure for _, figure in row))
    console.print(table)
    for sentence in chain.from_iterable(stats.damaged for stats in sessions):
        console.print(Text(f"Not counted: {sentence}", "red"))
    if picture is not None:
        console.print(Text(f"Picture: {picture}"))


def timeline(owner: NDArray[np.uint8], width: int) -> Text:
    """Return a bar of at most `width` characters, each in the colour of the most active hand in its stretch."""
    return Text.assemble(*((part.text, part.style or "") for part in _bar_segments(bar(owner, width), width)))


def save_contact_sheet(episode: Episode, path: Path) -> None:
    """Save pictures evenly spaced over the episode, a row for each camera, framed in the colour of who drove."""
    if not episode.layout.cameras or not episode.steps:
        raise DataError(f"{episode.path} has no pictures to show.")
    chosen = np.unique(np.linspace(0, episode.steps - 1, SHEET_COLUMNS).round().astype(int))
    owner, time_ns = episode.column("owner"), episode.column("time.step")
    rows = []
    for name in episode.layout.cameras:
        tiles = []
        for step in chosen:
            picture = Image.fromarray(episode.column(f"observation.images.{name}", step, step + 1)[0])
            scale = max(1, -(-MIN_TILE_WIDTH // picture.width))
            picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
            seconds = (time_ns[step] - time_ns[0]) / 1e9
            tiles.append(_tile(picture, f"{name} {seconds:.1f} s", OWNER_COLOURS[Owner(owner[step])]))
        rows.append(np.concatenate([np.asarray(tile) for tile in tiles], axis=1))
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(padded)).save(path, "PNG")


def _tile(picture: Image.Image, caption: str, colour: str) -> Image.Image:
    border, strip = 4, 14
    tile = Image.new("RGB", (picture.width + 2 * border, picture.height + 2 * border + strip), colour)
    tile.paste(picture, (border, border + strip))
    ImageDraw.Draw(tile).text((border, 2), caption, fill="white")
    return tile


def _stats_cells(column: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of one column of the table of figures: what it is, and the figure."""
    episodes, steps, interventions = column["episodes"], column["steps"], column["interventions"]
    versions = np.array([int(version) for version in column["versions"]], dtype=np.int64)
    return [
        ("task", column["task"]),
        ("episodes", f"{episodes}"),
        *((f"  {name}", _share(count, episodes)) for name, count in column["outcomes"].items()),
        ("  learner alone", _share(column["learner_alone"], episodes)),
        ("  expert alone", _share(column["demonstrations"], episodes)),
        ("  relabelled", _share(column["relabelled"], episodes)),
        ("interrupted", f"{column['interrupted']}"),
        ("in the bin", f"{column['in_bin']}"),
        ("hours", f"{column['hours']:.2f}"),
        ("steps", f"{steps}"),
        *((f"  {name}", _share(count, steps)) for name, count in column["steps_by_owner"].items()),
        ("interventions", f"{interventions['count']}"),
        ("  in episodes", _share(interventions["episodes"], episodes)),
        ("  median length", _seconds(interventions["median_s"])),
        ("  longest", _seconds(interventions["longest_s"])),
        ("  together", _seconds(interventions["total_s"])),
        ("versions", f"{len(versions)}" + (f" ({_range(versions)})" if len(versions) > 1 else "")),
    ]


def _seconds(length: float | None) -> str:
    return "-" if length is None else f"{length:.1f} s"


def _share(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.0f} %)" if part else "0"


def _cells(name: str, line: Line) -> tuple[str, ...]:
    place, file = name.split("/")
    number = file[:6] + ("" if place == EPISODES else " (bin)")
    versions = "-" if line.versions is None else _span(*line.versions)
    figures = (str(line.steps), f"{line.seconds:.1f}", str(line.expert_steps), str(line.takeovers), versions)
    return (number, line.state, *(figures if not line.damage else [""] * len(figures)))


def _printer(widths: Sequence[int]) -> Callable[[Sequence[str], list[Segment], Style], list[Segment]]:
    """Return what puts a row between lines, numbers to the right; the second cell has a style of its own."""
    right = "steps", "s", "expert steps", "takeovers"
    padders = [
        (str.rjust if heading in right else str.ljust, width) for heading, width in zip(_HEADINGS, widths, strict=True)
    ]

    def row(cells: Sequence[str], last: list[Segment], style: Style) -> list[Segment]:
        padded = [pad(cell, width) for cell, (pad, width) in zip(cells, padders, strict=True)]
        first, state, *others = padded
        return [
            Segment(f"│ {first} │ "),
            Segment(state, style),
            Segment(f" │ {' │ '.join(others)} │ "),
            *last,
            Segment(" │\n"),
        ]

    return row


def _bar_segments(digits: str, width: int) -> list[Segment]:
    """Return who drove in at most `width` characters."""
    if len(digits) > width:
        edges = [len(digits) * place // width for place in range(width + 1)]
        digits = "".join(max(digits[low:high]) for low, high in pairwise(edges))
    stretches = ((Owner(int(digit)), len(list(same))) for digit, same in groupby(digits))
    return [Segment(_GLYPHS[owner] * length, _OWNER_STYLES[owner]) for owner, length in stretches]


def _outcome(episode: Episode) -> Text:
    if episode.finished:
        return Text(episode.outcome.value, OUTCOME_STYLES[episode.outcome])
    return Text("being written" if is_being_written(episode.path) else "interrupted", "yellow")


def _range(values: NDArray[np.int64]) -> str:
    if not len(values):
        return "-"
    return _span(int(values.min()), int(values.max()))


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _legend() -> Text:
    return Text.assemble(*((f" {kind.name.lower()} ", f"white on {OWNER_COLOURS[kind]}") for kind in Owner))

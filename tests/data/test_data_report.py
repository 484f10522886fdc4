import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recording import WITH_PICTURES, make_step, owners, record
from rich.console import Console

from data import report
from data.episode import Episode, EpisodeWriter
from data.errors import DataError
from data.schema import EpisodeLayout, Outcome
from data.session import Session


@pytest.fixture
def session(tmp_path: Path) -> Path:
    return Session.create(tmp_path / "s", "lift [red]").folder


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=160, color_system=None)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_list_shows_each_episode_and_the_bin(session: Path, console: Console) -> None:
    record(session, 30, index=0)
    record(session, owners("LLLLTTEEEEELLLLTTEEE"), Outcome.FAILURE, index=1)
    record(session, 5, index=2)
    Session.open(session).drop_last()
    EpisodeWriter.create(session, 3, WITH_PICTURES).abandon()
    report.list_session(session, console)
    lines = {line.split("│")[1].strip(): line for line in printed(console).splitlines() if line.count("│") > 3}
    assert "lift [red]" in printed(console)
    assert [cell.strip() for cell in lines["000000"].split("│")[2:8]] == ["success", "30", "2.9", "30", "0", "0 to 2"]
    assert [cell.strip() for cell in lines["000001"].split("│")[2:7]] == ["failure", "20", "1.9", "8", "2"]
    assert lines["000001"].split("│")[8].strip() == "────╌╌█████────╌╌███"
    assert "success" in lines["000002 (bin)"]
    assert "interrupted" in lines["000003"]


def test_a_damaged_episode_does_not_end_the_list(session: Path, console: Console) -> None:
    path = record(session, 5, index=0)
    record(session, 5, index=1)
    (path / "owner" / "c.0").unlink()
    report.list_session(session, console)
    assert "damaged" in printed(console)
    assert "000001" in printed(console)


def test_showing_an_episode_names_turns_columns_and_attributes(session: Path, console: Console) -> None:
    writer = EpisodeWriter.create(session, 0, WITH_PICTURES, {"task": "lift", "operator": "Ada"})
    for number, owner in enumerate(owners("LLLTTEEEEL")):
        writer.append(make_step(number, owner, WITH_PICTURES))
    report.show(writer.finish(Outcome.SUCCESS), console)
    text = printed(console)
    assert "───╌╌████─" in text
    assert "4 learner, 2 transition, 4 expert; takeovers: 1" in text
    assert "transition steps 3 to 4" in text
    assert "expert     steps 5 to 8" in text
    assert "operator: Ada" in text
    assert "10 x 6 x 8 x 3 uint8" in text


def test_showing_a_session_asks_for_an_episode(session: Path, console: Console) -> None:
    with pytest.raises(DataError, match="name one of its episodes"):
        report.show(session, console)


def test_a_contact_sheet_shows_pictures_framed_by_owner(session: Path, console: Console, tmp_path: Path) -> None:
    path = record(session, owners("LLLLEEEE"), layout=WITH_PICTURES)
    report.show(path, console, tmp_path / "out" / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "out" / "sheet.png"))
    width = sheet.shape[1] // report.SHEET_COLUMNS
    frames = [tuple(sheet[0, width * tile].tolist()) for tile in range(8)]
    assert frames == [(0x1F, 0x6F, 0xEB)] * 4 + [(0xD1, 0x57, 0x0A)] * 4
    centre = [sheet[20 + 14 + 4, width * tile + width // 2].tolist() for tile in range(8)]
    assert centre == [[step] * 3 for step in range(8)]


def test_an_episode_without_pictures_has_no_contact_sheet(session: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures"):
        report.save_contact_sheet(Episode.open(record(session, 3)), tmp_path / "sheet.png")


def test_verification_and_repair_are_told_in_lines(session: Path, console: Console) -> None:
    record(session, 5, index=0)
    assert report.print_verification(session, console)
    assert "Everything is whole" in printed(console)
    writer = EpisodeWriter.create(session, 1, EpisodeLayout(8))
    writer.append(make_step(0))
    writer.abandon()
    assert not report.print_verification(session, console)
    assert "000001.zarr.partial was interrupted; good steps: 1." in printed(console)
    report.print_repair(session, console)
    assert "kept 1 of 1 steps as 000001.zarr" in printed(console)
    assert report.print_verification(session, console)
    report.print_repair(session, console)
    assert "Nothing to repair" in printed(console)


def test_discard_and_restore_say_where_the_episode_went(session: Path, console: Console) -> None:
    record(session, 5, index=0)
    report.discard(session, 0, console)
    assert "000000.zarr" in printed(console)
    assert Session.open(session).episodes() == []
    report.restore(session, 0, console)
    assert len(Session.open(session).episodes()) == 1


@pytest.mark.parametrize(
    ("labels", "expected"),
    [("", 0), ("EEE", 0), ("LLE", 1), ("LTE", 1), ("LELTEL", 2), ("TEL", 0)],
)
def test_takeovers_are_counted_from_the_learner(labels: str, expected: int) -> None:
    assert report.takeovers(np.array(owners(labels), dtype=np.uint8)) == expected


def test_a_short_intervention_is_visible_in_a_narrow_timeline() -> None:
    owner = np.array(owners("L" * 500 + "E" + "L" * 500), dtype=np.uint8)
    assert report.timeline(owner, 20).plain.count("█") == 1
    assert len(report.timeline(owner, 20).plain) == 20

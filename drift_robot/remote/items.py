"""What lies in a store: for each side a head, one small JSON file, that names the items which it offers.

    <store>/robot.json                          the session's head
    <store>/trainer.json                        the trainer's; trainer.jsonl its figures
    <store>/session/episodes/000003.zarr/<sha256>   the pieces of an item's files, and its manifest

An item is an episode, a version or a training state. Its files are cut into pieces, each an object whose name is its
hash; the manifest, an object of the same kind, lists them; the head names the manifest. A head is replaced whole and
written last, so a reader sees all of an item or nothing, and whatever it reads it holds against the hash.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from drift_robot.remote.store import DamagedError, Store, StoreError
from drift_robot.trainer import TrainerWord

STRICT = ConfigDict(extra="forbid")
PIECE_BYTES = 4 * 2**20
BATCH_BYTES = 2 * PIECE_BYTES
BATCH_PIECES = 64
HEAD_BYTES = 4 * 2**20
MAX_FILES = 20_000
MAX_ITEM_BYTES = 32 * 2**30
ITEM_NAME = r"^(demonstrations|session)/episodes/\d{6}\.zarr$|^(versions|training)/\d{6}$"


def _inside(name: str) -> str:
    """Accept the name of a file that cannot lie outside its item's folder."""
    parts = name.split("/")
    if len(name) > 500 or len(parts) > 12 or any(part in ("", ".", "..") for part in parts) or set(name) & set("\\\0"):
        raise ValueError("the name of a file leads out of its folder")
    return name


Count = Annotated[int, Field(ge=0)]
ItemName = Annotated[str, Field(pattern=ITEM_NAME)]
FileName = Annotated[str, AfterValidator(_inside)]


@dataclass(frozen=True, config=STRICT)
class Piece:
    """An object in an item's folder, whose name is its hash."""

    bytes: Annotated[int, Field(gt=0, le=PIECE_BYTES)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, config=STRICT)
class Item:
    """Something that is whole in the store. `changed_ns` is when its folder had changed where it comes from."""

    manifest: Piece
    changed_ns: Count


@dataclass(frozen=True, config=STRICT)
class Head:
    """What one side offers and says.

    `run` is the run's own name, `writer` the process that wrote it. `complete`: all that it has is there.
    `barred`: quarantined versions. `asked`: of the session the wish to train now, a number of its own; of the trainer
    the last one that it has fulfilled. `configuration` is the session's; `beat` changes while the trainer is there,
    `word` is what it says, `figures` up to which round its figures are there, and `fault` what is wrong in the store.
    """

    run: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    writer: str = ""
    items: dict[ItemName, Item] = Field(default_factory=dict)
    complete: bool = False
    barred: tuple[Count, ...] = ()
    asked: Count = 0
    configuration: dict[str, Any] | None = None
    beat: Count = 0
    word: TrainerWord | None = None
    figures: Count = 0
    fault: str = ""
    format: Literal[1] = 1


Manifest = dict[FileName, tuple[Piece, ...]]
_HEADS = TypeAdapter(Head)
_MANIFESTS: TypeAdapter[Manifest] = TypeAdapter(Manifest)


def read_head(store: Store, name: str) -> Head | None:
    """Return a head, None before it was first written. Raises StoreError."""
    content = store.read(name, HEAD_BYTES)
    if content is None:
        return None
    try:
        return _HEADS.validate_json(content)
    except ValidationError as error:
        raise StoreError(f"{name} in {store.url} is damaged or of another software ({_first(error)}).") from error


def write_head(store: Store, name: str, head: Head) -> None:
    """Replace a head. Raises StoreError."""
    store.replace(name, _HEADS.dump_json(head))


def send_item(store: Store, name: str, folder: Path) -> Item:
    """Put all files of a folder into the store; nobody sees it before it is in a head.

    Raises StoreError, OSError; FileNotFoundError if the folder has changed meanwhile or is gone.
    """
    changed_ns = folder.stat().st_mtime_ns
    manifest: Manifest = {}
    batch: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        pieces = []
        for content in _pieces(path):
            pieces.append(Piece(len(content), hashlib.sha256(content).hexdigest()))
            batch[f"{name}/{pieces[-1].sha256}"] = content
            if len(batch) >= BATCH_PIECES or sum(map(len, batch.values())) >= BATCH_BYTES:
                store.write_all(batch)
                batch = {}
        manifest[path.relative_to(folder).as_posix()] = tuple(pieces)
    content = _MANIFESTS.dump_json(manifest)
    listed = Piece(len(content), hashlib.sha256(content).hexdigest())
    store.write_all(batch | {f"{name}/{listed.sha256}": content})
    if folder.stat().st_mtime_ns != changed_ns:
        raise FileNotFoundError(f"{folder} has changed while it was sent.")
    return Item(listed, changed_ns)


def read_manifest(store: Store, name: str, item: Item) -> Manifest:
    """Return what an item consists of. Raises StoreError, DamagedError if that is not as it should be."""
    (content,) = _read_pieces(store, name, [item.manifest])
    try:
        manifest = _MANIFESTS.validate_json(content)
    except ValidationError as error:
        raise DamagedError(f"{name} in {store.url}: its manifest is not one ({_first(error)}).") from error
    if len(manifest) > MAX_FILES or sum(p.bytes for pieces in manifest.values() for p in pieces) > MAX_ITEM_BYTES:
        raise DamagedError(f"{name} in {store.url} is larger than anything of ours.")
    return manifest


def fetch_item(store: Store, name: str, item: Item, staged: Path) -> None:
    """Bring an item into a folder of the receiver's own, every piece held against its hash.

    What an earlier try has left there is used if it is right. Raises StoreError, OSError; DamagedError if the store
    answers, but not with what the item should be.
    """
    manifest = read_manifest(store, name, item)
    for path in sorted(staged.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(staged).as_posix() not in manifest:
            path.unlink()
    wanted = {staged / name: pieces for name, pieces in manifest.items() if not _is_there(staged / name, pieces)}
    for path in wanted:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    for batch in _batches([(path, piece) for path, pieces in wanted.items() for piece in pieces]):
        contents = _read_pieces(store, name, [piece for _, piece in batch])
        for (path, _), content in zip(batch, contents, strict=True):
            with path.open("ab") as file:
                file.write(content)
    for path in wanted:
        with path.open("rb") as file:
            os.fsync(file.fileno())


def remove_item(store: Store, name: str, item: Item) -> None:
    """Remove an item that no head names any more. Raises StoreError."""
    pieces = [piece for pieces in read_manifest(store, name, item).values() for piece in pieces]
    store.remove([f"{name}/{sha256}" for sha256 in {item.manifest.sha256, *(piece.sha256 for piece in pieces)}])


def place(staged: Path, destination: Path) -> None:
    """Let what was fetched appear whole, in the place of an earlier one if there is one."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    if destination.exists():
        old = staged.with_name(f"{staged.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        destination.rename(old)
        staged.rename(destination)
        shutil.rmtree(old)
    else:
        staged.rename(destination)


def _read_pieces(store: Store, name: str, pieces: list[Piece]) -> list[bytes]:
    """Return the contents of an item's pieces, each as long as it should be and with its hash."""
    sizes = {f"{name}/{piece.sha256}": piece.bytes for piece in pieces}
    found = dict(zip(sizes, store.read_all(sizes), strict=True))
    contents = [found[f"{name}/{piece.sha256}"] for piece in pieces]
    for piece, content in zip(pieces, contents, strict=True):
        if hashlib.sha256(content).hexdigest() != piece.sha256:
            raise DamagedError(f"{name} in {store.url} does not match its hash; it is damaged or was changed.")
    return contents


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while content := file.read(PIECE_BYTES):
            yield content


def _is_there(path: Path, pieces: tuple[Piece, ...]) -> bool:
    """Whether a file consists of these pieces already."""
    if not path.is_file() or path.stat().st_size != sum(piece.bytes for piece in pieces):
        return False
    with path.open("rb") as file:
        return all(hashlib.sha256(file.read(piece.bytes)).hexdigest() == piece.sha256 for piece in pieces)


def _batches(pieces: list[tuple[Path, Piece]]) -> Iterator[list[tuple[Path, Piece]]]:
    """Yield pieces in their order, as many at once as are read together."""
    batch: list[tuple[Path, Piece]] = []
    for pair in pieces:
        if batch and (len(batch) >= BATCH_PIECES or sum(p.bytes for _, p in batch) + pair[1].bytes > BATCH_BYTES):
            yield batch
            batch = []
        batch.append(pair)
    if batch:
        yield batch


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"

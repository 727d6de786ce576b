"""Where the pieces of sessions lie: in a folder that all replicas share. `s3_pieces` has those in a bucket."""

import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from catalog.blobs.local_store import PIECES, LocalBlobStore, storage_errors, sync_folder
from catalog.blobs.shared_uploads.session_rows import Piece
from catalog.blobs.uploads import IncomingBlob
from oci.digest import Digest
from oci.errors import StorageCorrupt, StorageUnavailable

_READ = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredPiece:
    """A piece that lies in the store, and the Unix time since when."""

    name: str
    modified_at: float


class JoinRefused(StorageUnavailable):
    """The store does not join pieces: not every S3 server copies parts."""


class Pieces(Protocol):
    """Keeps pieces by name; usable from any thread."""

    def store(self, name: str, staged: Path) -> None:
        """Keep a staged file as a piece, durable on return; the file may be gone then."""

    def read(self, piece: Piece) -> Iterator[bytes]:
        """Yield a piece's bytes; raise StorageCorrupt when they are not all there."""

    def join(self, pieces: Sequence[Piece]) -> IncomingBlob | None:
        """Return the blob that pieces make, without reading them; None where the store cannot make it.

        What it returns raises StorageCorrupt when a piece is not there, JoinRefused when the store cannot make it after all.
        """

    def remove(self, names: Iterable[str]) -> None:
        """Remove pieces; nothing happens when they are gone."""

    def stored(self) -> Iterator[StoredPiece]:
        """Everything that lies where pieces do."""


@dataclass(frozen=True, slots=True)
class _PieceFile:
    """A blob that is one piece: its file gets a second name, by which it becomes the blob."""

    blobs: LocalBlobStore
    path: Path
    size: int

    def send(self, digest: Digest) -> None:
        """A second name takes no time."""

    def adopt(self, digest: Digest) -> None:
        staged = self.blobs.staging / f"{uuid.uuid4().hex}-piece"
        _check_size(self.path, self.size)
        with storage_errors(self.path.parent):
            os.link(self.path, staged)
        self.blobs.adopt(staged, digest)

    def drop(self) -> None:
        """The piece is removed with its session."""


class FolderPieces:
    """Pieces as files beside the blobs, so that a rename moves them."""

    def __init__(self, blobs: LocalBlobStore) -> None:
        self._blobs = blobs
        self._folder = blobs.staging.parent / PIECES
        with storage_errors(self._folder.parent):
            self._folder.mkdir(exist_ok=True)

    def store(self, name: str, staged: Path) -> None:
        with storage_errors(self._folder):
            descriptor = os.open(staged, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            staged.rename(self._folder / name)
            sync_folder(self._folder)

    def read(self, piece: Piece) -> Iterator[bytes]:
        path = self._folder / piece.name
        _check_size(path, piece.size)
        with path.open("rb") as file:
            while chunk := file.read(_READ):
                yield chunk

    def join(self, pieces: Sequence[Piece]) -> IncomingBlob | None:
        if len(pieces) != 1:
            return None
        return _PieceFile(self._blobs, self._folder / pieces[0].name, pieces[0].size)

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self._folder / name).unlink(missing_ok=True)

    def stored(self) -> Iterator[StoredPiece]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    yield StoredPiece(entry.name, entry.stat().st_mtime)


def _check_size(path: Path, size: int) -> None:
    """Raise StorageCorrupt for a piece whose file is missing or of another size."""
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        raise StorageCorrupt(f"piece {path.name} of an upload is missing from {path.parent}") from None
    if found != size:
        raise StorageCorrupt(f"piece {path.name} of an upload has {found} bytes in {path.parent}, not {size}")

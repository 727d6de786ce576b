"""Pieces of sessions as objects beside the blobs; S3 itself copies them to where the blob belongs.

Source: Amazon S3 API, "CopyObject", "UploadPartCopy": parts of 5 MiB to 5 GiB, but for the last, 10,000 at most.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from catalog.blobs.local_store import PIECES, BlobVanished
from catalog.blobs.s3_store import S3BlobReader, S3BlobStore, error_code, is_missing, s3_errors
from catalog.blobs.shared_uploads.pieces import JoinRefused, StoredPiece
from catalog.blobs.shared_uploads.session_rows import Piece
from catalog.blobs.uploads import IncomingBlob
from oci.digest import Digest
from oci.errors import StorageCorrupt

_READ = 1024 * 1024
_LEAST, _MOST, _PARTS = 5 * 1024 * 1024, 256 * 1024 * 1024, 10_000
"""Bytes that S3 takes as a part that is not the last; bytes that one request is to copy; parts of one object."""

_REFUSALS = frozenset({"EntityTooSmall", "InvalidArgument", "InvalidRequest", "MethodNotAllowed", "NotImplemented"})
"""S3's names of errors by which a server says that it does not copy so."""

_REQUESTS = 8
"""Requests of one process at a time that copy or remove pieces."""


@cache
def _requests() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_REQUESTS, thread_name_prefix="pieces")


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes `first` to `last` of a piece's object, the last one included."""

    name: str
    first: int
    last: int


class S3Pieces:
    """Pieces below PREFIX/uploads/."""

    def __init__(self, blobs: S3BlobStore) -> None:
        self._blobs = blobs

    def _key(self, name: str) -> str:
        return self._blobs.name_key(f"{PIECES}/{name}")

    def store(self, name: str, staged: Path) -> None:
        self._blobs.upload(staged, self._key(name))

    def read(self, piece: Piece) -> Iterator[bytes]:
        with S3BlobReader(self._blobs.client, self._blobs.bucket, self._key(piece.name), piece.size) as reader:
            reader.begin(0)
            offset = 0
            while chunk := reader.read_at(offset, _READ):
                offset += len(chunk)
                yield chunk

    def join(self, pieces: Sequence[Piece]) -> IncomingBlob | None:
        if any(piece.size < _LEAST for piece in pieces[:-1]):
            return None
        parts = [part for piece in pieces for part in _parts_of(piece)]
        return (
            None if len(parts) > _PARTS else _JoinedObject(self, self._blobs, parts, pieces[-1].first + pieces[-1].size)
        )

    def copy(self, parts: Sequence[_Part], digest: Digest) -> None:
        """Make parts of pieces the object of a blob; raise StorageCorrupt when a piece is not there."""
        target = {"Bucket": self._blobs.bucket, "Key": self._blobs.key(digest)}
        with s3_errors(self._blobs.bucket):
            try:
                if len(parts) == 1:
                    self._blobs.sender.copy_object(**target, CopySource=self._source(parts[0]))
                else:
                    self._copy_parts(parts, target)
            except ClientError as error:
                if is_missing(error):
                    raise StorageCorrupt(
                        f"a piece of the upload of {digest} is missing from {self._blobs.bucket}"
                    ) from None
                if error_code(error) in _REFUSALS:
                    raise JoinRefused(f"S3 bucket {self._blobs.bucket}: {error_code(error)}") from None
                raise

    def _source(self, part: _Part) -> dict[str, str]:
        return {"Bucket": self._blobs.bucket, "Key": self._key(part.name)}

    def _copy_parts(self, parts: Sequence[_Part], target: dict[str, str]) -> None:
        client = self._blobs.sender
        upload = {
            **target,
            "UploadId": client.create_multipart_upload(**target, ContentType="application/octet-stream")["UploadId"],
        }

        def copy(number: int, part: _Part) -> dict[str, Any]:
            copied = client.upload_part_copy(
                **upload,
                PartNumber=number,
                CopySource=self._source(part),
                CopySourceRange=f"bytes={part.first}-{part.last}",
            )["CopyPartResult"]
            sums = {name: value for name, value in copied.items() if name == "ETag" or name.startswith("Checksum")}
            return {"PartNumber": number, **sums}

        try:
            done = list(_requests().map(copy, range(1, len(parts) + 1), parts))
            client.complete_multipart_upload(**upload, MultipartUpload={"Parts": done})
        except BaseException:
            with suppress(ClientError):
                client.abort_multipart_upload(**upload)
            raise

    def remove(self, names: Iterable[str]) -> None:
        def remove(name: str) -> None:
            self._blobs.client.delete_object(Bucket=self._blobs.bucket, Key=self._key(name))

        wanted = list(names)
        with s3_errors(self._blobs.bucket):
            if len(wanted) == 1:
                remove(wanted[0])
            else:
                list(_requests().map(remove, wanted))

    def stored(self) -> Iterator[StoredPiece]:
        start = self._key("")
        pages = self._blobs.client.get_paginator("list_objects_v2")
        with s3_errors(self._blobs.bucket):
            for page in pages.paginate(Bucket=self._blobs.bucket, Prefix=start):
                for one in page.get("Contents", ()):
                    yield StoredPiece(one["Key"].removeprefix(start), one["LastModified"].timestamp())


@dataclass(frozen=True, slots=True)
class _JoinedObject:
    """A blob that S3 makes of pieces."""

    pieces: S3Pieces
    blobs: S3BlobStore
    parts: Sequence[_Part]
    size: int

    def send(self, digest: Digest) -> None:
        self.pieces.copy(self.parts, digest)

    def adopt(self, digest: Digest) -> None:
        try:
            self.blobs.check_blob(digest, self.size)
        except StorageCorrupt:
            raise BlobVanished(f"{digest} was removed from the bucket while it was taken in") from None

    def drop(self) -> None:
        """The pieces are removed with their session."""


def _parts_of(piece: Piece) -> Iterator[_Part]:
    """Yield a piece in parts of about equal size, none larger than one request copies."""
    count = -(-piece.size // _MOST)
    for number in range(count):
        yield _Part(piece.name, piece.size * number // count, piece.size * (number + 1) // count - 1)

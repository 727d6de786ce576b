"""Bytes enter the store only through a verified session."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.blobs.uploads import OpenUpload
from catalog.catalog import Catalog
from oci.digest import Digest
from oci.errors import BlobUnknown, Conflict, DigestInvalid, SizeInvalid, StorageCorrupt, UploadUnknown

DATA = b"some bytes of a layer" * 1000


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A home whose upload sessions are files of one machine, or rows that all replicas share."""
    if request.param == "postgresql":
        request.getfixturevalue("postgres")
    return tmp_path / "entrepot"


def opened(catalog: Catalog) -> OpenUpload:
    """Open a session as a client's first request does."""
    return catalog.uploads.resume("team/app", catalog.uploads.open_session("team/app"))


def staged(home: Path) -> list[Path]:
    return [path for name in ("staging", "uploads") for path in (home / "blobs" / name).glob("*")]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_finished_session_is_a_blob_of_its_repository_only(catalog: Catalog, home: Path, algorithm: str) -> None:
    digest = Digest.of(DATA, algorithm)
    with catalog.uploads.begin("team/app") as session:
        session.write(DATA[:500])
        session.write(DATA[500:])
        assert session.finish(digest, len(DATA)) == len(DATA)
    assert catalog.content.size(digest) == len(DATA)
    assert catalog.content.read(digest) == DATA
    assert catalog.content.linked("team/app", digest)
    assert not catalog.content.linked("team/other", digest)
    assert staged(home) == []


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_wrong_bytes_leave_nothing(catalog: Catalog, home: Path, algorithm: str) -> None:
    digest = Digest.of(DATA, algorithm)
    with catalog.uploads.begin("team/app") as session:
        session.write(DATA[:-1] + b"!")
        with pytest.raises(DigestInvalid, match=f"expected {digest}.*are {algorithm}:"):
            session.finish(digest)
    assert catalog.content.size(digest) is None
    assert staged(home) == []
    assert not list((home / "blobs").rglob(digest.encoded))


def test_a_wrong_size_leaves_nothing(catalog: Catalog, home: Path) -> None:
    with catalog.uploads.begin("team/app") as session:
        session.write(DATA)
        with pytest.raises(SizeInvalid, match=f"expected {len(DATA) + 1} bytes"):
            session.finish(Digest.of(DATA), len(DATA) + 1)
    assert staged(home) == []


@pytest.mark.parametrize("other_process", [False, True])
def test_a_session_left_half_way_is_resumed(
    catalog: Catalog, open_again: Callable[..., Catalog], *, other_process: bool
) -> None:
    with opened(catalog) as session:
        session.write(DATA[:700])
        session.keep()
    second = open_again() if other_process else catalog
    with second.uploads.resume("team/app", session.id) as resumed:
        assert resumed.offset == 700
        resumed.write(DATA[700:])
        resumed.finish(Digest.of(DATA))
    assert catalog.content.read(Digest.of(DATA)) == DATA


def test_a_session_belongs_to_its_repository(catalog: Catalog) -> None:
    session = opened(catalog)
    session.close()
    with pytest.raises(UploadUnknown):
        catalog.uploads.resume("team/other", session.id)
    with pytest.raises(UploadUnknown):
        catalog.uploads.resume("team/app", "../../../etc/passwd")


def test_a_session_has_one_holder_at_a_time(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    others = [catalog] if catalog._blob_index.database.is_shared else [catalog, open_again()]
    with opened(catalog) as session:
        for other in others:
            with pytest.raises(Conflict, match="in use"):
                other.uploads.resume("team/app", session.id)
    catalog.uploads.resume("team/app", session.id).close()


def test_an_ended_session_is_unknown(catalog: Catalog) -> None:
    with opened(catalog) as session:
        session.write(DATA)
        session.cancel()
    with pytest.raises(UploadUnknown):
        catalog.uploads.resume("team/app", session.id)


def test_two_sessions_may_close_one_digest(catalog: Catalog) -> None:
    digest = Digest.of(DATA)
    sessions = [catalog.uploads.begin("team/app"), catalog.uploads.begin("team/other")]
    for session in sessions:
        session.write(DATA)
    for session in sessions:
        assert session.finish(digest) == len(DATA)
    assert catalog.content.linked("team/app", digest)
    assert catalog.content.linked("team/other", digest)


def test_sweeping_drops_idle_sessions_and_no_other(catalog: Catalog, home: Path) -> None:
    idle, fresh = (opened(catalog) for _ in range(2))
    for session in (idle, fresh):
        session.write(DATA)
        session.keep()
    now, expiry = time.time(), catalog.settings.upload_expiry
    assert catalog.uploads.sweep(now) == 0
    make_idle(catalog, home, idle.id)
    held = catalog.uploads.begin("team/app")
    assert catalog.uploads.sweep(now) == 1
    with pytest.raises(UploadUnknown):
        catalog.uploads.resume("team/app", idle.id)
    with catalog.uploads.resume("team/app", fresh.id) as resumed:
        assert resumed.offset == len(DATA)
    assert catalog.uploads.sweep(now + expiry + 10) == 1
    held.finish(Digest.of(b""))
    assert staged(home) == []


def make_idle(catalog: Catalog, home: Path, session_id: str) -> None:
    """Have a session look as if nobody had touched it for long."""
    database = catalog._blob_index.database
    if database.is_shared:
        database.change("UPDATE upload_sessions SET touched_at = 0 WHERE id = ?", (session_id,))
    for path in staged(home):
        if session_id in path.name:
            os.utime(path, (0, 0))


def test_a_file_that_happens_to_be_there_is_no_blob(catalog: Catalog, home: Path) -> None:
    digest = Digest.of(DATA)
    path = home / "blobs" / "sha256" / digest.encoded[:2] / digest.encoded
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not these bytes")
    assert catalog.content.size(digest) is None
    with pytest.raises(BlobUnknown):
        catalog.content.open(digest)
    catalog.content.put(DATA, digest, "team/app")
    assert path.read_bytes() == DATA


def test_a_lost_or_shortened_file_is_named_and_mended_by_a_new_upload(catalog: Catalog, home: Path) -> None:
    digest = Digest.of(DATA)
    catalog.content.put(DATA, digest, "team/app")
    path = home / "blobs" / "sha256" / digest.encoded[:2] / digest.encoded
    path.write_bytes(DATA[:10])
    with pytest.raises(StorageCorrupt, match=f"{len(DATA)} bytes, but its file has 10"):
        catalog.content.open(digest)
    path.unlink()
    with pytest.raises(StorageCorrupt, match="missing"):
        catalog.content.open(digest)
    with catalog.uploads.begin("team/app") as session:
        session.write(DATA)
        session.finish(digest)
    assert catalog.content.read(digest) == DATA


def test_a_blob_is_stored_once_whoever_uploads_it(catalog: Catalog, home: Path) -> None:
    for repository in ("a", "b", "c"):
        catalog.content.put(DATA, Digest.of(DATA), repository)
    assert len(list((home / "blobs").rglob(hashlib.sha256(DATA).hexdigest()))) == 1
    assert catalog.content.linked_anywhere(Digest.of(DATA)) == {"a", "b", "c"}


def test_a_blob_that_is_not_held_cannot_be_linked(catalog: Catalog) -> None:
    with pytest.raises(BlobUnknown):
        catalog.content.link("team/app", Digest.of(b"nobody has this"))

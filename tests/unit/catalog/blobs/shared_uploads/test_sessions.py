"""Sessions of all replicas: over a bucket, and over a folder that they share."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from catalog.blobs.shared_uploads import s3_pieces
from catalog.blobs.shared_uploads.session_rows import Piece, SessionRows
from catalog.blobs.shared_uploads.sessions import SharedUploads
from catalog.blobs.uploads import OpenUpload
from catalog.catalog import Catalog
from catalog.settings import read_settings
from oci.digest import Digest
from oci.errors import DigestInvalid, RangeInvalid, SizeInvalid, StorageCorrupt, StorageUnavailable, UploadUnknown
from tests.api.conftest import random_blob
from tests.homes import new_home
from tests.servers import S3Server

MIB = 1024 * 1024


@pytest.fixture(params=["folder", "s3"])
def home(request: pytest.FixtureRequest, tmp_path: Path, postgres: str) -> Path:
    if request.param == "s3":
        request.getfixturevalue("s3")
    return tmp_path / "entrepot"


@pytest.fixture
def s3_home(s3: S3Server, postgres: str, tmp_path: Path) -> Path:
    return new_home(tmp_path / "entrepot")


@pytest.fixture
def s3_catalog(s3_home: Path) -> Iterator[Catalog]:
    with Catalog(read_settings(home=s3_home)) as opened:
        yield opened


def shared(catalog: Catalog) -> SharedUploads:
    assert isinstance(catalog.uploads, SharedUploads)
    return catalog.uploads


def piece_names(catalog: Catalog) -> list[str]:
    return [one.name for one in shared(catalog).pieces.stored()]


def opened(catalog: Catalog) -> OpenUpload:
    return catalog.uploads.resume("team/app", catalog.uploads.open_session("team/app"))


def send(catalog: Catalog, *chunks: bytes) -> str:
    """Send chunks by a request each; return the session's id."""
    session_id = catalog.uploads.open_session("team/app")
    for chunk in chunks:
        with catalog.uploads.resume("team/app", session_id) as session:
            session.write(chunk)
            session.keep()
    return session_id


def close(catalog: Catalog, session_id: str, data: bytes, algorithm: str = "sha256") -> None:
    """Close a session as a blob, and read that."""
    digest = Digest.of(data, algorithm)
    with catalog.uploads.resume("team/app", session_id) as session:
        assert session.finish(digest, len(data)) == len(data)
    assert catalog.content.read(digest) == data
    assert catalog.content.linked("team/app", digest)
    assert not catalog.content.linked("team/other", digest)
    with pytest.raises(UploadUnknown):
        catalog.uploads.resume("team/app", session_id)
    assert piece_names(catalog) == []
    assert list(catalog.uploads._store.staging.iterdir()) == []


# --- what one replica began another one ends -------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("cuts", [(), (1,), (1000, 1001), (5 * MIB, 10 * MIB)])
def test_pieces_become_the_blob(
    catalog: Catalog, open_again: Callable[..., Catalog], cuts: tuple[int, ...], algorithm: str
) -> None:
    data = random_blob(10 * MIB + 1 if len(cuts) == 2 and cuts[0] > MIB else 5000)
    replicas = [catalog, open_again()]
    session_id = catalog.uploads.open_session("team/app")
    for number, (start, end) in enumerate(zip((0, *cuts), (*cuts, len(data)), strict=True)):
        with replicas[number % 2].uploads.resume("team/app", session_id) as session:
            assert session.offset == start
            session.write(data[start:end])
            assert session.offset == end
            session.keep()
    close(open_again(), session_id, data, algorithm)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("chunks", [(b"one",), (b"one", b"two")])
def test_pieces_that_are_another_blob_are_refused_and_gone(
    catalog: Catalog, chunks: tuple[bytes, ...], algorithm: str
) -> None:
    whole = b"".join(chunks)
    wrong: tuple[tuple[bytes, int, type[Exception]], ...] = (
        (b"other", len(whole), DigestInvalid),
        (whole, len(whole) + 1, SizeInvalid),
    )
    for data, size, error in wrong:
        digest, session_id = Digest.of(data, algorithm), send(catalog, *chunks)
        with catalog.uploads.resume("team/app", session_id) as session, pytest.raises(error, match="expected"):
            session.finish(digest, size)
        assert catalog.content.size(digest) is None
        with pytest.raises(StorageCorrupt):
            catalog.uploads._store.open(digest, len(whole))
        with pytest.raises(UploadUnknown):
            catalog.uploads.resume("team/app", session_id)
        assert piece_names(catalog) == []
        assert list(catalog.uploads._store.staging.iterdir()) == []


def test_a_state_of_another_release_is_not_gone_on_from(catalog: Catalog) -> None:
    data = random_blob(6000)
    for wrong in (True, False):
        session_id = send(catalog, data[:2000], data[2000:4000])
        catalog._blob_index.database.change("UPDATE upload_sessions SET hash_format = 'rehashes 0.0.1'")
        with catalog.uploads.resume("team/app", session_id) as session:
            session.write(data[4000:])
            session.keep()
        if wrong:
            with catalog.uploads.resume("team/app", session_id) as session, pytest.raises(DigestInvalid):
                session.finish(Digest.of(data[:-1]))
            assert piece_names(catalog) == []
        else:
            close(catalog, session_id, data)


def test_a_piece_that_is_lost_or_short_is_no_blob(catalog: Catalog, home: Path) -> None:
    for chunks in ((b"one",), (b"one", b"two")):
        session_id = send(catalog, *chunks)
        shared(catalog).pieces.remove([piece_names(catalog)[0]])
        digest = Digest.of(b"".join(chunks))
        with (
            catalog.uploads.resume("team/app", session_id) as session,
            pytest.raises(StorageCorrupt, match=r"piece|whole"),
        ):
            session.finish(digest)
        assert catalog.content.size(digest) is None
        with catalog.uploads.resume("team/app", session_id) as session:
            session.cancel()
    session_id = send(catalog, b"three")
    for path in (home / "blobs" / "uploads").glob("*"):
        path.write_bytes(b"thr")
        with catalog.uploads.resume("team/app", session_id) as session, pytest.raises(StorageCorrupt, match="3 bytes"):
            session.finish(Digest.of(b"three"))
        assert catalog.content.size(Digest.of(b"three")) is None


# --- several requests at once ----------------------------------------------------------------------------------


def test_the_first_of_two_requests_to_end_wins(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    session_id = send(catalog, b"begin")
    first, second = (one.uploads.resume("team/app", session_id) for one in (catalog, open_again()))
    first.write(b" lost")
    second.write(b" kept!")
    second.keep()
    with pytest.raises(RangeInvalid, match="to 11") as refused:
        first.keep()
    assert refused.value.detail == {"offset": 11}
    assert first.offset == 11
    assert len(piece_names(catalog)) == 2
    close(catalog, session_id, b"begin kept!")


def test_a_request_finds_that_another_has_ended_the_session(
    catalog: Catalog, open_again: Callable[..., Catalog]
) -> None:
    ways: tuple[Callable[[OpenUpload], object], ...] = (
        lambda session: session.cancel(),
        lambda session: session.finish(Digest.of(b"begin")),
    )
    for ends in ways:
        session_id = send(catalog, b"begin")
        other = open_again().uploads.resume("team/app", session_id)
        other.write(b" more")
        with catalog.uploads.resume("team/app", session_id) as session:
            ends(session)
        with pytest.raises(UploadUnknown):
            other.keep()
        assert piece_names(catalog) == []


def test_what_two_requests_close_at_once_is_one_blob(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    data = b"one" * 1000
    session_id = send(catalog, data[:1000], data[1000:])
    first, second = (one.uploads.resume("team/app", session_id) for one in (catalog, open_again()))
    assert first.finish(Digest.of(data)) == len(data)
    with pytest.raises(UploadUnknown):
        second.finish(Digest.of(data))
    assert catalog.content.read(Digest.of(data)) == data


def test_a_request_that_has_ended_lets_go_of_its_own_hold_alone(catalog: Catalog) -> None:
    session = opened(catalog)
    session.keep()
    with catalog.uploads.resume("team/app", session.id):
        session.close()
        with pytest.raises(Exception, match="in use"):
            catalog.uploads.resume("team/app", session.id)


def test_a_row_that_is_written_twice_is_written_once(catalog: Catalog) -> None:
    """As where a connection breaks before PostgreSQL's answer comes."""
    session_id = catalog.uploads.open_session("team/app")
    rows = SessionRows(catalog._blob_index.database)
    piece = Piece("name", 0, 5)
    for _ in range(2):
        assert rows.advance(session_id, piece, None, "", 1.0)
    assert not rows.advance(session_id, Piece("other", 0, 5), None, "", 1.0)
    assert not rows.advance("0" * 32, piece, None, "", 1.0)
    found = rows.find(session_id, "team/app")
    assert found is not None
    assert found.size == 5
    assert rows.pieces(session_id, 5) == [piece]


# --- what is left ----------------------------------------------------------------------------------------------


def test_orphans_go_when_they_are_old_and_pieces_of_open_sessions_never(catalog: Catalog, tmp_path: Path) -> None:
    uploads, expiry = shared(catalog), catalog.settings.upload_expiry
    session_id = send(catalog, b"some bytes")
    orphan = tmp_path / "orphan"
    orphan.write_bytes(b"left by one that was killed")
    uploads.pieces.store(f"{'0' * 32}-0-{'a' * 12}", orphan)
    assert uploads.sweep(time.time() + expiry - 60) == 0
    assert len(piece_names(catalog)) == 2
    later = time.time() + expiry + 60
    uploads.rows.touch(session_id, later)
    assert uploads.sweep(later) == 0
    assert [name.partition("-")[0] for name in piece_names(catalog)] == [session_id]
    close(catalog, session_id, b"some bytes")


def test_a_long_request_keeps_its_session(home: Path) -> None:
    now = [1_000_000.0]
    new_home(home)
    with Catalog(read_settings(home=home), clock=lambda: now[0]) as catalog:
        expiry = catalog.settings.upload_expiry
        session = opened(catalog)
        for _ in range(20):
            session.write(b"x")
            assert shared(catalog).rows.expire(now[0] - expiry) == (0, [])
            now[0] += expiry / 5
        session.keep()
        close(catalog, session.id, b"x" * 20)


def test_pieces_are_no_files_of_the_store(catalog: Catalog) -> None:
    send(catalog, b"some bytes")
    assert catalog.maintenance.unknown_files(grace=-1000, remove=True).files == 0
    assert len(piece_names(catalog)) == 1


def test_open_bytes_are_counted_over_all_replicas(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    send(open_again(), b"12345")
    send(catalog, b"123")
    with opened(catalog) as session:
        session.write(b"1234567")
        assert catalog.uploads.bytes_open(lambda name: name == "team/app") == 15
        assert catalog.uploads.bytes_open(lambda name: name == "team/other") == 0
    assert (catalog.uploads.count("team/app"), catalog.uploads.count("team/other")) == (3, 0)


def test_one_piece_in_a_folder_becomes_the_blob_without_a_copy(postgres: str, tmp_path: Path) -> None:
    new_home(tmp_path / "entrepot")
    with Catalog(read_settings(home=tmp_path / "entrepot")) as catalog:
        session_id = send(catalog, b"some bytes")
        folder = tmp_path / "entrepot" / "blobs"
        (piece,) = (folder / "uploads").iterdir()
        number = piece.stat().st_ino
        close(catalog, session_id, b"some bytes")
        encoded = Digest.of(b"some bytes").encoded
        assert (folder / "sha256" / encoded[:2] / encoded).stat().st_ino == number


# --- S3 --------------------------------------------------------------------------------------------------------


@pytest.fixture
def requests(s3_catalog: Catalog) -> "Counter[str]":
    """Counts requests to S3 from now on."""
    counts: Counter[str] = Counter()
    store: Any = s3_catalog.uploads._store
    for client in (store.client, store.sender):
        client.meta.events.register("before-call.s3", lambda model, **_: counts.update([model.name]))
    return counts


def test_what_comes_in_one_request_costs_no_piece(s3_catalog: Catalog, requests: "Counter[str]") -> None:
    for session in (s3_catalog.uploads.begin("team/app"), opened(s3_catalog)):
        data = random_blob(1000)
        session.write(data)
        session.finish(Digest.of(data))
        assert requests == {"PutObject": 1, "HeadObject": 1}
        requests.clear()


def test_one_piece_is_sent_once_and_copied_by_s3(s3_catalog: Catalog, requests: "Counter[str]") -> None:
    data = random_blob(6 * MIB)
    session_id = send(s3_catalog, data)
    with s3_catalog.uploads.resume("team/app", session_id) as session:
        session.finish(Digest.of(data))
    assert requests == {"PutObject": 1, "CopyObject": 1, "HeadObject": 1, "DeleteObject": 1}


def test_large_pieces_are_joined_by_s3_in_parts(
    s3_catalog: Catalog, requests: "Counter[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_pieces, "_MOST", 11 * MIB)
    data = random_blob(22 * MIB)
    session_id = send(s3_catalog, data[: 5 * MIB], data[5 * MIB : 17 * MIB + 1], data[17 * MIB + 1 :])
    requests.clear()
    with s3_catalog.uploads.resume("team/app", session_id) as session:
        session.finish(Digest.of(data))
    assert requests == {
        "CreateMultipartUpload": 1, "UploadPartCopy": 4, "CompleteMultipartUpload": 1, "HeadObject": 1, "DeleteObject": 3,
    }  # fmt: skip
    assert s3_catalog.content.read(Digest.of(data)) == data


def test_a_server_that_does_not_copy_parts_gets_the_bytes(
    s3_catalog: Catalog, requests: "Counter[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": "NotImplemented"}}, "UploadPartCopy")

    monkeypatch.setattr(s3_catalog.uploads._store.sender, "upload_part_copy", refuse)  # type: ignore[attr-defined]
    data = random_blob(6 * MIB)
    session_id = send(s3_catalog, data[: 5 * MIB], data[5 * MIB :])
    close(s3_catalog, session_id, data)
    assert (requests["AbortMultipartUpload"], requests["GetObject"] >= 2) == (1, True)


def test_while_s3_is_down_nothing_is_acknowledged(s3_catalog: Catalog, s3: S3Server) -> None:
    session_id = send(s3_catalog, b"begin")
    s3.child.kill()
    with s3_catalog.uploads.resume("team/app", session_id) as session:
        session.write(b" more")
        with pytest.raises(StorageUnavailable):
            session.keep()
    s3.child.start()
    with s3_catalog.uploads.resume("team/app", session_id) as session:
        assert session.offset == 5
        session.cancel()
    assert os.listdir(s3_catalog.uploads._store.staging) == []  # noqa: PTH208

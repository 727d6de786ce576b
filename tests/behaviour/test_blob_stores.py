"""One suite over every BlobStore: a local folder, and a bucket of a real S3 server."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.blobs.local_store import BlobStore
from catalog.blobs.opening import open_store
from catalog.catalog import Catalog
from catalog.settings import read_settings
from oci.digest import Digest
from oci.errors import DigestInvalid, SettingsInvalid, StorageCorrupt, StorageUnavailable
from tests.homes import new_home
from tests.servers import S3Server

DATA = os.urandom(3_000_000)
DIGEST = Digest.of(DATA)


@pytest.fixture(params=["local", "s3"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The home of an installation whose blobs are in that kind of store."""
    if request.param == "s3":
        request.getfixturevalue("s3")
    return new_home(tmp_path / "entrepot")


@pytest.fixture
def store(home: Path) -> BlobStore:
    return open_store(read_settings(home=home))


@pytest.fixture
def catalog(home: Path) -> Iterator[Catalog]:
    with Catalog(read_settings(home=home)) as opened:
        yield opened


def put(store: BlobStore, data: bytes) -> Digest:
    staged = store.staging / "staged"
    staged.write_bytes(data)
    digest = Digest.of(data)
    store.send(staged, digest)
    store.adopt(staged, digest)
    assert not staged.exists()
    return digest


@pytest.mark.parametrize("data", [DATA, b"x", b""], ids=["large", "small", "empty"])
def test_what_goes_in_comes_out(store: BlobStore, data: bytes) -> None:
    for _ in range(2):  # again is no error
        digest = put(store, data)
        store.check_blob(digest, len(data))
    with store.open(digest, len(data)) as reader:
        assert reader.size == len(data)
        assert reader.read_at(0, len(data) + 10) == data
        assert reader.read_at(len(data), 10) == b""


def test_any_part_is_read_in_any_order(store: BlobStore) -> None:
    put(store, DATA)
    with store.open(DIGEST, len(DATA)) as reader:
        for offset, length in ((2_500_000, 10), (0, 5), (5, 100_000), (200_000, 3), (2_999_990, 100), (7, 1)):
            assert reader.read_at(offset, length) == DATA[offset : offset + length]
    reader.close()


def test_what_is_missing_or_of_another_size_is_told(store: BlobStore) -> None:
    for act in (store.open, store.check_blob):
        with pytest.raises(StorageCorrupt, match=DIGEST):
            act(DIGEST, len(DATA))
    put(store, DATA)
    for act in (store.open, store.check_blob):
        with pytest.raises(StorageCorrupt, match="2999999 bytes"):
            act(DIGEST, len(DATA) - 1)


def test_bytes_that_are_brought_anew_have_another_identity(store: BlobStore) -> None:
    assert store.identity(DIGEST) == ""
    put(store, DATA)
    first = store.identity(DIGEST)
    assert first
    assert store.identity(DIGEST) == first
    staged = store.staging / "staged"
    staged.write_bytes(DATA[:-1] + b"!")  # the index verifies, not the store
    store.send(staged, DIGEST)
    store.adopt(staged, DIGEST)
    assert store.identity(DIGEST) not in ("", first)


def test_what_is_deleted_is_gone_and_again_is_no_error(store: BlobStore) -> None:
    put(store, DATA)
    for _ in range(2):
        store.delete(DIGEST)
    with pytest.raises(StorageCorrupt):
        store.open(DIGEST, len(DATA))


def test_a_store_that_is_well_says_so(store: BlobStore) -> None:
    store.check()


def test_a_session_over_it_takes_right_bytes_and_no_others(catalog: Catalog) -> None:
    with catalog.uploads.begin("team/app") as session:
        session.write(DATA)
        with pytest.raises(DigestInvalid):
            session.finish(Digest.of(b"other"))
    assert catalog.content.size(DIGEST) is None
    with catalog.uploads.begin("team/app") as session:
        session.write(DATA)
        session.finish(DIGEST, len(DATA))
    assert catalog.content.read(DIGEST) == DATA


def test_a_lost_blob_is_mended_by_the_next_upload(catalog: Catalog, store: BlobStore) -> None:
    catalog.content.put(DATA, DIGEST, "team/app")
    store.delete(DIGEST)
    with catalog.uploads.begin("team/app") as session:
        session.write(DATA)
        session.finish(DIGEST)
    assert catalog.content.read(DIGEST) == DATA


def test_a_sweep_frees_bytes_and_one_between_send_and_record_loses_none(
    catalog: Catalog, store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.content.put(DATA, DIGEST, "team/app")
    assert catalog.maintenance.sweep(grace=-1).freed_bytes == len(DATA)
    with pytest.raises(StorageCorrupt):
        store.open(DIGEST, len(DATA))
    send = type(store).send
    swept: list[Digest] = []

    def swept_after(self: BlobStore, staged: Path, digest: Digest) -> None:
        send(self, staged, digest)
        if not swept:
            swept.append(digest)
            self.delete(digest)

    monkeypatch.setattr(type(store), "send", swept_after)
    with catalog.uploads.begin("team/app") as session:
        session.write(DATA)
        session.finish(DIGEST)
    assert swept == [DIGEST]
    assert catalog.content.read(DIGEST) == DATA


def test_a_bucket_that_is_not_there_and_a_server_that_is_down_are_told(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsInvalid, match="no bucket 'other'"):
        open_store(read_settings(home=tmp_path, storage="s3://other"))
    store = open_store(read_settings(home=tmp_path))
    digest = put(store, b"some bytes")
    s3.child.kill()
    acts: tuple[Callable[[], object], ...] = (store.check, lambda: store.open(digest, 10), lambda: store.delete(digest))
    for act in acts:
        with pytest.raises(StorageUnavailable, match="S3 bucket blobs cannot be used"):
            act()


def test_wrong_keys_are_told_and_not_shown(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    with pytest.raises(StorageUnavailable, match="S3 bucket blobs: 403") as caught:
        open_store(read_settings(home=tmp_path))
    assert "wrong-secret" not in str(caught.value)

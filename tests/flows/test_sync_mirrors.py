"""Mirrors of an upstream: asked first, left where they fail, and never believed without the digest."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.remotes.records import RemoteRecord
from catalog.settings import read_settings
from oci.digest import Digest
from oci.memory import MemoryStore
from oci.pack import pack_artifact
from tests.conftest import DockerRegistryFactory
from tests.mirror import mirror, upload
from tests.upstream import Reply, Upstream

NAME = "team/app"
LAYER = os.urandom(2_000_000)
DIGEST = Digest.of(LAYER)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def filled(layer: bytes = LAYER) -> MemoryStore:
    store = MemoryStore()
    artifact = pack_artifact(store, "application/x-large", [("application/octet-stream", layer)])
    store.put_tag("v1", artifact.digest)
    return store


@pytest.fixture
def origin() -> Iterator[Upstream]:
    with Upstream({NAME: filled()}) as running:
        yield running


@pytest.fixture
def copied() -> Iterator[Upstream]:
    with Upstream({f"copies/{NAME}": filled()}) as running:
        yield running


def record(tmp_path: Path, host: str, *mirrors: str) -> None:
    with open_catalog(read_settings(home=tmp_path / "entrepot")) as catalog:
        catalog.remotes.put(RemoteRecord(host, NOW, NOW, mirrors=mirrors), actor="test")


def is_held(tmp_path: Path) -> bool:
    with open_catalog(read_settings(home=tmp_path / "entrepot")) as catalog:
        return catalog.content.size(DIGEST) == len(LAYER)


def gets(upstream: Upstream) -> list[str]:
    """The ranges of the layer that were asked for."""
    return [
        seen.headers.get("range", "") for seen in upstream.seen if seen.method == "GET" and seen.reference == DIGEST
    ]


def test_content_comes_from_the_mirror_and_the_list_from_the_upstream(
    tmp_path: Path, origin: Upstream, copied: Upstream
) -> None:
    record(tmp_path, origin.host, f"{copied.host}/copies")
    assert mirror(tmp_path / "entrepot", f"{origin.host}/{NAME}").counts["added"] == 1
    assert (origin.counts["GET", "tags"], origin.counts["HEAD", "manifest"], origin.counts["GET", "blob"]) == (1, 0, 0)
    assert gets(copied) == [""]


def test_a_mirror_for_digests_is_not_asked_about_tags(tmp_path: Path, origin: Upstream, copied: Upstream) -> None:
    record(tmp_path, origin.host, f"{copied.host}/copies,digest-only")
    mirror(tmp_path / "entrepot", f"{origin.host}/{NAME}")
    assert (origin.counts["HEAD", "manifest"], copied.counts["HEAD", "manifest"]) == (1, 0)
    assert (gets(origin), gets(copied)) == ([], [""])


def test_a_blob_that_breaks_off_goes_on_at_the_next_place(tmp_path: Path, origin: Upstream, copied: Upstream) -> None:
    copied.cut(DIGEST, after=1_000_000, times=99)
    record(tmp_path, origin.host, f"{copied.host}/copies")
    mirror(tmp_path / "entrepot", f"{origin.host}/{NAME}")
    assert gets(copied) == [""]
    (rest,) = gets(origin)
    assert 0 < int(rest.removeprefix("bytes=").removesuffix("-")) <= 1_000_000
    assert is_held(tmp_path)


def test_wrong_bytes_of_a_mirror_are_fetched_again_elsewhere(
    tmp_path: Path, origin: Upstream, copied: Upstream
) -> None:
    copied.replace(DIGEST, LAYER[:-1] + bytes([LAYER[-1] ^ 1]))
    record(tmp_path, origin.host, f"{copied.host}/copies")
    mirror(tmp_path / "entrepot", f"{origin.host}/{NAME}")
    assert (gets(copied), gets(origin)) == ([""], [""])
    assert is_held(tmp_path)


@pytest.mark.parametrize("fault", [500, 404, 403, 429, "manifest", "gone"])
def test_a_mirror_that_is_of_no_use_costs_no_tag(
    tmp_path: Path, origin: Upstream, copied: Upstream, fault: int | str
) -> None:
    host = "127.0.0.1:1" if fault == "gone" else copied.host
    if isinstance(fault, int):
        copied.fail(fault)
    elif fault == "manifest":
        copied.faults.append(
            lambda seen, _: Reply(200, b"{}") if (seen.method, seen.route) == ("GET", "manifest") else None
        )
    record(tmp_path, origin.host, f"{host}/copies")
    assert mirror(tmp_path / "entrepot", f"{origin.host}/{NAME}").counts["added"] == 1
    assert gets(origin) in ([""], [])
    assert is_held(tmp_path)
    if fault == 500:
        assert len(copied.seen) <= 2


def test_while_the_upstream_is_down_named_tags_come_from_the_mirror(tmp_path: Path, copied: Upstream) -> None:
    with Upstream({}) as gone:
        host = gone.host
    record(tmp_path, host, f"{copied.host}/copies")
    assert mirror(tmp_path / "entrepot", f"http://{host}/{NAME}", include=["v1"], companions=()).counts["added"] == 1


def test_real_registries_one_of_which_is_the_mirror(tmp_path: Path, docker_registry: DockerRegistryFactory) -> None:
    origin, copy = docker_registry(), docker_registry()
    made = upload(origin, NAME, "v1", "one", "two")
    upload(copy, f"copies/{NAME}", "v1", "one", "two")
    record(tmp_path, origin.host, f"{copy.host}/copies", "127.0.0.1:1")
    result = mirror(tmp_path / "entrepot", f"{origin.host}/{NAME}")
    assert [item.digest for item in result.items] == [made.digest]

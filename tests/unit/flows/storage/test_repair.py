"""Damaged content comes again from the upstreams that were recorded for it: of a blend, of a cache, and of nobody else."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.blobs.scrub_records import Fault
from catalog.catalog import Catalog, open_catalog
from catalog.distributions.records import Distribution
from catalog.maintenance.scrub import Damage
from catalog.remotes.clients import Upstreams
from catalog.settings import Settings, read_settings
from catalog.versions.changes import AddManifest, SetTag
from catalog.versions.version_origins import VersionOrigin
from flows.storage.repair import SILENT_FOR, Repairer
from flows.storage.scrub_request import Attempt, Repair
from flows.sync.request import SyncRequest
from oci.digest import Digest
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import serve
from tests.homes import new_home
from tests.mirror import synced
from tests.unit.catalog.conftest import commit_to, stage_image
from tests.upstream import Upstream

NAME = "team/app"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Registry:
    """An upstream with one image, of a layer that only it has."""

    def __init__(self, tag: str) -> None:
        store = MemoryStore(NAME)
        self.tag, self.image = tag, pack_image(store, [{"file": f"layer of {tag}"}])
        store.put_tag(tag, self.image.digest)
        self.server = Upstream({NAME: store})
        self.server.__enter__()
        self.host, self.is_open = self.server.host, True
        self.remote = f"{self.host}/{NAME}"

    def close(self) -> None:
        if self.is_open:
            self.server.__exit__()
        self.is_open = False


@pytest.fixture
def first() -> Iterator[Registry]:
    registry = Registry("one")
    yield registry
    registry.close()


@pytest.fixture
def second() -> Iterator[Registry]:
    registry = Registry("two")
    yield registry
    registry.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(home=new_home(tmp_path / "entrepot"), upstream_attempts=1, internal_hosts="127.0.0.1")


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    with open_catalog(settings) as opened:
        yield opened


def sync(catalog: Catalog, remote: str, *also: str) -> None:
    request = SyncRequest.model_validate({"remote": remote, "also": also, "repository": NAME})
    asyncio.run(synced(catalog, request))


def parts_of(image: Manifest) -> set[Digest]:
    return {image.digest, *(part.digest for _, part in image.children())}


def set_aside(catalog: Catalog) -> list[Fault]:
    """Damage all that is held, and read it."""
    files = [path for path in (catalog.settings.root / "blobs" / "sha256").rglob("*") if path.is_file()]
    for path in files:
        path.write_bytes(b"?" * path.stat().st_size)
    due = catalog.maintenance.scrubber.records.next_due("", 2e10, 1000)
    faults = [
        catalog.maintenance.scrubber.set_aside(blob, Damage("its bytes are others", has_other_bytes=True), 1.0)
        for blob in due
    ]
    assert len(faults) == len(files)
    return [fault for fault in faults if fault is not None]


def repair(catalog: Catalog, *faults: Fault) -> dict[Digest, Repair]:
    async def run() -> dict[Digest, Repair]:
        async with Upstreams(catalog.settings, catalog.remotes) as upstreams:
            repairer = Repairer(catalog, upstreams)
            return {fault.digest: await repairer.repair(fault) for fault in faults}

    return asyncio.run(run())


def test_each_remote_of_a_blend_gives_what_it_has_and_the_one_that_is_gone_is_named(
    catalog: Catalog, first: Registry, second: Registry
) -> None:
    sync(catalog, first.remote, second.remote)
    faults = set_aside(catalog)
    assert {fault.digest for fault in faults} == parts_of(first.image) | parts_of(second.image)
    first.close()
    found = repair(catalog, *faults)
    for digest in parts_of(second.image):
        assert found[digest].remote == second.remote
        assert Digest.of(catalog.content.read(digest)) == digest
    lost = parts_of(first.image) - parts_of(second.image)
    for digest in lost:
        assert found[digest].remote == ""
        assert found[digest].failures[first.remote].startswith("did not answer")
        assert found[digest].failures[second.remote] == "does not have it"
    assert set(catalog.maintenance.absent()) == lost


def test_a_remote_that_comes_back_gives_what_was_lost(catalog: Catalog, first: Registry, second: Registry) -> None:
    sync(catalog, first.remote, second.remote)
    faults = set_aside(catalog)
    first.server.fail(503)
    repair(catalog, *faults)
    assert catalog.maintenance.absent() != []
    first.server.faults.clear()
    found = repair(catalog, *catalog.maintenance.scrubber.records.quarantined())
    assert {one.remote for one in found.values()} == {first.remote}
    assert catalog.maintenance.absent() == []


def test_a_cache_is_healed_from_its_upstream_with_all_that_it_brought(
    settings: Settings, first: Registry, second: Registry
) -> None:
    with serve(settings.root, upstream_attempts=1) as api:
        for path, registry in (("first", first), ("second", second)):
            cache = Distribution(path, "", NOW, NOW, remote=registry.host, fresh_seconds=3600)
            api.catalog.distributions.put(cache, actor="admin")
            for digest in (registry.tag, registry.image.digest):
                assert api.anybody.get(f"/v2/{path}/{NAME}/manifests/{digest}").status_code == 200
            for layer in registry.image.layers:
                assert api.anybody.get(f"/v2/{path}/{NAME}/blobs/{layer.digest}").status_code == 200
    with open_catalog(settings) as catalog:
        faults = set_aside(catalog)
        assert {fault.digest for fault in faults} == parts_of(first.image) | parts_of(second.image)
        second.close()
        catalog.distributions.delete("first", actor="admin")  # what it brought stays as a repository
        found = repair(catalog, *faults)
        assert {digest for digest, one in found.items() if one.remote == first.remote} == parts_of(first.image)
        for digest in parts_of(second.image) - parts_of(first.image):
            assert found[digest].failures[second.remote].startswith("did not answer")


def test_nobody_is_asked_but_whom_a_record_names(catalog: Catalog, first: Registry, second: Registry) -> None:
    image = stage_image(catalog, NAME, "pushed")
    changes = (AddManifest(image), SetTag("v1", image.digest))
    message = f"mirror sync of {second.remote}"
    origins = (VersionOrigin("remote", first.remote), VersionOrigin("repository", second.remote))
    commit_to(catalog, NAME, *changes, operation="sync", message=message, version_origins=origins)
    found = repair(catalog, *set_aside(catalog))
    assert {one.attempts for one in found.values()} == {(Attempt(first.remote, "does not have it"),)}
    assert second.server.seen == []


def test_the_login_is_sent_to_the_registry_it_is_for_alone(
    settings: Settings, first: Registry, second: Registry
) -> None:
    logins = {second.host: "robot:secret"}
    second.server.login = ("robot", "secret")
    with open_catalog(read_settings(home=settings.root, upstream_attempts=1, logins=logins)) as catalog:
        sync(catalog, first.remote, second.remote)
        faults = set_aside(catalog)
        first.server.forget()
        found = repair(catalog, *faults)
    assert all(one.remote for one in found.values())
    assert not any("authorization" in seen.headers for seen in first.server.seen)


def test_other_bytes_are_refused_and_the_next_remote_is_asked(
    catalog: Catalog, first: Registry, second: Registry
) -> None:
    second.server.repositories[NAME] = first.server.repositories[NAME]
    sync(catalog, first.remote, second.remote)
    (layer,) = first.image.layers
    faults = {fault.digest: fault for fault in set_aside(catalog)}
    first.server.replace(layer.digest, b"x" * layer.size)
    found = repair(catalog, faults[layer.digest])[layer.digest]
    assert found.failures.keys() == {first.remote}
    assert found.failures[first.remote].startswith("sent other bytes: ")
    assert found.remote == second.remote
    assert Digest.of(catalog.content.read(layer.digest)) == layer.digest


def test_a_registry_that_does_not_answer_is_not_asked_for_each_blob(catalog: Catalog, first: Registry) -> None:
    sync(catalog, first.remote)
    faults = set_aside(catalog)
    first.server.forget()
    first.server.fail(503)
    assert not any(one.remote for one in repair(catalog, *faults).values())
    assert len(first.server.seen) <= 2  # the API's base, and the blob
    first.server.faults.clear()
    first.server.fail(503, times=1)
    clock = [0.0]

    async def run() -> list[str]:
        async with Upstreams(catalog.settings, catalog.remotes) as upstreams:
            repairer, given = Repairer(catalog, upstreams, monotonic=lambda: clock[0]), []
            for clock[0] in (0.0, SILENT_FOR - 1, SILENT_FOR + 1):
                given.append((await repairer.repair(faults[0])).remote)
            return given

    assert asyncio.run(run()) == ["", "", first.remote]

"""Repositories out of folders: each a version, what is broken spoils no other, nothing is read twice, both ends compared."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from flows.migrate.comparison import Compared
from flows.migrate.folder_procedure import FolderJob, compare_folder
from flows.migrate.report import MigratedRepository, MigrationResult
from flows.sync_many.report import RepositoryOutcome
from oci.digest import Digest
from oci.folders.stock import BlobFolder
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from tests.flows.migrate.conftest import FromFolder
from tests.folders import data_path, registry_root, tag_link, write, write_layout, write_repository

AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")


def image_in(store: MemoryStore, tag: str, *texts: str) -> Manifest:
    made = pack_image(store, [{"file": text} for text in texts or (tag,)])
    store.put_tag(tag, made.digest)
    return made


def by_name(result: MigrationResult) -> dict[str, MigratedRepository]:
    return {one.planned.target or one.planned.name: one for one in result.repositories}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "registry"


def test_all_that_a_repository_has_comes_along(catalog: Catalog, from_folder: FromFolder, folder: Path) -> None:
    store = MemoryStore()
    amd, arm = image_in(store, "v1"), pack_image(store, [{"file": "arm"}], platform=ARM)
    index = pack_index(store, [(amd, AMD), (arm, ARM)])
    store.put_tag("multi", index.digest)
    untagged = pack_image(store, [{"file": "untagged"}])
    sbom = pack_artifact(store, "application/spdx+json", [("application/spdx+json", b"{}")], subject=arm)
    cosign = pack_artifact(store, "application/vnd.dev.cosign.artifact.sig.v1+json", [("text/plain", b"sig")])
    store.put_tag(f"sha256-{amd.digest.encoded}.sig", cosign.digest)
    write_repository(folder, "team/app", store)
    result = from_folder(folder, prefix="moved")
    assert result.is_equal
    (one,) = result.repositories
    assert (one.outcome, one.planned.tags, one.planned.untagged) == ("migrated", 3, 1)
    assert one.compared is not None
    assert (one.compared.count, one.compared.different) == (3 + len(store.manifests), 0)
    snapshot = catalog.snapshots.get("moved/team/app")
    assert snapshot.version == 1
    assert dict(snapshot.tags) == store.tagged
    assert snapshot.manifests.keys() == store.manifests.keys()
    assert untagged.digest in snapshot.manifests
    assert list(snapshot.referrers[arm.digest]) == [sbom.digest]
    (version,) = catalog.history.versions("moved/team/app")
    assert [str(origin) for origin in version.origins] == ["folder registry/team/app"]
    assert version.operation == "migrate"
    assert str(folder) not in version.message
    served = catalog.distributions.get("moved/team/app")
    assert not served.private


def test_untagged_manifests_may_stay_behind(catalog: Catalog, from_folder: FromFolder, folder: Path) -> None:
    store = MemoryStore()
    kept = image_in(store, "v1")
    pack_image(store, [{"file": "untagged"}])
    write_repository(folder, "app", store)
    assert from_folder(folder, untagged=False).is_equal
    assert catalog.snapshots.get("app").manifests.keys() == {kept.digest}


def test_a_plan_changes_nothing_and_tells_what_is_broken(
    catalog: Catalog, from_folder: FromFolder, folder: Path
) -> None:
    store = MemoryStore()
    broken = image_in(store, "broken", "layer")
    image_in(store, "whole")
    write_repository(folder, "app", store)
    write_repository(folder, "other/app", store)
    data_path(folder, broken.layers[0].digest).unlink()
    result = from_folder(folder, dry_run=True, exclude=["other/**"])
    (one,) = result.repositories
    assert (one.outcome, one.planned.tags, one.planned.fault_count) == ("to migrate", 1, 2)
    assert "is missing" in one.planned.faults["broken"]
    assert result.not_selected == ("other/app",)
    assert one.planned.bytes == one.planned.to_copy > 0
    assert catalog.snapshots.find("app") is None
    assert "1 repositories have broken parts" in result.summary()


def test_a_broken_repository_spoils_no_other(catalog: Catalog, from_folder: FromFolder, folder: Path) -> None:
    good, bad = MemoryStore(), MemoryStore()
    image_in(good, "v1", "good")
    broken = image_in(bad, "v1", "bad")
    whole = image_in(bad, "v2", "whole")
    index = pack_index(bad, [(whole, AMD), (broken, ARM)])
    bad.put_tag("multi", index.digest)
    write_repository(folder, "good", good)
    write_repository(folder, "bad", bad)
    data_path(folder, broken.layers[0].digest).write_bytes(b"other bytes")
    (registry_root(folder) / "repositories" / "link").symlink_to("good")
    result = from_folder(folder)
    assert {name: one.outcome for name, one in by_name(result).items()} == {
        "good": "migrated",
        "bad": "failed",
        "link": "failed",
    }
    assert result.failed.keys() == {"bad", "link"}
    assert not result.is_equal
    assert catalog.snapshots.find("bad") is None
    skipping = from_folder(folder, on_error="skip")
    assert (skipping.failed, skipping.is_equal) == ({}, True)
    one = by_name(skipping)["bad"]
    assert one.outcome == "migrated"
    assert {"v1", "multi"} <= one.skipped.keys()
    assert dict(catalog.snapshots.get("bad").tags) == {"v2": whole.digest}


def test_bytes_that_are_damaged_are_not_taken(catalog: Catalog, from_folder: FromFolder, folder: Path) -> None:
    store = MemoryStore()
    damaged = image_in(store, "v1", "text")
    write_repository(folder, "app", store)
    path = data_path(folder, damaged.layers[0].digest)
    path.write_bytes(bytes(len(path.read_bytes())))  # of the right size: only reading it tells
    result = from_folder(folder)
    assert "is not its descriptor's" in result.failed["app"]
    assert catalog.content.size(damaged.layers[0].digest) is None


def test_what_many_repositories_share_is_read_once_and_what_is_here_not_again(
    from_folder: FromFolder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[Digest] = Counter()
    genuine = BlobFolder.open

    def counted(store: BlobFolder, digest: Digest) -> object:
        read[digest] += 1
        return genuine(store, digest)

    monkeypatch.setattr(BlobFolder, "open", counted)
    layer = ""
    for number in range(5):
        store = MemoryStore()
        layer = image_in(store, "v1", "shared", str(number)).layers[0].digest
        write_repository(folder, f"app-{number}", store)
    assert from_folder(folder, private=True, at_once=1).is_equal
    assert read[Digest(layer)] == 1
    read.clear()
    assert from_folder(folder, prefix="again").is_equal
    assert not read


def test_a_second_run_finds_nothing_to_do_and_takes_what_has_changed(
    catalog: Catalog, from_folder: FromFolder, folder: Path
) -> None:
    store = MemoryStore()
    image_in(store, "v1")
    write_repository(folder, "app", store)
    assert [one.outcome for one in from_folder(folder).repositories] == ["migrated"]
    assert [one.outcome for one in from_folder(folder).repositories] == ["unchanged"]
    moved = image_in(store, "v1", "moved")
    write_repository(folder, "app", store)
    assert [(one.outcome, one.version) for one in from_folder(folder).repositories] == [("migrated", 2)]
    assert catalog.snapshots.get("app").tags["v1"] == moved.digest


def test_what_differs_in_the_end_is_named(from_folder: FromFolder, folder: Path) -> None:
    store = MemoryStore()
    first, second = image_in(store, "v1"), image_in(store, "v2")
    write_repository(folder, "app", store)

    async def moved(job: FolderJob, outcomes: Sequence[RepositoryOutcome]) -> Mapping[str, Compared]:
        write(tag_link(folder, "app", "v1"), second.digest)  # the source is not at rest
        return await compare_folder(job, outcomes)

    result = from_folder(folder, compare=moved)
    assert not result.is_equal
    assert f"v1 is {second.digest} at the source and {first.digest} here" in result.failed["app"]


def test_new_repositories_may_be_private(catalog: Catalog, from_folder: FromFolder, folder: Path) -> None:
    store = MemoryStore()
    image_in(store, "v1")
    write_repository(folder, "app", store)
    result = from_folder(folder, private=True)
    assert result.repositories[0].planned.private
    assert catalog.distributions.get("app").private
    assert result.is_equal


def test_empty_repositories_and_those_with_names_that_are_too_long_are_told(
    from_folder: FromFolder, folder: Path
) -> None:
    write_repository(folder, "empty", MemoryStore())
    store = MemoryStore()
    image_in(store, "v1")
    write_repository(folder, "long", store)
    result = from_folder(folder, prefix="p" * 250)
    assert {one.planned.name: one.outcome for one in result.repositories} == {"empty": "failed", "long": "migrated"}
    assert [one.outcome for one in from_folder(folder).repositories] == ["left out", "migrated"]


def test_a_hostile_folder_reads_nothing_outside(catalog: Catalog, from_folder: FromFolder, folder: Path) -> None:
    store = MemoryStore()
    victim = image_in(store, "v1", "secret layer")
    write_repository(folder, "app", store)
    outside = write(folder.parent / "outside", data_path(folder, victim.layers[0].digest).read_bytes())
    data_path(folder, victim.layers[0].digest).unlink()
    data_path(folder, victim.layers[0].digest).symlink_to(outside)
    write(tag_link(folder, "app", "dots"), "sha256:../../../../outside")
    result = from_folder(folder)
    assert "a link" in result.failed["app"]
    assert catalog.content.size(victim.layers[0].digest) is None


def test_layouts_move_in_too(catalog: Catalog, from_folder: FromFolder, tmp_path: Path) -> None:
    store = MemoryStore()
    image = image_in(store, "v1")
    index = pack_index(store, [(image, AMD)])
    store.put_tag("multi", index.digest)
    signature = pack_artifact(store, "application/vnd.test", [("text/plain", b"s")], subject=index)
    write_layout(tmp_path / "layouts" / "team" / "app", store, listed=(signature,))
    write_layout(tmp_path / "layouts" / "tool", store)
    result = from_folder(tmp_path / "layouts", "oci-layouts", include=["team/**"])
    assert result.is_equal
    assert result.not_selected == ("tool",)
    snapshot = catalog.snapshots.get("team/app")
    assert dict(snapshot.tags) == store.tagged
    assert signature.digest in snapshot.manifests

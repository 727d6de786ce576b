"""Bundles: what goes in comes out, and what is damaged is named before anything is touched."""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.bundles.format import DOCUMENT, BundleInvalid, Contents, blob_path, parse_contents, render_contents
from catalog.bundles.reader import read_contents, stage_bundle
from catalog.bundles.writer import Export, ExportedVersion, plan_export, write_bundle
from catalog.catalog import Catalog
from catalog.content.restore import plan_towards
from catalog.filters.conditions import Conditions
from catalog.filters.filter import Filter
from catalog.filters.platforms import PlatformFilter
from catalog.filters.tags import TagFilter
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest, RemoveTag, SetTag
from catalog.versions.snapshot import Snapshot
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import Conflict, InvalidInput, LocalError, NameUnknown, StorageCorrupt
from oci.layout import Layout
from oci.platform import Platform
from tests.homes import new_home
from tests.unit.catalog.conftest import commit_to, push_image, stage_image, stage_index

NOW = datetime(2026, 1, 2, tzinfo=UTC)
FORMS = ("bundle.tar", "bundle")


def export(catalog: Catalog, path: Path, *names: str, since: int = 0) -> Contents:
    contents = plan_export(catalog, [ExportedVersion(name, since=since) for name in names], now=NOW).contents
    write_bundle(catalog, contents, path, lambda _count: None)
    return contents


def take_in(catalog: Catalog, path: Path) -> None:
    contents = stage_bundle(catalog, path, lambda _count: None)
    for one in contents.versions:
        latest = catalog.snapshots.find(one.repository) or Snapshot(one.repository, 0)
        commit_to(catalog, one.repository, *plan_towards(latest, one.as_snapshot()), allow_sparse=True)


@pytest.fixture
def other(tmp_path: Path) -> Catalog:
    return Catalog(read_settings(home=new_home(tmp_path / "other")))


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    push_image(catalog, "team/app", "v1", "one", ("shared", "of one"))
    push_image(catalog, "team/app", "v2", "two", ("shared", "of two"))
    push_image(catalog, "tools/helper", "v1", "helper", ("shared",))
    return catalog


@pytest.mark.parametrize("form", FORMS)
def test_there_and_back(filled: Catalog, other: Catalog, tmp_path: Path, form: str) -> None:
    path = tmp_path / form
    contents = export(filled, path, "team/app", "tools/helper")
    assert read_contents(path) == contents
    take_in(other, path)
    for name in ("team/app", "tools/helper"):
        ours, theirs = filled.snapshots.get(name), other.snapshots.get(name)
        assert (theirs.tags, theirs.manifests, theirs.blobs) == (ours.tags, ours.manifests, ours.blobs)
    assert other.content.read(Digest.of(b"shared")) == b"shared"
    assert [found for found in tmp_path.iterdir() if found.name.endswith(".partial")] == []


def test_a_folder_is_an_image_layout(filled: Catalog, tmp_path: Path) -> None:
    export(filled, tmp_path / "bundle", "team/app")
    entries = Layout.open(tmp_path / "bundle").entries()
    names = {entry.annotations["org.opencontainers.image.ref.name"] for entry in entries}
    assert names == {"team/app:v1", "team/app:v2"}


def test_the_difference_of_two_versions(filled: Catalog, other: Catalog, tmp_path: Path) -> None:
    export(filled, tmp_path / "first.tar", "team/app")
    push_image(filled, "team/app", "v3", "three", ("shared", "of three"))
    commit_to(filled, "team/app", RemoveTag("v1"))
    contents = export(filled, tmp_path / "second.tar", "team/app", since=2)
    assert len(contents.blobs) == 3  # manifest, config, the one new layer
    with pytest.raises(BundleInvalid, match="builds on version 2 of team/app, which is not held here: 2 manifests"):
        take_in(other, tmp_path / "second.tar")
    assert other.snapshots.find("team/app") is None
    take_in(other, tmp_path / "first.tar")
    take_in(other, tmp_path / "second.tar")
    assert other.snapshots.get("team/app").tags == filled.snapshots.get("team/app").tags


def test_what_cannot_be_exported(filled: Catalog, tmp_path: Path, home: Path) -> None:
    with pytest.raises(NameUnknown):
        export(filled, tmp_path / "bundle.tar", "team/none")
    with pytest.raises(InvalidInput, match="named twice"):
        export(filled, tmp_path / "bundle.tar", "team/app", "team/app")
    with pytest.raises(LocalError, match="there is no folder"):
        export(filled, tmp_path / "none" / "bundle.tar", "team/app")
    (tmp_path / "there.tar").write_text("precious")
    with pytest.raises(Conflict, match="exists already"):
        export(filled, tmp_path / "there.tar", "team/app")
    assert (tmp_path / "there.tar").read_text() == "precious"
    (stored,) = (home / "blobs").rglob(Digest.of(b"of one").encoded)
    stored.chmod(0o600)
    stored.write_bytes(b"0f one")
    with pytest.raises(StorageCorrupt, match=Digest.of(b"of one")):
        export(filled, tmp_path / "bundle.tar", "team/app")
    assert not list(tmp_path.glob("*bundle*"))


# --- damage ----------------------------------------------------------------------------------------------------


def rewrite(path: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> Path:
    """A copy of a tar whose files went through `change`."""
    made = path.with_name("changed.tar")
    with tarfile.open(path) as old, tarfile.open(made, "w") as new:
        for entry in old:
            source = old.extractfile(entry)
            assert source is not None
            changed = change(entry.name, source.read())
            if changed is not None:
                info = tarfile.TarInfo(changed[0])
                info.size = len(changed[1])
                new.addfile(info, io.BytesIO(changed[1]))
    return made


def refused(catalog: Catalog, path: Path, match: str) -> None:
    """Importing is refused, and leaves no version."""
    with pytest.raises(BundleInvalid, match=match):
        take_in(catalog, path)
    assert catalog.snapshots.names() == ()


@pytest.fixture
def bundle(filled: Catalog, tmp_path: Path) -> Path:
    export(filled, tmp_path / "bundle.tar", "team/app")
    return tmp_path / "bundle.tar"


LAYER = blob_path(Digest.of(b"of one"))


def test_a_flipped_byte_is_named(bundle: Path, other: Catalog) -> None:
    refused(other, rewrite(bundle, lambda name, data: (name, b"oF one" if name == LAYER else data)), LAYER)
    take_in(other, bundle)


def test_a_flipped_byte_is_named_where_the_content_is_held_already(bundle: Path, other: Catalog) -> None:
    """Else the bundle would go on to another site as one that was verified here."""
    other.content.put(b"of one", Digest.of(b"of one"), "team/other")
    changed = rewrite(bundle, lambda name, data: (name, b"oF one" if name == LAYER else data))
    refused(other, changed, f"{LAYER} is damaged")
    take_in(other, bundle)
    with pytest.raises(BundleInvalid, match=LAYER):
        take_in(other, changed)
    assert other.content.read(Digest.of(b"of one")) == b"of one"


def test_every_flipped_bit_of_the_document_is_noticed(bundle: Path) -> None:
    raw = render_contents(read_contents(bundle))
    for position in range(0, len(raw), 7):
        damaged = bytearray(raw)
        damaged[position] ^= 1
        try:
            assert parse_contents(bytes(damaged), where="it") == read_contents(bundle)  # a blank, or alike
        except BundleInvalid:
            continue
        except UnicodeDecodeError:
            pytest.fail("an error that nobody expects")


@pytest.mark.parametrize("share", [0.1, 0.4, 0.6])
def test_a_truncated_tar(bundle: Path, other: Catalog, share: float) -> None:
    data = bundle.read_bytes()
    bundle.write_bytes(data[: int(len(data) * share)])
    refused(other, bundle, "truncated|does not begin|damaged")


def test_a_missing_blob(bundle: Path, other: Catalog) -> None:
    refused(
        other, rewrite(bundle, lambda name, data: None if name == LAYER else (name, data)), "is truncated: 1 of its 7"
    )


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "blobs/sha256/../../evil", "a\nb"])
def test_names_that_lead_out(bundle: Path, other: Catalog, name: str) -> None:
    refused(other, rewrite(bundle, lambda old, data: (name, data) if old == LAYER else (old, data)), "leads out of it")


def test_a_link_in_the_place_of_a_blob(bundle: Path, other: Catalog, tmp_path: Path) -> None:
    made = rewrite(bundle, lambda name, data: None if name == LAYER else (name, data))
    with tarfile.open(made, "a") as archive:
        link = tarfile.TarInfo(LAYER)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    refused(other, made, "which is no plain file")


def test_other_blobs_and_sizes(bundle: Path, other: Catalog) -> None:
    strange = blob_path(Digest.of(b"strange"))
    refused(
        other, rewrite(bundle, lambda name, data: (strange, data) if name == LAYER else (name, data)), "does not list"
    )
    refused(
        other, rewrite(bundle, lambda name, data: (name, data + b"!" if name == LAYER else data)), "6 are announced"
    )


def test_a_newer_format(bundle: Path, other: Catalog) -> None:
    def newer(name: str, data: bytes) -> tuple[str, bytes]:
        return name, json.dumps({**json.loads(data), "format": 2}).encode() if name == DOCUMENT else data

    refused(other, rewrite(bundle, newer), "has format 2; this release reads up to 1: upgrade")


def test_what_is_no_bundle(tmp_path: Path, other: Catalog) -> None:
    refused(other, tmp_path / "none.tar", "there is no bundle")
    (tmp_path / "text.tar").write_text("this is no tar")
    refused(other, tmp_path / "text.tar", "no tar")
    Layout.create(tmp_path / "layout")
    refused(other, tmp_path / "layout", "does not begin with entrepot.json")


def test_a_link_in_a_folder(filled: Catalog, other: Catalog, tmp_path: Path) -> None:
    export(filled, tmp_path / "bundle", "team/app")
    (tmp_path / "bundle" / LAYER).unlink()
    (tmp_path / "bundle" / LAYER).symlink_to("/etc/passwd")
    refused(other, tmp_path / "bundle", "which is no plain file")
    shutil.rmtree(tmp_path / "bundle")


def test_a_filter_exports_a_part_and_builds_on_the_same_part(filled: Catalog, other: Catalog, tmp_path: Path) -> None:
    push_image(filled, "team/app", "v3", "three", ("shared", "of three"), labels={"stage": "prod"})

    def wanted(version: int | None, since: int, *patterns: str) -> Export:
        chosen = Filter(TagFilter(patterns))
        return plan_export(filled, [ExportedVersion("team/app", version, since, chosen)], now=NOW)

    first = wanted(2, 0, "v1", "v3")
    assert first.dropped == {"team/app:v2": "matches no include"}
    write_bundle(filled, first.contents, tmp_path / "first.tar", lambda _count: None)
    take_in(other, tmp_path / "first.tar")
    assert set(other.snapshots.get("team/app").tags) == {"v1"}
    second = wanted(None, 2, "v1", "v3")
    assert Digest.of(b"of three") in second.contents.blobs
    assert not {Digest.of(b"shared"), Digest.of(b"of one"), Digest.of(b"of two")} & second.contents.blobs.keys()
    write_bundle(filled, second.contents, tmp_path / "second.tar", lambda _count: None)
    take_in(other, tmp_path / "second.tar")
    theirs, ours = other.snapshots.get("team/app"), filled.snapshots.get("team/app")
    assert theirs.tags == {tag: ours.tags[tag] for tag in ("v1", "v3")}
    assert other.content.read(Digest.of(b"of three")) == b"of three"


def test_of_a_part_that_builds_on_more_than_was_exported_nothing_is_left_out(filled: Catalog) -> None:
    part = plan_export(filled, [ExportedVersion("team/app", 2, 1, Filter(TagFilter(("v2",))))], now=NOW)
    assert {Digest.of(b"shared"), Digest.of(b"of two")} <= part.contents.blobs.keys()


def test_conditions_choose_what_is_exported_and_may_leave_a_repository_out(filled: Catalog) -> None:
    push_image(filled, "team/app", "v3", "three", labels={"stage": "prod"})
    chosen = Filter(conditions=Conditions(labels=("stage=prod",)))
    export = plan_export(
        filled, [ExportedVersion(name, filter=chosen) for name in ("team/app", "tools/helper")], now=NOW
    )
    assert [(one.repository, set(one.tags)) for one in export.contents.versions] == [("team/app", {"v3"})]
    assert export.dropped["tools/helper:v1"] == "does not fulfil label stage=prod"
    assert export.kept == {"team/app:v3": "every tag is included, label stage=prod"}


def test_chosen_platforms_leave_an_index_its_digest_and_can_be_imported(
    catalog: Catalog, other: Catalog, tmp_path: Path
) -> None:
    platforms = (Platform("linux", "amd64"), Platform("linux", "arm64"))
    images = [stage_image(catalog, "team/app", str(platform)) for platform in platforms]
    children = [
        Descriptor(image.media_type, image.digest, image.size, platform=platform)
        for image, platform in zip(images, platforms, strict=True)
    ]
    index = stage_index(catalog, "team/app", children)
    commit_to(catalog, "team/app", *map(AddManifest, (*images, index)), SetTag("v1", index.digest))
    wanted = ExportedVersion("team/app", platforms=PlatformFilter(platforms[:1]))
    write_bundle(catalog, plan_export(catalog, [wanted], now=NOW).contents, tmp_path / "part", lambda _count: None)
    take_in(other, tmp_path / "part")
    assert other.snapshots.get("team/app").tags == {"v1": index.digest}
    assert set(other.snapshots.get("team/app").manifests) == {index.digest, images[0].digest}


def test_a_folder_that_becomes_a_link_while_a_bundle_is_read_leads_nowhere(
    filled: Catalog, other: Catalog, tmp_path: Path
) -> None:
    """Whoever may write into the folder of a bundle gets nothing read that we may read, and they may not."""
    bundle, private = tmp_path / "bundle", tmp_path / "private"
    contents = export(filled, bundle, "team/app")
    shutil.copytree(bundle / "blobs" / "sha256", private)
    swapped: list[bool] = []

    def swap_first(_count: int) -> None:
        if not swapped:
            swapped.append(True)
            shutil.rmtree(bundle / "blobs" / "sha256")
            (bundle / "blobs" / "sha256").symlink_to(private)

    with pytest.raises(BundleInvalid, match="no plain file"):
        stage_bundle(other, bundle, swap_first)
    assert swapped
    assert len([digest for digest in contents.blobs if other.content.size(digest) is not None]) == 1


@pytest.mark.parametrize("what", ["link", "folder", "pipe"])
def test_a_folder_with_anything_but_files_is_refused(
    filled: Catalog, other: Catalog, tmp_path: Path, what: str
) -> None:
    bundle = tmp_path / "bundle"
    export(filled, bundle, "team/app")
    {
        "link": lambda: (bundle / "more").symlink_to(bundle / DOCUMENT),
        "folder": lambda: (bundle / "more").symlink_to(bundle / "blobs"),
        "pipe": lambda: os.mkfifo(bundle / "more"),
    }[what]()
    with pytest.raises(BundleInvalid, match="more, which is no plain file"):
        take_in(other, bundle)

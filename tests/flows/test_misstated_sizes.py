"""An index that misstates the size of a child: skipped by name, and taken as it is where a setting says so."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from flows.replicate.procedure import ReplicationFailed
from flows.sync.resolution import TagsFailed
from oci.digest import Digest
from oci.mediatypes import OCI_INDEX
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.flows.replicate_once import Lists, replicate
from tests.flows.test_sparse import push, sync
from tests.upstream import Upstream

NAME = "team/app"


def misstating() -> MemoryStore:
    """`v1`, an index that gives its image a byte too many, and `plain`, an image."""
    store = MemoryStore()
    image = pack_image(store, [{"file": "one"}])
    child = replace(image.descriptor, size=image.size + 1).to_json()
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}).encode()
    store.put_tag("v1", store.put_manifest(raw, OCI_INDEX).digest)
    store.put_tag("plain", pack_image(store, [{"file": "plain"}]).digest)
    return store


def test_it_is_skipped_by_name(tmp_path: Path) -> None:
    with Upstream({NAME: misstating()}) as upstream, open_catalog(read_settings(home=tmp_path)) as catalog:
        with pytest.raises(TagsFailed, match=r"v1: .*announced with.*ENTREPOT_MISSTATED_SIZES"):
            sync(catalog, upstream.host)
        skipped = sync(catalog, upstream.host, on_error="skip")
        assert (set(skipped.failed), skipped.counts["added"]) == ({"v1"}, 1)


def test_a_replication_skips_it_by_name(tmp_path: Path) -> None:
    with Upstream({NAME: misstating()}) as upstream, open_catalog(read_settings(home=tmp_path)) as catalog:
        upstream.faults.append(Lists(catalog=[NAME]))
        with pytest.raises(ReplicationFailed, match=r"v1: .*announced with"):
            replicate(catalog, upstream)
        skipped = replicate(catalog, upstream, on_error="skip")
        assert [one.action for one in skipped.replicas] == ["added"]
        assert any(note.startswith(f"{NAME}:v1 was skipped: ") for note in skipped.notes)
        assert set(catalog.snapshots.get(NAME).tags) == {"plain"}


@pytest.mark.parametrize("fields", [{}, {"types": ["index", "image"]}, {"policy": "on_demand"}])
def test_a_setting_takes_it_as_it_is(tmp_path: Path, fields: dict[str, object]) -> None:
    store = misstating()
    settings = read_settings(home=tmp_path, misstated_sizes=("team/*",))
    with Upstream({NAME: store}) as upstream, open_catalog(settings) as catalog:
        result = sync(catalog, upstream.host, **fields)
        assert (result.failed, result.counts["added"]) == ({}, 2)
        snapshot = catalog.snapshots.get(NAME)
        index = store.manifests[store.tagged["v1"]]
        child = index.manifests[0].digest
        assert catalog.manifests.raw(index.digest) == index.raw
        assert snapshot.manifests[child].size == store.manifests[child].size
        assert not sync(catalog, upstream.host, **fields).changed


def test_a_wrong_digest_is_never_taken(tmp_path: Path) -> None:
    store = misstating()
    child = store.manifests[store.tagged["v1"]].manifests[0].digest
    settings = read_settings(home=tmp_path, misstated_sizes=("**",))
    with Upstream({NAME: store}) as upstream, open_catalog(settings) as catalog:
        upstream.replace(child, store.manifests[Digest(child)].raw + b" ")
        with pytest.raises(TagsFailed, match="v1"):
            sync(catalog, upstream.host)


def test_replications_and_pushes_take_it_too(tmp_path: Path) -> None:
    settings = read_settings(home=tmp_path, misstated_sizes=("team/*",))
    with Upstream({NAME: misstating()}) as upstream, open_catalog(settings) as catalog:
        upstream.faults.append(Lists(catalog=[NAME]))
        assert [one.action for one in replicate(catalog, upstream).replicas] == ["added"]
        dry = push(catalog, upstream.host + "/copy", dry_run=True)
        assert (dry.failed, dry.counts) == ({}, {"added": 2})

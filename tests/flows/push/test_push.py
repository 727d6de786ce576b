"""Pushing to other registries: a real docker-registry behind a proxy that counts and breaks off, and a second Entrepôt."""

import json
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from catalog.catalog import Catalog
from catalog.distributions.records import Distribution
from catalog.settings import Settings
from catalog.signing.atomic import plan_atomic
from flows.push.report import PushFailed
from oci.errors import InvalidInput, NameUnknown
from oci.mediatypes import OCI_INDEX
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from oci.remote.referrers_tag import fallback_tag
from oci.signing.atomic import ATOMIC
from oci.signing.pgp_keys import load_pgp_signer
from tests.flows.push.conftest import NOW, Push, actions, add, digest_at, image, list_at, tags_at
from tests.mirror import mirror
from tests.proxy import Proxy
from tests.servers import DockerRegistry, EntrepotServer, get
from tests.unit.catalog.conftest import commit_to
from tests.upstream import Upstream

pytestmark = pytest.mark.slow


def test_paths_keep_their_names_below_a_prefix_and_what_did_not_change_costs_one_head_a_tag(
    push: Push, catalog: Catalog, proxy: Proxy
) -> None:
    made = {name: image(catalog, name, "v1", "shared", name) for name in ("all/app", "all/tool")}
    image(catalog, "all/app", "v2", "shared", "two")
    planned = push(target=f"{proxy.host}/planned", paths=["all/*"], dry_run=True)
    result = push(target=f"{proxy.host}/mirror", paths=["all/*"])
    assert actions(result) == dict.fromkeys(["all/app:v1", "all/app:v2", "all/tool:v1"], "added")
    assert (planned.moved_items, planned.moved_bytes, planned.mounted) == (
        result.moved_items,
        result.moved_bytes,
        result.mounted,
    )
    for name, manifest in made.items():
        assert digest_at(proxy.host, f"mirror/{name}", "v1") == manifest.digest
    # The layer that both share went once, and was mounted the second time.
    assert result.mounted == 1
    assert len(proxy.closed()) == len(set(proxy.closed()))
    proxy.seen.clear()
    again = push(target=f"{proxy.host}/mirror", paths=["all/*"])
    assert set(actions(again).values()) == {"unchanged"}
    assert proxy.counts == {("HEAD", "manifest"): 3, ("GET", "other"): 2}  # one question a repository what it speaks
    assert (again.moved_items, again.moved_bytes) == (0, 0)


def test_a_new_repository_mounts_what_an_earlier_run_has_pushed(push: Push, catalog: Catalog, proxy: Proxy) -> None:
    image(catalog, "grown/app", "v1", "shared by both", "one")
    push(target=proxy.host, paths=["grown/*"])
    image(catalog, "grown/tool", "v1", "shared by both", "another")
    result = push(target=proxy.host, paths=["grown/*"])
    assert result.mounted == 1


def test_referrers_are_listed_under_the_fallback_tag_beside_those_of_others(
    push: Push, catalog: Catalog, proxy: Proxy, registry: DockerRegistry
) -> None:
    store = MemoryStore()
    child = pack_image(store, [{"file": "child"}])
    index = pack_index(store, [(child, Platform("linux", "amd64"))])
    add(catalog, "signed/app", store, v1=index)
    push(source="signed/app", target=f"{proxy.host}/signed/app")

    foreign = MemoryStore()
    theirs = pack_artifact(foreign, "application/spdx+json", [("text/plain", b"theirs")], subject=child)
    add(catalog, "signed/theirs", foreign, keep=theirs)
    push(source="signed/theirs", target=f"{registry.host}/signed/app", companions=[])
    tag = fallback_tag(child.digest)
    assert tag not in tags_at(proxy.host, "signed/app")
    listing = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "annotations": {"kept": "yes"},
    }
    raw = json.dumps({**listing, "manifests": [theirs.descriptor.to_json()]}).encode()
    put_manifest(registry, "signed/app", tag, raw)

    ours = MemoryStore()
    signature = pack_artifact(
        ours,
        "application/vnd.dev.cosign.artifact.sig.v1+json",
        [("text/plain", b"s")],
        subject=child,
        annotations={"a": "b"},
    )
    of_signature = pack_artifact(ours, "application/vnd.test", [("text/plain", b"about it")], subject=signature)
    add(catalog, "signed/app", ours)
    result = push(source="signed/app", target=f"{proxy.host}/signed/app")
    assert actions(result) == {"signed/app:v1": "unchanged"}
    document = list_at(registry.host, "signed/app", child.digest)
    assert [one["digest"] for one in document["manifests"]] == [theirs.digest, signature.digest]
    assert document["annotations"] == {"kept": "yes"}
    entry = document["manifests"][1]
    assert (entry["artifactType"], entry["annotations"]) == (
        "application/vnd.dev.cosign.artifact.sig.v1+json",
        {"a": "b"},
    )
    assert digest_at(registry.host, "signed/app", of_signature.digest) == of_signature.digest
    assert fallback_tag(signature.digest) in tags_at(registry.host, "signed/app")

    proxy.seen.clear()
    push(source="signed/app", target=f"{proxy.host}/signed/app")
    assert proxy.counts["PUT", "manifest"] == 0
    narrowed = push(source="signed/app", target=f"{proxy.host}/signed/narrow", companions=[])
    assert actions(narrowed) == {"signed/app:v1": "added"}
    assert tags_at(proxy.host, "signed/narrow") == ["v1"]


def put_manifest(registry: DockerRegistry, name: str, reference: str, raw: bytes) -> None:
    media_type = json.loads(raw)["mediaType"]
    with httpx.Client(trust_env=False) as client:
        url = f"{registry.url}/v2/{name}/manifests/{reference}"
        client.put(url, content=raw, headers={"content-type": media_type}).raise_for_status()


def test_a_list_of_referrers_that_came_with_a_sync_does_not_replace_that_of_the_target(
    catalog: Catalog, push: Push, proxy: Proxy, registry: DockerRegistry
) -> None:
    store = MemoryStore()
    made = pack_image(store, [{"file": "with a list"}])
    ours = pack_artifact(store, "application/vnd.test", [("text/plain", b"ours")], subject=made)
    listing = {"schemaVersion": 2, "mediaType": OCI_INDEX}
    raw = json.dumps({**listing, "manifests": [ours.descriptor.to_json()]}).encode()
    add(
        catalog,
        "listed/app",
        store,
        v1=made,
        **{fallback_tag(made.digest): store.put_manifest(raw, OCI_INDEX)},
    )
    push(source="listed/app", target=f"{proxy.host}/listed/app", include=["v1"])
    tag = fallback_tag(made.digest)
    assert tags_at(proxy.host, "listed/app") == sorted([tag, "v1"])
    theirs = {**ours.descriptor.to_json(), "annotations": {"put": "by another"}}
    put_manifest(registry, "listed/app", tag, json.dumps({**listing, "manifests": [theirs]}).encode())
    result = push(source="listed/app", target=f"{proxy.host}/listed/app")
    assert actions(result) == {"listed/app:v1": "unchanged"}
    assert list_at(registry.host, "listed/app", made.digest)["manifests"] == [theirs]


def test_a_mirror_deletes_what_is_not_here_and_what_was_attached_there_stays(
    push: Push, catalog: Catalog, proxy: Proxy
) -> None:
    first, second = image(catalog, "exact/app", "v1"), image(catalog, "exact/app", "v2")
    signed = f"sha256-{first.digest.encoded}.sig"
    push(source="exact/app", target=f"{proxy.host}/exact/app")
    push(source="exact/app:v2", target=f"{proxy.host}/exact/app:old")
    push(source="exact/app:v2", target=f"{proxy.host}/exact/app:{signed}")
    push(source="exact/app:v1", target=f"{proxy.host}/exact/app:other-name")
    result = push(source="exact/app", target=f"{proxy.host}/exact/app", include=["v1"], mode="mirror", on_error="skip")
    # docker-registry deletes by digest only: `old`, `v2` and the signature are one manifest, which the signature needs.
    assert result.failed.keys() == {f"{proxy.host}/exact/app:{tag}" for tag in ("old", "v2", "other-name")}
    push(source="exact/app:v1", target=f"{proxy.host}/exact/app:{signed}")
    result = push(source="exact/app", target=f"{proxy.host}/exact/app", include=["v1"], mode="mirror", on_error="skip")
    assert tags_at(proxy.host, "exact/app") == sorted(["other-name", signed, "v1"])
    assert "deletes by digest only" in next(iter(result.failed.values()))
    assert digest_at(proxy.host, "exact/app", second.digest) is None
    proxy.refusals.append(("DELETE", "", 405))
    push(source="exact/app:v2", target=f"{proxy.host}/exact/app:v2")
    stays = push(source="exact/app", target=f"{proxy.host}/exact/app", include=["v1"], mode="mirror", on_error="skip")
    assert actions(stays)["exact/app:v2"] == "unchanged"
    assert "does not delete" in stays.notes[0]


def test_a_tag_that_the_target_does_not_let_go_is_told_and_the_others_move(
    push: Push, catalog: Catalog, proxy: Proxy
) -> None:
    image(catalog, "fixed/app", "v1")
    image(catalog, "fixed/app", "latest", "one")
    push(source="fixed/app", target=f"{proxy.host}/fixed/app")
    image(catalog, "fixed/app", "v1", "new")
    moved = image(catalog, "fixed/app", "latest", "two")
    for status in (400, 403, 409):
        proxy.refusals = [("PUT", "/manifests/v1", status)]
        with pytest.raises(PushFailed, match=r"(?s)1 tag .*the others were.*does not let the tag move") as caught:
            push(source="fixed/app", target=f"{proxy.host}/fixed/app")
        assert caught.value.failed.keys() == {"fixed/app:v1"}
    assert digest_at(proxy.host, "fixed/app", "latest") == moved.digest
    skipped = push(source="fixed/app", target=f"{proxy.host}/fixed/app", on_error="skip")
    assert actions(skipped) == {"fixed/app:latest": "unchanged", "fixed/app:v1": "failed"}


def test_content_that_fails_leaves_every_tag_as_it_was(push: Push, catalog: Catalog, proxy: Proxy) -> None:
    image(catalog, "both/app", "v1", "one")
    bad = image(catalog, "both/tool", "v1", "two")
    proxy.refusals = [("PUT", f"/manifests/{bad.digest}", 400)]
    with pytest.raises(PushFailed, match="no tag was set or deleted"):
        push(target=proxy.host, paths=["both/*"])
    assert tags_at(proxy.host, "both/app") == []
    result = push(target=proxy.host, paths=["both/*"], on_error="skip")
    assert actions(result) == {"both/app:v1": "added", "both/tool:v1": "failed"}
    assert tags_at(proxy.host, "both/app") == ["v1"]
    proxy.refusals, proxy.seen = [], []
    push(target=proxy.host, paths=["both/*"])
    assert proxy.closed() == []  # its blobs had arrived already


def test_a_path_that_the_login_may_not_push_to_fails_by_itself_where_failures_are_skipped(
    push: Push, catalog: Catalog, proxy: Proxy
) -> None:
    for name in ("rights/denied", "rights/granted"):
        image(catalog, name, "v1", name)
    proxy.refusals = [(method, "/rights/denied/", 403) for method in ("HEAD", "GET", "POST", "PUT")]
    with pytest.raises(PushFailed, match="answered 403"):
        push(target=proxy.host, paths=["rights/*"])
    result = push(target=proxy.host, paths=["rights/*"], on_error="skip")
    assert actions(result) == {"rights/denied:v1": "failed", "rights/granted:v1": "added"}
    with pytest.raises(PushFailed, match="no tag was set"):
        push(target=proxy.host, paths=["rights/denied"], on_error="skip")


def test_a_mirror_of_nothing_deletes_nothing(push: Push, catalog: Catalog, proxy: Proxy) -> None:
    image(catalog, "nothing/app", "v1")
    push(source="nothing/app", target=f"{proxy.host}/nothing/app")
    with pytest.raises(InvalidInput, match="no tag of nothing/app is selected"):
        push(source="nothing/app", target=f"{proxy.host}/nothing/app", include=["w*"], mode="mirror")
    left = push(target=proxy.host, paths=["nothing/*"], include=["w*"], mode="mirror")
    assert "left alone" in left.notes[0]
    assert tags_at(proxy.host, "nothing/app") == ["v1"]


@pytest.mark.parametrize("policy", ["on_demand", "streamed"])
def test_layers_that_were_left_upstream_are_fetched_on_the_way(
    push: Push, catalog: Catalog, proxy: Proxy, settings: Settings, policy: str
) -> None:
    store = MemoryStore()
    made = pack_image(store, [{"file": f"left upstream, {policy}"}])
    store.put_tag("v1", made.digest)
    with Upstream({"team/app": store}) as upstream:
        mirror(settings.root, f"{upstream.host}/team/app", repository=f"far/{policy}", policy=policy)
        upstream.forget()
        result = push(source=f"far/{policy}", target=f"{proxy.host}/far/{policy}")
        assert actions(result) == {f"far/{policy}:v1": "added"}
        assert upstream.counts["GET", "blob"] == 1
    assert (catalog.content.size(made.layers[0].digest) is None) == (policy == "streamed")
    assert (
        get(f"http://{proxy.host}/v2/far/{policy}/blobs/{made.layers[0].digest}").content
        == store.blobs[made.layers[0].digest]
    )


def test_private_paths_are_left_out_and_labels_and_patterns_choose(push: Push, catalog: Catalog, proxy: Proxy) -> None:
    for name in ("some/app", "some/secret", "other/app"):
        image(catalog, name, "v1", name)
    catalog.distributions.put(Distribution("some/secret", "some/secret", NOW, NOW, private=True), actor="test")
    catalog.distributions.put(Distribution("some/app", "some/app", NOW, NOW, labels={"tier": "prod"}), actor="test")

    def paths(**fields: object) -> set[str]:
        chosen = {"paths": ["some/*", "other/*"], **fields}
        return {one.path for one in push(target=f"{proxy.host}/p", dry_run=True, **chosen).paths}

    assert paths() == {"some/app", "other/app"}
    assert paths(private=True) == {"some/app", "some/secret", "other/app"}
    assert paths(paths=["some/*"], private=True, exclude_paths=["*/secret"]) == {"some/app"}
    assert paths(path_labels=["tier=prod"]) == {"some/app"}
    with pytest.raises(InvalidInput, match="no path is selected"):
        paths(path_labels=["tier=dev"])
    named = push(source="some/secret", target=f"{proxy.host}/p/secret", dry_run=True)
    assert actions(named) == {"some/secret:v1": "added"}
    with pytest.raises(NameUnknown):
        push(source="some/nothing", target=f"{proxy.host}/p")
    assert not any(one.method not in ("GET", "HEAD") for one in proxy.seen)


def test_one_tag_or_digest_goes_under_the_name_that_the_target_gives(
    push: Push, catalog: Catalog, proxy: Proxy
) -> None:
    made = image(catalog, "one/app", "v1")
    image(catalog, "one/app", "v2")
    push(source="one/app:v1", target=f"{proxy.host}/one/app")
    push(source="one/app:v1", target=f"{proxy.host}/one/app:stable")
    assert tags_at(proxy.host, "one/app") == ["stable", "v1"]
    push(source=f"one/app@{made.digest}", target=f"{proxy.host}/one/untagged")
    assert digest_at(proxy.host, "one/untagged", made.digest) == made.digest
    chosen = push(source="one/app", target=f"{proxy.host}/one/newest", newest=1)
    assert actions(chosen) == {"one/app:v2": "added"}
    assert chosen.paths[0].dropped == {"v1": "not among the 1 newest"}


def test_another_entrepot_takes_it_all(push: Push, catalog: Catalog, second: EntrepotServer, gpg_home: Path) -> None:
    store = MemoryStore()
    made = pack_image(store, [{"file": "for another"}])
    sbom = pack_artifact(store, "application/spdx+json", [("text/plain", b"sbom")], subject=made)
    add(catalog, "to/app", store, v1=made, v2=made)
    image(catalog, "to/app", "v3")
    signer = load_pgp_signer((gpg_home / "secret.asc").read_bytes(), None, where="secret.asc")
    commit_to(
        catalog,
        "to/app",
        *plan_atomic(
            catalog,
            catalog.snapshots.get("to/app"),
            [made.digest],
            signer,
            identity="registry.example/app",
            timestamp=0,
        ),
        operation_id="sign",
    )
    with Proxy(second.url) as proxy:
        catalog.settings.logins[proxy.host] = SecretStr(second.creds)
        result = push(target=proxy.host, paths=["to/*"])
        assert set(actions(result).values()) == {"added"}
        found = get(f"{second.url}/v2/to/app/referrers/{made.digest}").json()["manifests"]
        assert {one["artifactType"] for one in found} == {sbom.artifact_type, ATOMIC}
        assert len(found) == 3  # `v1` and `v2` are signed each
        listed = get(f"{second.url}/extensions/v2/to/app/signatures/{made.digest}").json()["signatures"]
        assert len(listed) == 2
        assert len([one for one in proxy.seen if one.path.startswith("/extensions/") and one.method == "PUT"]) == 2
        assert tags_at(second.host, "to/app") == ["v1", "v2", "v3"]  # no fallback tag: the API lists it
        proxy.seen.clear()
        assert set(actions(push(target=proxy.host, paths=["to/*"])).values()) == {"unchanged"}
        assert {one.method for one in proxy.seen} == {"GET", "HEAD"}
        push(source="to/app", target=f"{proxy.host}/to/app", mode="mirror", include=["v1"])
        assert tags_at(second.host, "to/app") == ["v1"]


def test_a_path_that_serves_nothing_is_pushed_as_nothing(push: Push, catalog: Catalog, proxy: Proxy) -> None:
    """Such as the replica of a distribution that is empty upstream, whose repository was never made."""
    image(catalog, "beside/full", "v1")
    for path, version in (("beside/empty", 0), ("beside/latest", None)):
        catalog.distributions.put(
            Distribution(path, path, NOW, NOW, version, replica_of="registry.example"), actor="test"
        )
    result = push(target=f"{proxy.host}", paths=["beside/*"])
    assert actions(result) == {"beside/full:v1": "added"}
    assert len(result.notes) == 2
    assert actions(push(source="beside/empty", target=f"{proxy.host}/beside/empty")) == {}

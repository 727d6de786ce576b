"""Pushing to other registries: a real docker-registry behind a proxy that counts and breaks off, and a second Entrepôt."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from catalog.catalog import Catalog, open_catalog
from catalog.changes import AddManifest, SetTag
from catalog.distributions import Distribution
from catalog.settings import Settings, read_settings
from catalog.sign_atomic import plan_atomic
from catalog.signatures import stage
from catalog.upstreams import Upstreams
from flows.push_job import PushJob
from flows.push_report import PushFailed, PushResult
from flows.push_request import PushRequest
from flows.push_run import run_push
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import DigestInvalid, InvalidInput, NameUnknown, RemoteUnauthorized, RemoteUnavailable
from oci.manifest import Manifest
from oci.mediatypes import ACCEPT, OCI_INDEX
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from oci.remote.fallback import fallback_tag
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport
from oci.signing.atomic import ATOMIC
from oci.signing.pgp import load_pgp_signer
from tests.conftest import EntrepotFactory
from tests.mirror import mirror
from tests.proxy import Proxy
from tests.servers import Children, DockerRegistry, EntrepotServer, get, start_docker_registry
from tests.unit.catalog.conftest import commit_to
from tests.upstream import Upstream

pytestmark = pytest.mark.slow
NOW = datetime(2026, 1, 2, tzinfo=UTC)
LARGE = bytes(range(256)) * 40_000  # 10 MB, which compression would shrink

Push = Callable[..., PushResult]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return read_settings(home=tmp_path_factory.mktemp("home") / "entrepot", upstream_attempts=2)


@pytest.fixture(scope="module")
def catalog(settings: Settings) -> Iterator[Catalog]:
    """One for all tests, each of which has repositories of its own."""
    with open_catalog(settings) as opened:
        yield opened


def run(catalog: Catalog, **fields: object) -> PushResult:
    """Push without Prefect."""

    async def whole() -> PushResult:
        async with Upstreams(catalog.settings, catalog.remotes) as upstreams:
            return await run_push(PushJob(PushRequest.model_validate(fields), catalog, upstreams))

    return asyncio.run(whole())


@pytest.fixture
def push(catalog: Catalog) -> Push:
    return lambda **fields: run(catalog, **fields)


@pytest.fixture(scope="module")
def registry(module_children: Children) -> DockerRegistry:
    """Tests push to repositories of their own in it."""
    return start_docker_registry(module_children)


@pytest.fixture(scope="module")
def second(module_entrepot_server: EntrepotFactory) -> EntrepotServer:
    return module_entrepot_server()


@pytest.fixture
def proxy(registry: DockerRegistry) -> Iterator[Proxy]:
    with Proxy(registry.url) as served:
        yield served


def add(catalog: Catalog, name: str, store: MemoryStore, **tags: Manifest) -> None:
    """A version with all that a store holds, and these tags."""
    stage(catalog, name, store)
    changes = [AddManifest(manifest.descriptor) for manifest in store.manifests.values()]
    commit_to(
        catalog,
        name,
        *changes,
        *(SetTag(tag, manifest.digest) for tag, manifest in tags.items()),
        operation_id=f"{name} {sorted(tags)}",
    )


def image(catalog: Catalog, name: str, tag: str, *texts: str) -> Manifest:
    store = MemoryStore()
    made = pack_image(store, [{f"file-{number}": text} for number, text in enumerate(texts or (tag,))])
    add(catalog, name, store, **{tag: made})
    return made


def digest_at(host: str, name: str, reference: str) -> str | None:
    """What a tag of a registry points to."""
    response = httpx.get(f"http://{host}/v2/{name}/manifests/{reference}", headers={"accept": ACCEPT}, trust_env=False)
    return None if response.status_code == 404 else str(Digest.of(response.content))


def list_at(host: str, name: str, subject: Digest) -> dict[str, Any]:
    """What stands under the fallback tag of a manifest."""
    url = f"http://{host}/v2/{name}/manifests/{fallback_tag(subject)}"
    return dict(httpx.get(url, headers={"accept": ACCEPT}, trust_env=False).json())


def tags_at(host: str, name: str) -> list[str]:
    return sorted(get(f"http://{host}/v2/{name}/tags/list").json().get("tags") or [])


def actions(result: PushResult) -> dict[str, str]:
    return {f"{one.path}:{item.tag}": item.action for one in result.paths for item in one.items}


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


def big(catalog: Catalog, name: str) -> tuple[Manifest, Digest]:
    """An artifact of one large blob under `v1`."""
    store = MemoryStore()
    made = pack_artifact(store, "application/vnd.test", [("application/octet-stream", LARGE)])
    add(catalog, name, store, v1=made)
    return made, made.layers[0].digest


def test_an_upload_that_breaks_off_is_taken_up_where_it_stood(
    push: Push, catalog: Catalog, second: EntrepotServer
) -> None:
    made, blob = big(catalog, "big/app")
    with Proxy(second.url) as proxy:
        catalog.settings.logins[proxy.host] = SecretStr(second.creds)
        proxy.cuts += [("PATCH", 3_000_000), ("PATCH", 2_500_000)]
        assert actions(push(source="big/app", target=f"{proxy.host}/big/app")) == {"big/app:v1": "added"}
        assert proxy.counts["PATCH", "upload"] == 3
        assert proxy.counts["GET", "upload"] == 2  # it was asked how far it had come
        assert proxy.uploaded() < len(LARGE) + 200_000
    assert digest_at(second.host, "big/app", "v1") == made.digest
    assert get(f"{second.url}/v2/big/app/blobs/{blob}").content == LARGE


def test_an_upload_whose_session_cannot_go_on_is_begun_anew(push: Push, catalog: Catalog, proxy: Proxy) -> None:
    """docker-registry refuses to go on after a break within a request."""
    _made, blob = big(catalog, "big/anew")
    proxy.cuts.append(("PATCH", 3_000_000))
    assert actions(push(source="big/anew", target=f"{proxy.host}/big/anew")) == {"big/anew:v1": "added"}
    assert proxy.counts["PATCH", "upload"] == 2
    assert get(f"http://{proxy.host}/v2/big/anew/blobs/{blob}").content == LARGE


def test_an_upload_that_never_goes_on_is_given_up(proxy: Proxy) -> None:
    descriptor = Descriptor("application/octet-stream", Digest.of(LARGE), len(LARGE))
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def read(start: int) -> AsyncIterator[bytes]:
        yield LARGE[start:]

    async def main() -> None:
        async with RemoteTransport(proxy.host, sleep=sleep, jitter=lambda: 1.0) as transport:
            await RemoteRepository(transport, "big/never").uploads.upload(descriptor, read)

    proxy.refusals.append(("PATCH", "", 503))
    with pytest.raises(RemoteUnavailable, match="answered 503"):
        asyncio.run(main())
    assert proxy.counts["PATCH", "upload"] == 6  # the first had bytes that no earlier one had
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_bytes_that_are_not_the_blob_s_are_refused_and_leave_no_session(proxy: Proxy) -> None:
    descriptor = Descriptor("application/octet-stream", Digest.of(LARGE), len(LARGE))

    async def read(_start: int) -> AsyncIterator[bytes]:
        yield LARGE[:-1] + b"?"

    async def main() -> None:
        async with RemoteTransport(proxy.host) as transport:
            await RemoteRepository(transport, "big/wrong").uploads.upload(descriptor, read)

    with pytest.raises(DigestInvalid, match="expected sha256"):
        asyncio.run(main())
    assert proxy.counts["DELETE", "upload"] == 1
    assert proxy.counts["PUT", "upload"] == 0


def test_an_answer_that_was_lost_is_not_sent_twice(push: Push, catalog: Catalog, proxy: Proxy) -> None:
    image(catalog, "lost/app", "v1")
    proxy.cuts.append(("PUT", 0))  # the first closing request breaks off before its body
    assert actions(push(source="lost/app", target=f"{proxy.host}/lost/app")) == {"lost/app:v1": "added"}
    assert len(proxy.closed()) == len(set(proxy.closed()))


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
    proxy.refusals = [("HEAD", "/rights/denied/", 403)]
    with pytest.raises(RemoteUnauthorized):
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


def test_killed_and_run_again_uploads_nothing_twice(
    push: Push, catalog: Catalog, proxy: Proxy, children: Children
) -> None:
    store = MemoryStore()
    tags = {f"v{number}": pack_image(store, [{"shared": "all"}, {"own": str(number)}]) for number in range(10)}
    add(catalog, "killed/app", store, **tags)
    target = f"{proxy.host}/killed/app"
    for after in (3, 11):
        command = [sys.executable, "-m", "tests.flows.push_once", str(catalog.settings.root), "killed/app", target]
        child = children.add("push", command)
        child.start()
        proxy.after_closed(after, child.signal, signal.SIGKILL)
        assert child.wait(120) == -signal.SIGKILL
    assert tags_at(proxy.host, "killed/app") == []
    push(source="killed/app", target=target)
    assert {tag: digest_at(proxy.host, "killed/app", tag) for tag in tags} == {
        tag: one.digest for tag, one in tags.items()
    }
    assert len(proxy.closed()) == len(set(proxy.closed())) == len(store.blobs)


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
            catalog, catalog.snapshot("to/app"), [made.digest], signer, identity="registry.example/app", timestamp=0
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

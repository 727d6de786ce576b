"""Naming a digest gives no right to it: attempts to read what a private repository holds, by every way in."""

import asyncio
import base64
import contextlib
import json
import os
import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from catalog.access.administration import Administration
from catalog.access.policy import parse_grant
from catalog.access.store import AccessStore
from catalog.content.curation import curate
from catalog.content.restore import plan_towards
from catalog.filters.selector import Selector
from catalog.quotas.quotas import Quota
from flows.runs.operation import Operation, perform
from flows.sync.request import SyncRequest
from oci import mediatypes
from oci.digest import Digest
from oci.errors import EntrepotError
from oci.manifest import Manifest, parse_manifest
from oci.memory import MemoryStore
from oci.pack import pack_image
from oci.signing.atomic import ATOMIC
from tests.api.conftest import Api, codes, describe, random_blob
from tests.mirror import synced
from tests.security.conftest import EVIL, NOW, Vault, make_cache, make_private
from tests.servers import wait_until
from tests.upstream import Upstream

MALLORY = ("mallory", "correct horse")
PARTS = ("layer", "config", "manifest")


def part(vault: Vault, which: str) -> Digest:
    return dict(zip(PARTS, vault.digests, strict=True))[which]


def forge(store: MemoryStore, digest: Digest, size: int, *, tag: str = "v1", as_config: bool = False) -> Manifest:
    """Put a manifest that names a digest as its layer, or as its config."""
    own = b'{"architecture":"amd64","os":"linux","n":"%s"}' % os.urandom(4).hex().encode()
    store.blobs[Digest.of(own)] = own
    named = (digest, size) if as_config else (Digest.of(own), len(own))
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": describe(*named, mediatypes.OCI_CONFIG),
        "layers": [] if as_config else [describe(digest, size, mediatypes.OCI_LAYER_GZIP)],
    }
    manifest = parse_manifest(json.dumps(document).encode(), mediatypes.OCI_MANIFEST)
    store.manifests[manifest.digest] = manifest
    store.put_tag(tag, manifest.digest)
    return manifest


@pytest.fixture
def sparse(n: int) -> str:
    return f"sparse/app-{n}"


@pytest.fixture
def cache(n: int) -> str:
    return f"cache-{n}"


@pytest.fixture
def mirror(n: int) -> str:
    return f"mirror/app-{n}"


@pytest.fixture
def mallory(n: int) -> str:
    return f"mallory/app-{n}"


def add_mallory(api: Api) -> None:
    """Give an account the right to push below mallory/, and no other."""
    desk = Administration(
        AccessStore(api.catalog.settings, api.catalog.state), api.catalog.events, actor="test", now=lambda: NOW
    )
    if MALLORY[0] in desk.policy.accounts:
        return
    desk.add_account(MALLORY[0], password=MALLORY[1])
    desk.add_rule([f"user:{MALLORY[0]}"], parse_grant("pull,push:mallory/**"))


def sync(api: Api, remote: str, **fields: object) -> object:
    return asyncio.run(synced(api.catalog, SyncRequest.model_validate({"remote": remote, **fields})))


def is_kept_secret(api: Api, name: str, vault: Vault) -> bool:
    """Whether nobody gets the bytes of anything in the vault from a path."""
    for digest in vault.digests:
        answer = api.anybody.get(f"/v2/{name}/blobs/{digest}")
        if answer.status_code < 400 or api.anybody.get(f"/v2/{name}/manifests/{digest}").status_code < 400:
            return False
        if api.anybody.get(f"/v2/{name}/blobs/{digest}", headers={"Range": "bytes=0-3"}).status_code < 400:
            return False
    return True


@pytest.mark.parametrize("which", PARTS)
@pytest.mark.parametrize("as_config", [False, True])
def test_a_cached_manifest_that_names_a_private_digest(
    api: Api, vault: Vault, evil: Upstream, which: str, as_config: bool, cache: str
) -> None:
    digest = part(vault, which)
    forge(evil.repositories[EVIL], digest, vault.size(digest), as_config=as_config)
    make_cache(api.catalog, cache, evil.host)
    api.anybody.get(f"/v2/{cache}/{EVIL}/manifests/v1")
    assert is_kept_secret(api, f"{cache}/{EVIL}", vault)


@pytest.mark.parametrize("policy", ["immediate", "on_demand", "streamed"])
@pytest.mark.parametrize("as_config", [False, True])
def test_a_sync_of_a_manifest_that_names_a_private_digest(
    api: Api, vault: Vault, evil: Upstream, policy: str, as_config: bool, mirror: str
) -> None:
    for number, digest in enumerate(vault.digests):
        forge(evil.repositories[EVIL], digest, vault.size(digest), as_config=as_config, tag=f"v{number}")
        with contextlib.suppress(EntrepotError):  # upstream cannot give what it names
            sync(api, f"{evil.host}/{EVIL}", repository=mirror, policy=policy, include=[f"v{number}"])
    assert is_kept_secret(api, mirror, vault)


def test_a_sparse_push_that_names_a_private_digest(api: Api, vault: Vault, sparse: str) -> None:
    for digest in vault.digests:
        for as_config in (False, True):
            store = MemoryStore()
            manifest = forge(store, digest, vault.size(digest), as_config=as_config)
            for data in store.blobs.values():
                api.push_blob(sparse, data)
            assert api.put_manifest(sparse, f"t{as_config}", manifest.raw).status_code == 201
    assert is_kept_secret(api, sparse, vault)
    kept = api.catalog.snapshots.get(sparse).manifests
    assert not any(api.catalog.history.labels(sparse, list(kept)).values())


def test_what_a_sparse_push_lacked_is_usable_once_it_has_come_and_stays_so(api: Api, vault: Vault, sparse: str) -> None:
    store = MemoryStore()
    manifest = forge(store, vault.layer, vault.size(vault.layer))
    for data in store.blobs.values():
        api.push_blob(sparse, data)
    assert api.put_manifest(sparse, "v1", manifest.raw).status_code == 201
    path = f"/v2/{sparse}/blobs/{vault.layer}"
    assert api.anybody.get(path).status_code == 404
    data = vault.store.blobs[vault.layer]
    api.push_blob(sparse, data)
    assert api.anybody.get(path).content == data
    # The vault's own version is deleted, and all leases are old by then.
    api.catalog.deletion.delete_repository(vault.name, actor="admin", now=NOW)
    for _ in range(2):
        api.catalog.maintenance.sweep(grace=-1)
        assert api.anybody.get(path).content == data


def test_deleting_a_manifest_leases_nothing_that_the_repository_lacks(api: Api, vault: Vault, sparse: str) -> None:
    store = MemoryStore()
    manifest = forge(store, vault.layer, vault.size(vault.layer))
    for data in store.blobs.values():
        api.push_blob(sparse, data)
    assert api.put_manifest(sparse, "v1", manifest.raw).status_code == 201
    assert api.admin.delete(f"/v2/{sparse}/manifests/{manifest.digest}").status_code == 202
    assert is_kept_secret(api, sparse, vault)


def test_a_private_layer_is_not_fetched_with_our_login_for_another_cache(
    api: Api, evil: Upstream, monkeypatch: pytest.MonkeyPatch, cache: str, mirror: str
) -> None:
    secret = MemoryStore()
    image = pack_image(secret, [{"file": "private upstream"}])
    secret.put_tag("v1", image.digest)
    layer = image.layers[0]
    with Upstream({"secret/app": secret}) as upstream:
        upstream.login = ("us", "password")
        monkeypatch.setitem(api.catalog.settings.logins, upstream.host, SecretStr("us:password"))
        sync(api, f"{upstream.host}/secret/app", repository=mirror, policy="on_demand")
        make_private(api.catalog, mirror)
        upstream.forget()
        forge(evil.repositories[EVIL], layer.digest, layer.size)
        make_cache(api.catalog, cache, evil.host)
        assert api.anybody.get(f"/v2/{cache}/{EVIL}/manifests/v1").status_code == 200
        assert api.anybody.get(f"/v2/{cache}/{EVIL}/blobs/{layer.digest}").status_code >= 400
        assert not upstream.seen
        assert api.catalog.content.size(layer.digest) is None


@pytest.mark.parametrize("which", PARTS)
def test_no_answer_tells_the_size_of_what_others_hold(
    api: Api, vault: Vault, evil: Upstream, which: str, sparse: str, cache: str, mirror: str
) -> None:
    digest = part(vault, which)
    true, claimed = vault.size(digest), vault.size(digest) + 1
    forge(evil.repositories[EVIL], digest, claimed)
    make_cache(api.catalog, cache, evil.host)
    answer = api.anybody.get(f"/v2/{cache}/{EVIL}/manifests/v1")
    assert answer.status_code == 200
    head = api.anybody.head(f"/v2/{cache}/{EVIL}/blobs/{digest}")
    assert head.headers["content-length"] == str(claimed)
    store = MemoryStore()
    manifest = forge(store, digest, claimed)
    for data in store.blobs.values():
        api.push_blob(sparse, data)
    assert api.put_manifest(sparse, "v1", manifest.raw).status_code == 201
    with pytest.raises(EntrepotError) as raised:
        sync(api, f"{evil.host}/{EVIL}", repository=mirror)
    assert str(true) not in re.sub(
        r"sha256:[0-9a-f]{64}|:\d+/", "", str(raised.value)
    )  # digests and ports have digits too


def test_a_wrong_claim_does_not_poison_the_genuine_image(
    api: Api, vault: Vault, evil: Upstream, cache: str, mirror: str
) -> None:
    genuine = vault.store
    layer = vault.layer
    make_cache(api.catalog, cache, evil.host)
    forge(evil.repositories[EVIL], layer, vault.size(layer) + 1, tag="wrong")
    assert api.anybody.get(f"/v2/{cache}/{EVIL}/manifests/wrong").status_code == 200
    api.push(mirror, "v1", genuine, vault.image)  # elsewhere
    # And in the same repository, from the same upstream.
    store = evil.repositories[EVIL]
    store.blobs.update(genuine.blobs)
    store.manifests.update(genuine.manifests)
    store.put_tag("v1", vault.image.digest)
    assert api.anybody.get(f"/v2/{cache}/{EVIL}/manifests/v1").status_code == 200
    head = api.anybody.head(f"/v2/{cache}/{EVIL}/blobs/{layer}")
    assert head.headers["content-length"] == str(vault.size(layer))
    answer = api.anybody.get(f"/v2/{cache}/{EVIL}/blobs/{layer}")
    assert answer.content == genuine.blobs[layer]


def test_claims_are_bounded_and_count_for_nothing(api: Api, evil: Upstream, cache: str) -> None:
    make_cache(api.catalog, cache, evil.host)
    api.catalog.quotas.put(Quota(f"{cache}/**", max_bytes=1_000_000), actor="admin")
    before = api.catalog.maintenance.usage()
    forge(evil.repositories[EVIL], Digest.of(random_blob()), 999_000_000, tag="large")
    forge(evil.repositories[EVIL], Digest.of(random_blob()), 10**15, tag="huge")
    assert api.anybody.get(f"/v2/{cache}/{EVIL}/manifests/large").status_code == 200
    answer = api.anybody.get(f"/v2/{cache}/{EVIL}/manifests/huge")
    assert (answer.status_code, codes(answer)) == (400, ["MANIFEST_INVALID"])
    usage = api.catalog.maintenance.usage()
    assert usage.used - before.used < 10_000
    assert api.catalog.quotas.get(f"{cache}/**").used.bytes < 10_000
    store = evil.repositories[EVIL]
    image = pack_image(store, [{"file": "good"}])
    store.put_tag("good", image.digest)
    assert api.anybody.get(f"/v2/{cache}/{EVIL}/manifests/good").status_code == 200
    layer = image.layers[0].digest
    assert api.anybody.get(f"/v2/{cache}/{EVIL}/blobs/{layer}").content == store.blobs[layer]


def test_what_was_received_on_demand_counts_from_the_next_version_on(api: Api, evil: Upstream, cache: str) -> None:
    make_cache(api.catalog, cache, evil.host)
    store = evil.repositories[EVIL]
    image = pack_image(store, [{"file": os.urandom(50_000).hex()}])
    store.put_tag("one", image.digest)
    name, layer = f"{cache}/{EVIL}", image.layers[0]
    api.anybody.get(f"/v2/{name}/manifests/one")
    api.anybody.get(f"/v2/{name}/blobs/{layer.digest}")
    wait_until(lambda: api.catalog.content.size(layer.digest) is not None, 10, "it is kept")
    store.put_tag("two", pack_image(store, [{"file": "two"}]).digest)
    api.anybody.get(f"/v2/{name}/manifests/two")
    assert api.catalog.history.repository(name).size_bytes > layer.size
    assert next(one for one in api.catalog.maintenance.usage().repositories if one.name == name).bytes > layer.size


@pytest.mark.parametrize("which", PARTS)
def test_mounts_answer_alike_for_private_and_absent_blobs(
    api: Api, vault: Vault, which: str, sparse: str, cache: str
) -> None:
    digest, absent = part(vault, which), Digest.of(random_blob())
    make_cache(api.catalog, cache, "upstream.example")
    with api.client() as nobody:
        for one in (digest, absent):
            assert nobody.post(f"/v2/{sparse}/blobs/uploads/", params={"mount": one}).status_code == 401


def test_work_for_a_private_digest_is_that_for_an_absent_one(
    api: Api, vault: Vault, monkeypatch: pytest.MonkeyPatch, mallory: str
) -> None:
    """Counted: what the blob index and the lake are asked for a HEAD and for a mount without `from`, by one without rights."""
    add_mallory(api)
    asked: list[str] = []

    def count(owner: object, method: str, name: str) -> None:
        real = getattr(owner, method)

        def counted(*args: object, **more: object) -> object:
            asked.append(name)
            return real(*args, **more)

        monkeypatch.setattr(owner, method, counted)

    for method in ("rows", "change"):
        count(api.catalog._blob_index.database, method, method)
    count(api.catalog._lake, "read", "lake")
    with api.client(auth=MALLORY) as client:

        def work(digest: Digest) -> list[object]:
            asked.clear()
            head = client.head(f"/v2/{mallory}/blobs/{digest}")
            mounted = client.post(f"/v2/{mallory}/blobs/uploads/", params={"mount": digest})
            mounted_from = client.post(f"/v2/{mallory}/blobs/uploads/", params={"mount": digest, "from": vault.name})
            return [head.status_code, mounted.status_code, mounted_from.status_code, *asked]

        work(Digest.of(b"warm"))
        private, absent = work(vault.layer), work(Digest.of(random_blob()))
    assert private == absent
    assert private[:3] == [404, 202, 202]


def test_an_upload_of_what_others_hold_is_the_same_work(
    api: Api, vault: Vault, monkeypatch: pytest.MonkeyPatch, mallory: str
) -> None:
    placed: list[Digest] = []
    store = api.catalog.maintenance._store
    real = store.adopt

    def adopt(path: Path, digest: Digest) -> None:
        placed.append(digest)
        real(path, digest)

    monkeypatch.setattr(store, "adopt", adopt)
    data, new = vault.store.blobs[vault.layer], random_blob()
    assert [api.push_blob(mallory, one) for one in (data, new)] == placed


def test_a_mount_from_a_repository_that_only_names_the_blob(
    api: Api, vault: Vault, evil: Upstream, cache: str, mallory: str
) -> None:
    forge(evil.repositories[EVIL], vault.layer, vault.size(vault.layer))
    make_cache(api.catalog, cache, evil.host)
    name = f"{cache}/{EVIL}"
    assert api.anybody.get(f"/v2/{name}/manifests/v1").status_code == 200
    add_mallory(api)
    with api.client(auth=MALLORY) as client:
        for source in ({"from": name}, {}):
            answer = client.post(f"/v2/{mallory}/blobs/uploads/", params={"mount": vault.layer, **source})
            assert answer.status_code == 202
        assert client.get(f"/v2/{mallory}/blobs/{vault.layer}").status_code == 404


def test_copies_between_repositories_carry_no_right_that_the_source_lacks(
    api: Api, vault: Vault, evil: Upstream, cache: str, mirror: str
) -> None:
    forge(evil.repositories[EVIL], vault.layer, vault.size(vault.layer))
    make_cache(api.catalog, cache, evil.host)
    name = f"{cache}/{EVIL}"
    assert api.anybody.get(f"/v2/{name}/manifests/v1").status_code == 200
    chosen = curate(api.catalog, [Selector(name)], now=NOW).as_snapshot(mirror)
    operation = Operation(
        mirror, "curate", "", lambda latest: plan_towards(latest, chosen), allow_sparse=True, donors=(name,)
    )
    assert perform(api.catalog, operation, actor="test", run_id="one", now=NOW).changed
    assert is_kept_secret(api, mirror, vault)
    # What the source has received comes along, and can be fetched again.
    store = evil.repositories[EVIL]
    image = pack_image(store, [{"file": "good"}])
    store.put_tag("v1", image.digest)
    layer = image.layers[0].digest
    assert api.anybody.get(f"/v2/{name}/manifests/v1").status_code == 200
    assert api.anybody.get(f"/v2/{name}/blobs/{layer}").status_code == 200
    wait_until(lambda: api.catalog.content.size(layer) is not None, 10, "it is kept")
    chosen = curate(api.catalog, [Selector(name)], now=NOW).as_snapshot(mirror)
    assert perform(api.catalog, operation, actor="test", run_id="two", now=NOW).changed
    evil.forget()
    assert api.anybody.get(f"/v2/{mirror}/blobs/{layer}").content == store.blobs[layer]
    assert not evil.seen


def test_signatures_and_documents_read_no_blob_that_the_repository_lacks(api: Api, vault: Vault, sparse: str) -> None:
    """An artifact that names a private digest as its signature is answered without it."""
    image = pack_image(store := MemoryStore(), [{"file": "subject"}])
    api.push(sparse, "v1", store, image)
    config = b"{}"
    document = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "artifactType": ATOMIC,
        "config": describe(api.push_blob(sparse, config), len(config), mediatypes.OCI_EMPTY),
        "layers": [describe(vault.layer, vault.size(vault.layer), "application/octet-stream")],
        "subject": image.descriptor.to_json(),
    }
    raw = json.dumps(document).encode()
    assert api.put_manifest(sparse, Digest.of(raw), raw).status_code == 201
    answer = api.anybody.get(f"/extensions/v2/{sparse}/signatures/{image.digest}")
    assert base64.b64encode(vault.store.blobs[vault.layer][:30])[:-4] not in answer.content


def test_a_name_that_is_used_again_gives_nothing_of_what_was_there(api: Api, vault: Vault) -> None:
    api.catalog.deletion.delete_repository(vault.name, actor="admin", now=NOW)
    raw = random_blob()
    api.push_blob(vault.name, raw)
    with api.client() as nobody:
        assert nobody.get(f"/v2/{vault.name}/blobs/{vault.layer}").status_code in (401, 404)
    assert api.admin.get(f"/v2/{vault.name}/blobs/{vault.layer}").status_code == 404

"""Gates by trust policies as clients meet them: pulls and pushes of a real application, with signatures by keys in memory."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from catalog.catalog import open_catalog
from catalog.distributions.records import Distribution
from catalog.policy.document import make_policy
from catalog.policy.gate_rules import GatePoint, PolicyGateRule
from catalog.policy_gates.decisions import PolicyGates
from catalog.policy_gates.reports import ACTIONS, sum_up_refusals
from catalog.settings import read_settings
from oci.digest import Digest
from oci.kinds import COSIGN_LAYER, ENVELOPE_LAYER, signature_tag
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from oci.signing.cosign import pack_signature, sign_simple
from oci.signing.keys import KeySigner, load_signer
from registry_api.gates import policy_gate
from registry_api.pull_through import caches
from tests.api.conftest import Api, codes, serve
from tests.posing import posing_image
from tests.servers import wait_until
from tests.upstream import Upstream

NAME = "team/app"
HOST = "registry.example"
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def new_key() -> tuple[KeySigner, str]:
    """Return a signer and its public key in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return load_signer(private, None, where="here"), public.decode()


KEY, PUBLIC = new_key()


def document(paths: tuple[str, ...] = ("team/**",), **fields: Any) -> dict[str, Any]:
    """A policy that wants a signature by KEY; `vouches`: the name that a signature must vouch for."""
    signature = {"signers": ["release"], **({"name": fields.pop("vouches")} if "vouches" in fields else {})}
    rule = {
        "paths": list(paths),
        "signatures": [signature],
        **({"index": fields.pop("index")} if "index" in fields else {}),
    }
    return {"version": 1, "registry": HOST, "signers": {"release": {"keys": [PUBLIC]}}, "rules": [rule], **fields}


@dataclass
class Gated:
    """A registry with a policy, and content that is pushed into it."""

    api: Api
    store: MemoryStore = field(default_factory=MemoryStore)
    now: datetime = NOW

    def policy(self, name: str = "release", **fields: Any) -> None:
        made = make_policy(document(**fields), where="test")
        self.api.catalog.policies.set(name, made, actor="test", now=NOW)

    def gate(self, pattern: str = "team/**", policy: str = "release", *at: GatePoint, **fields: Any) -> None:
        rule = PolicyGateRule(pattern=pattern, policy=policy, at=at or ("pull",), set_by="test", set_at=NOW, **fields)
        self.api.catalog.policies.set_gate(rule)

    def image(self, text: str, **fields: Any) -> Manifest:
        return pack_image(self.store, [{"file": text}], **fields)

    def push(self, tag: str, manifest: Manifest, name: str = NAME) -> Manifest:
        self.api.push(name, tag, self.store, manifest)
        return manifest

    def sign(self, digest: Digest, name: str = NAME, *, tag: str = "", into: str = "") -> Manifest:
        reference = f"{HOST}/{name}" + (f":{tag}" if tag else "")
        signature = pack_signature(self.store, None, sign_simple(digest, reference, KEY))
        return self.push(signature_tag(digest), signature, into or name)

    def get(self, reference: str, name: str = NAME, method: str = "GET") -> httpx.Response:
        return self.api.anybody.request(method, f"/v2/{name}/manifests/{reference}")

    def codes(self, reference: str, name: str = NAME) -> set[int]:
        """What GET and HEAD answer."""
        return {self.get(reference, name, method).status_code for method in ("GET", "HEAD")}

    def blob(self, digest: Digest, name: str = NAME) -> int:
        return self.api.anybody.get(f"/v2/{name}/blobs/{digest}").status_code

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def gated(tmp_path: Path) -> Iterator[Gated]:
    made = Gated.__new__(Gated)
    made.store, made.now = MemoryStore(), NOW
    with serve(tmp_path / "entrepot", now=made) as api:
        made.api = api
        yield made


def test_who_may_push_reads_by_digest_what_is_still_to_be_signed(gated: Gated) -> None:
    gated.policy()
    gated.gate("team/**", "release", "pull", "push")
    image = gated.push("v1", gated.image("one"))
    admin = gated.api.admin
    for method in ("GET", "HEAD"):
        found = admin.request(method, f"/v2/{NAME}/manifests/{image.digest}")
        assert (found.status_code, "by the policy release" in found.headers["warning"]) == (200, True)
        assert admin.request(method, f"/v2/{NAME}/manifests/v1").status_code == 403
    assert admin.get(f"/v2/{NAME}/blobs/{image.layers[0].digest}").status_code == 403
    assert gated.codes(image.digest) == gated.codes("v1") == {403}


def test_a_refused_blob_is_not_headed_and_not_mounted_and_can_be_pushed_again(gated: Gated) -> None:
    gated.policy()
    image = gated.push("v1", gated.image("one"))
    blobs = [child.digest for _, child in image.children()]
    layer = image.layers[0].digest
    admin = gated.api.admin

    def mounted(blob: Digest, into: str, source: str = f"&from={NAME}") -> int:
        return admin.post(f"/v2/{into}/blobs/uploads/?mount={blob}{source}").status_code

    assert mounted(layer, "other/before") == mounted(layer, "other/anywhere", "") == 201
    gated.gate()
    assert {gated.api.anybody.head(f"/v2/{NAME}/blobs/{blob}").status_code for blob in blobs} == {403}
    assert {admin.head(f"/v2/{NAME}/blobs/{blob}").status_code for blob in blobs} == {404}
    assert {mounted(blob, "other/app") for blob in blobs} == {202}
    gated.api.catalog.distributions.put(Distribution("public/app", NAME, NOW, NOW), actor="test")
    assert {mounted(blob, "other/app", "&from=public/app") for blob in blobs} == {202}
    assert {mounted(blob, "other/app", "&from=history/1/team/app") for blob in blobs} == {202}
    assert mounted(layer, "other/app", "") == 202
    gated.push("v1", image, "free/app")
    assert mounted(layer, "other/app", "") == 201  # from there, where nothing keeps it back
    gated.push("v2", gated.image("one", annotations={"again": "yes"}))
    assert gated.codes("v2") == {403}
    gated.sign(image.digest)
    assert {mounted(blob, "other/signed") for blob in blobs} == {201}
    assert {gated.api.anybody.head(f"/v2/{NAME}/blobs/{blob}").status_code for blob in blobs} == {200}


def test_blobs_of_what_is_deleted_unsigned_are_neither_pulled_nor_mounted(gated: Gated) -> None:
    gated.policy()
    gated.gate()
    image = gated.push("v1", gated.image("one"))
    layer = image.layers[0].digest
    assert gated.api.admin.delete(f"/v2/{NAME}/manifests/{image.digest}").status_code == 202
    assert gated.blob(layer) == 403
    assert gated.api.admin.post(f"/v2/other/app/blobs/uploads/?mount={layer}&from={NAME}").status_code == 202
    fresh = gated.api.push_blob(NAME, b"not named yet")
    assert gated.blob(fresh) == 200
    assert gated.api.admin.post(f"/v2/other/app/blobs/uploads/?mount={fresh}&from={NAME}").status_code == 201


def test_what_is_not_signed_is_refused_by_tag_by_digest_and_its_blobs_until_it_is_signed(gated: Gated) -> None:
    image, shared = gated.push("v1", gated.image("one")), gated.push("open", gated.image("two"))
    assert gated.codes("v1") == {200}
    gated.policy()
    gated.gate()
    answer = gated.get("v1")
    assert answer.status_code == 403
    assert codes(answer) == ["DENIED"]
    assert "refused by the policy release" in answer.text
    assert answer.json()["errors"][0]["detail"]["outcome"] == "not-signed"
    assert gated.codes("v1") == gated.codes(image.digest) == {403}
    blobs = [child.digest for _, child in image.children()]
    assert {gated.blob(blob) for blob in blobs} == {403}
    signature = gated.sign(image.digest)
    assert gated.codes("v1") == gated.codes(image.digest) == {200}
    assert {gated.blob(blob) for blob in blobs} == {200}
    assert gated.codes(shared.digest) == {403}
    assert gated.codes(signature_tag(image.digest)) == gated.codes(signature.digest) == {200}
    assert {gated.blob(child.digest) for _, child in signature.children()} == {200}


def test_signatures_of_what_is_refused_can_be_pulled_and_an_image_that_poses_as_one_cannot(gated: Gated) -> None:
    gated.policy()
    gated.gate()
    image = gated.push("v1", gated.image("one"))
    posing = gated.push(signature_tag(image.digest), gated.image("bad"))
    referring = gated.push("x", gated.image("worse", subject=image))
    assert (
        gated.codes(signature_tag(image.digest)) == gated.codes(posing.digest) == gated.codes(referring.digest) == {403}
    )
    other, _ = new_key()
    signature = pack_signature(gated.store, None, sign_simple(image.digest, f"{HOST}/{NAME}", other))
    gated.push(signature_tag(image.digest), signature)
    assert gated.codes("v1") == {403}
    assert gated.codes(signature_tag(image.digest)) == {200}
    assert gated.codes(posing.digest) == {403}


def test_a_statement_that_names_a_refused_layer_opens_it_to_nobody(gated: Gated) -> None:
    gated.policy()
    gated.gate()
    image = gated.push("v1", gated.image("one"))
    layer = image.layers[0]
    posing = pack_artifact(
        gated.store, "application/spdx+json", [("application/spdx+json", gated.store.blobs[layer.digest])]
    )
    gated.push("statement", posing)
    assert gated.codes("statement") == {200}
    assert gated.blob(layer.digest) == 403
    assert gated.api.admin.post(f"/v2/other/app/blobs/uploads/?mount={layer.digest}&from={NAME}").status_code == 202
    empty = gated.push(
        "empty", pack_artifact(gated.store, "application/x-program", [("application/x-program", b"run")])
    )
    assert gated.codes("empty") == {403}
    assert empty.config is not None
    assert gated.blob(empty.config.digest) == 200  # statements have the empty config too
    gated.sign(image.digest)
    assert gated.blob(layer.digest) == 200


@pytest.mark.parametrize("kind", [COSIGN_LAYER, ENVELOPE_LAYER, "application/vnd.in-toto+json", "text/spdx"])
def test_an_image_whose_layers_have_the_types_of_statements_is_judged_as_an_image(gated: Gated, kind: str) -> None:
    gated.policy()
    gated.gate()
    posing = gated.push("v1", posing_image(gated.store, kind))
    index = gated.push("all", pack_index(gated.store, [(posing, Platform("linux", "amd64"))]))
    assert gated.codes("v1") == gated.codes(posing.digest) == gated.codes(index.digest) == {403}
    assert gated.blob(posing.layers[0].digest) == 403


def test_a_decision_follows_signatures_policies_and_tags(gated: Gated) -> None:
    gated.policy()
    gated.gate()
    image = gated.push("v1", gated.image("one"))
    gated.sign(image.digest)
    assert gated.codes("v1") == {200}
    gated.push("v1", gated.image("two"))
    assert gated.codes("v1") == {403}  # the tag has moved to what nobody has signed
    gated.push("v1", image)
    assert gated.codes("v1") == {200}
    assert gated.api.admin.delete(f"/v2/{NAME}/manifests/{signature_tag(image.digest)}").status_code == 202
    assert gated.codes("v1") == gated.codes(image.digest) == {403}
    gated.sign(image.digest)
    assert gated.codes("v1") == {200}
    denying = make_policy({"version": 1, "rules": [{"paths": ["team/app"], "action": "deny"}]}, where="test")
    with open_catalog(read_settings(home=gated.api.catalog.settings.root)) as other:  # as another process does
        other.policies.set("release", denying, actor="other", now=NOW)
    assert gated.codes("v1") == gated.codes(image.digest) == {403}


def test_a_signature_of_another_repository_is_none_where_the_policy_asks_for_the_name(gated: Gated) -> None:
    gated.policy(vouches="repository")
    gated.gate()
    image = gated.push("v1", gated.image("one"))
    gated.sign(image.digest, "team/other", into=NAME)
    assert gated.codes("v1") == {403}
    gated.sign(image.digest)
    assert gated.codes("v1") == gated.codes(image.digest) == {200}
    gated.policy(vouches="reference")
    assert gated.codes("v1") == {403}
    gated.sign(image.digest, tag="v1")
    gated.push("v2", image)
    assert gated.codes("v1") == {200}
    assert gated.codes(image.digest) == {200}  # as docker pulls, once it has resolved the tag
    assert gated.codes("v2") == {403}


def test_another_path_is_no_way_round(gated: Gated) -> None:
    gated.policy()
    gated.gate()
    image = gated.push("v1", gated.image("one"))
    gated.api.catalog.distributions.put(Distribution("public/app", NAME, NOW, NOW), actor="test")
    assert gated.codes("v1", "public/app") == {403}
    assert gated.blob(image.layers[0].digest, "public/app") == 403
    gated.sign(image.digest)
    assert gated.codes("v1", "public/app") == {200}
    gated.policy("wide", paths=("other/**",), default="allow")
    gated.gate("**", "wide")
    assert gated.codes("v1") == {200}


@pytest.mark.parametrize("index", ["each", "covers-children"])
def test_children_of_an_index_pass_with_it_where_the_policy_says_so(gated: Gated, index: str) -> None:
    gated.policy(index=index)
    gated.gate()
    child = gated.image("child")
    whole = gated.push("v1", pack_index(gated.store, [(child, Platform("linux", "amd64"))]))
    assert gated.codes("v1") == gated.codes(child.digest) == {403}
    gated.sign(whole.digest)
    passes = index == "covers-children"
    assert gated.codes("v1") == {200}
    assert gated.codes(child.digest) == ({200} if passes else {403})
    assert gated.blob(child.layers[0].digest) == (200 if passes else 403)


def test_a_warning_or_a_count_keeps_nobody_from_pulling(gated: Gated) -> None:
    gated.policy()
    image = gated.push("v1", gated.image("one"))
    gated.gate(mode="warn")
    answer = gated.get("v1")
    assert answer.status_code == 200
    assert f"{image.digest} is refused by the policy release" in answer.headers["warning"]
    assert gated.blob(image.layers[0].digest) == 200
    gated.gate(mode="dry-run")
    for _ in range(3):
        answer = gated.get("v1")
        assert answer.status_code == 200
        assert "warning" not in answer.headers
    gated.now += timedelta(hours=2)
    gated.get("v1")


def test_refusals_are_told_once_an_hour_with_their_number(tmp_path: Path) -> None:
    made = Gated.__new__(Gated)
    made.store, made.now = MemoryStore(), NOW
    home = tmp_path / "entrepot"
    with serve(home, now=made) as api:
        made.api = api
        made.policy()
        made.gate()
        image = made.push("v1", made.image("one"))
        assert (
            api.admin.head(f"/v2/{NAME}/blobs/{image.layers[0].digest}").status_code == 404
        )  # who pushes pulls nothing
        for _ in range(5):
            assert made.get("v1").status_code == 403
        made.gate(mode="dry-run")
    with open_catalog(read_settings(home=home)) as catalog:
        events = [event for event in catalog.events.latest(limit=100) if event.action in ACTIONS]
    refused = [event for event in events if event.action == "policy-refuse"]
    assert sorted(int(str(event.detail["requests"])) for event in refused) == [1, 4]
    assert {event.outcome for event in refused} == {"refused"}
    report = sum_up_refusals(events)
    assert [(one.path, one.digest, one.mode, one.requests) for one in report if one.mode == "refuse"] == [
        (NAME, image.digest, "refuse", 5)
    ]
    assert "no signature" in report[0].reason


def test_what_cannot_be_decided_in_time_is_refused_and_decided_meanwhile(
    gated: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated.policy()
    gated.gate()
    image = gated.push("v1", gated.image("one"))
    gated.sign(image.digest)
    go_on = threading.Event()
    judge = PolicyGates.judge

    def hang(*args: Any, **kwargs: Any) -> Any:
        assert go_on.wait(20)
        return judge(*args, **kwargs)

    monkeypatch.setattr(PolicyGates, "judge", hang)
    monkeypatch.setattr(policy_gate, "PATIENCE", 0.2)
    answer = gated.get("v1")
    assert answer.status_code == 403
    assert "could not be decided" in answer.text
    go_on.set()
    monkeypatch.undo()
    assert gated.codes("v1") == {200}


def test_decisions_of_pushes_count_among_those_that_wait(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    image = gated.push("v1", gated.image("one"))
    gated.policy()
    gated.gate("team/**", "release", "pull", "push", quarantine=False)
    go_on = threading.Event()
    judge = PolicyGates.judge

    def hang(*args: Any, **kwargs: Any) -> Any:
        assert go_on.wait(60)
        return judge(*args, **kwargs)

    monkeypatch.setattr(PolicyGates, "judge", hang)
    monkeypatch.setattr(policy_gate, "PATIENCE", 0.2)
    monkeypatch.setattr(policy_gate, "_MOST_WAITING", 1)
    answer = gated.api.put_manifest(NAME, "v2", image.raw)
    assert (answer.status_code, "could not be decided within" in answer.text) == (403, True)  # and is under way still
    for refused in (gated.get("v1"), gated.api.put_manifest(NAME, "v3", image.raw)):
        assert (refused.status_code, "too many decisions are waiting" in refused.text) == (403, True)
    go_on.set()
    monkeypatch.setattr(policy_gate, "PATIENCE", 20)
    gated.sign(image.digest)
    wait_until(lambda: gated.codes("v1") == {200}, 20, "decisions of pushes are not counted for ever")


def test_no_tag_of_a_push_that_sets_several_goes_beyond_what_is_signed(gated: Gated) -> None:
    gated.policy(vouches="reference")
    gated.gate("team/**", "release", "push", quarantine=False)
    image = gated.image("one")
    gated.push(image.digest, image)
    gated.sign(image.digest, tag="good")
    for tags, status in ((("good", "evil"), 403), (("evil", "good"), 403), (("good",), 201)):
        query = "&".join(f"tag={tag}" for tag in tags)
        assert gated.api.put_manifest(NAME, f"{image.digest}?{query}", image.raw).status_code == status
    assert gated.codes("good") == {200}
    assert gated.codes("evil") == {404}


def test_what_is_pushed_waits_in_quarantine_and_what_no_signature_mends_is_not_accepted(gated: Gated) -> None:
    gated.policy()
    gated.gate("team/**", "release", "push")
    image = gated.image("one")
    gated.push(image.digest, image)
    answer = gated.api.put_manifest(NAME, "v1", image.raw)
    assert answer.status_code == 201
    assert "is in quarantine" in answer.headers["warning"]
    assert gated.codes("v1") == {403}
    gated.sign(image.digest)
    assert gated.codes("v1") == {200}
    assert "warning" not in gated.api.put_manifest(NAME, "v1", image.raw).headers
    rules = [{"paths": ["team/app"], "action": "deny"}]
    denying = make_policy({"version": 1, "rules": rules, "default": "allow"}, where="test")
    gated.api.catalog.policies.set("no", denying, actor="test", now=NOW)
    gated.gate("team/**", "no", "push")
    answer = gated.api.put_manifest(NAME, "v2", image.raw)
    assert (answer.status_code, codes(answer)) == (403, ["DENIED"])


def test_without_a_quarantine_a_tag_is_set_to_what_is_signed_alone(gated: Gated) -> None:
    gated.policy()
    gated.gate("team/**", "release", "push", quarantine=False)
    image = gated.image("one")
    gated.push(image.digest, image)
    assert gated.api.put_manifest(NAME, "v1", image.raw).status_code == 403
    assert gated.codes(image.digest) == {200}  # pulls are not asked about
    gated.sign(image.digest)
    assert gated.api.put_manifest(NAME, "v1", image.raw).status_code == 201


def test_a_cache_fetches_the_signatures_that_its_gate_asks_for(gated: Gated) -> None:
    upstream_store = MemoryStore()
    good, bad = (pack_image(upstream_store, [{"file": text}]) for text in ("good", "bad"))
    upstream_store.put_tag("good", good.digest)
    upstream_store.put_tag("bad", bad.digest)
    signature = pack_signature(upstream_store, None, sign_simple(good.digest, f"{HOST}/{NAME}", KEY))
    upstream_store.put_tag(signature_tag(good.digest), signature.digest)
    with Upstream({NAME: upstream_store}) as upstream:
        cache = Distribution("cache", "", NOW, NOW, remote=upstream.host, fresh_seconds=3600)
        gated.api.catalog.distributions.put(cache, actor="test")
        gated.policy(paths=("cache/**",))
        gated.gate("cache/**")
        path = f"cache/{NAME}"
        assert gated.codes("bad", path) == gated.codes(bad.digest, path) == {403}
        assert gated.blob(bad.layers[0].digest, path) == 403
        assert gated.codes("good", path) == gated.codes(good.digest, path) == {200}
        assert gated.blob(good.layers[0].digest, path) == 200
        assert json.loads(gated.get(signature_tag(good.digest), path).text)["schemaVersion"] == 2
        before = len(upstream.seen)
        assert gated.codes("good", path) == {200}
        assert gated.codes("bad", path) == {403}
        assert len(upstream.seen) == before


def test_a_cache_asks_upstream_for_signatures_of_what_is_refused_once_in_a_while(gated: Gated) -> None:
    """The cache keeps nothing fresh, so that memory of tags and lists does not answer in its place."""
    upstream_store = MemoryStore()
    image = pack_image(upstream_store, [{"file": "one"}])
    upstream_store.put_tag("v1", image.digest)
    with Upstream({NAME: upstream_store}) as upstream:
        cache = Distribution("cache", "", NOW, NOW, remote=upstream.host, fresh_seconds=0)
        gated.api.catalog.distributions.put(cache, actor="test")
        gated.policy(paths=("cache/**",))
        gated.gate("cache/**")
        path = f"cache/{NAME}"
        assert gated.codes("v1", path) == {403}
        before = len(upstream.seen)
        assert gated.codes(image.digest, path) == {403}
        assert len(upstream.seen) == before
        gated.now += caches.EVIDENCE_ASKED - timedelta(seconds=1)
        assert gated.codes(image.digest, path) == {403}
        assert len(upstream.seen) == before
        signature = pack_signature(upstream_store, None, sign_simple(image.digest, f"{HOST}/{NAME}", KEY))
        upstream_store.put_tag(signature_tag(image.digest), signature.digest)
        gated.now += timedelta(seconds=1)
        assert gated.codes(image.digest, path) == {200}
        before = len(upstream.seen)
        assert gated.codes(image.digest, path) == {200}
        assert len(upstream.seen) == before

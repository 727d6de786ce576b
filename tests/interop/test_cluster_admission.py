"""Policies exported for clusters judge images by the programs of those: policy-controller's tester, and Kyverno's command."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from catalog.policy.document import make_policy
from catalog.policy.formats.exports import PolicyFormat, export_trust_policy
from catalog.policy.gate_rules import PolicyGateRule
from catalog.signing.plan import Document, plan_attestation, plan_signing
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import Api, serve
from tests.servers import Client
from tests.trust import Key
from tests.unit.catalog.conftest import commit_to

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SLSA = "https://slsa.dev/provenance/v1"
IMAGES = {
    "keys/app:signed": True,
    "keys/deep/app:signed": True,
    "keys/app:by-another-key": False,
    "keys/app:unsigned": False,
    "built/app:by-builder": True,
    "built/app:by-another-builder": False,
    "built/app:without-builder": False,
    "built/app:unsigned": False,
    "free/app:unsigned": True,
    "gone/app:signed": False,
}
"""Whether each may run, by the rule of its first part."""
BUILDERS: dict[str, dict[str, Any]] = {
    "by-builder": {"builder": {"id": "https://builder.example/1"}},
    "by-another-builder": {"builder": {"id": "https://builder.example/2"}},
    "without-builder": {},
}


def program(name: str) -> str:
    path = shutil.which(name)
    return path or pytest.skip(f"{name} is not here (`CLUSTER_TOOLS=1 make tools` builds it, in many minutes)")


def policy(registry: str, key: Key) -> dict[str, Any]:
    attested = {"type": "slsa", "signers": ["release"], "builders": ["https://builder.example/1"]}
    return {
        "version": 1,
        "registry": registry,
        "signers": {"release": key.entry},
        "rules": [
            {"paths": ["keys/**"], "signatures": [{"signers": ["release"]}]},
            {"paths": ["built/app"], "attestations": [attested]},
            {"paths": ["free/*"], "action": "allow"},
            {"paths": ["gone/**"], "action": "deny"},
        ],
    }


def fill(api: Api, key: Key) -> None:
    """Push all images, and sign or attest them in both forms: policy-controller reads tags, and Kyverno bundles."""
    other = Key()
    for number, image in enumerate(IMAGES):
        store, (name, _, tag) = MemoryStore(), image.partition(":")
        manifest = pack_image(store, [{"file": image}])
        api.push(name, tag, store, manifest)
        latest, changes = api.catalog.snapshots.get(name), []
        if tag in ("signed", "by-another-key"):
            signer = key.signer if tag == "signed" else other.signer
            changes = plan_signing(
                api.catalog, latest, [manifest.digest], signer, reference=name, created="", form="both"
            )
        elif tag in BUILDERS:
            predicate = {"buildDefinition": {"buildType": "x", "externalParameters": {}}, "runDetails": BUILDERS[tag]}
            document = Document(json.dumps(predicate).encode(), SLSA)
            changes = plan_attestation(
                api.catalog, latest, manifest.digest, document, key.signer, created="", form="both"
            )
        if changes:
            commit_to(api.catalog, name, *changes, operation_id=f"sign-{number}")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with serve(tmp_path / "entrepot") as running:
        yield running


@pytest.fixture
def exported(api: Api, tmp_path: Path) -> dict[PolicyFormat, str]:
    """The policy in both languages; our own gate decides as IMAGES say."""
    key = Key()
    fill(api, key)
    made = make_policy(policy(f"127.0.0.1:{api.port}", key), where="test")
    api.catalog.policies.set("release", made, actor="test", now=NOW)
    rule = PolicyGateRule(pattern="**", policy="release", at=("pull",), set_by="test", set_at=NOW)
    api.catalog.policies.set_gate(rule)
    answers = {image: api.anybody.get(f"/v2/{image.replace(':', '/manifests/')}").is_success for image in IMAGES}
    assert answers == IMAGES
    api.catalog.policies.unset_gate("**", "release")
    targets: tuple[PolicyFormat, ...] = ("policy-controller", "kyverno")
    files: dict[PolicyFormat, str] = {}
    for target in targets:
        file = tmp_path / f"{target}.yaml"
        file.write_text(export_trust_policy(made, "release", target).text)
        files[target] = str(file)
    return files


def test_policy_controller_admits_the_same_images_as_our_gate(api: Api, exported: dict[PolicyFormat, str]) -> None:
    tester = Client(program("policy-tester"), ("-policy", exported["policy-controller"], "-log-level", "error"), {})
    told = {image: tester("-image", f"127.0.0.1:{api.port}/{image}", check=False) for image in IMAGES}
    assert {image: done.returncode == 0 for image, done in told.items()} == IMAGES, {
        image: done.stdout + done.stderr for image, done in told.items()
    }


@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_kyverno_admits_the_same_images_as_our_gate(
    api: Api, exported: dict[PolicyFormat, str], tmp_path: Path, kind: str
) -> None:
    kyverno, file = Client(program("kyverno"), ("apply", exported["kyverno"]), {}), tmp_path / "pod.json"
    admitted, told = {}, {}
    for image in IMAGES:
        name, _, tag = image.partition(":")
        digest = api.catalog.snapshots.get(name).tags[tag]  # in a cluster, Kyverno sets it before it asks for it
        spec = {"containers": [], kind: [{"name": "app", "image": f"127.0.0.1:{api.port}/{image}@{digest}"}]}
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}))
        done = kyverno("--resource", str(file), "--registry", check=False)
        admitted[image], told[image] = done.returncode == 0, done.stdout + done.stderr
    assert admitted == IMAGES, told

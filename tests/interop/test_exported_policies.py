"""A policy that is exported as `policy.json`: podman, skopeo and their library pull and refuse the same images as our own gate.

skopeo 1.9 knows OpenPGP signatures alone (`signedBy`). `policy-pull` (scripts/policy-pull) is the library of today's skopeo and
podman, whose own modules a proxy may lack.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pysequoia
import pytest

from catalog.policy.document import TrustPolicy, make_policy
from catalog.policy.formats.exports import export_trust_policy
from catalog.policy.gate_rules import PolicyGateRule
from catalog.signing.atomic import plan_atomic
from catalog.signing.plan import plan_signing
from oci.digest import Digest
from oci.memory import MemoryStore
from oci.pack import pack_image
from oci.signing.pgp_keys import load_pgp_signer
from tests.api.conftest import Api, serve
from tests.conftest import DockerRegistryFactory
from tests.servers import Client, tool
from tests.trust import Key
from tests.unit.catalog.conftest import commit_to

NOW = datetime(2026, 11, 1, tzinfo=UTC)
IMAGES = {
    "pgp/app:signed": True,
    "pgp/app:by-another-key": False,
    "pgp/app:for-another-name": False,
    "pgp/app:unsigned": False,
    "keys/app:signed": True,
    "keys/app:by-another-key": False,
    "keys/app:for-another-name": False,
    "keys/app:unsigned": False,
    "open/app:unsigned": True,
    "shut/app:signed": False,
    "else/app:signed": False,
}
"""Whether each may be pulled: by the rule of its first part, or by the policy's default, which denies."""
OPENPGP = {image: allowed for image, allowed in IMAGES.items() if not image.startswith("keys/")}


@dataclass(frozen=True)
class Signed:
    """A registry of ours with all images, the host that they are signed for, and the policy about them."""

    api: Api
    host: str
    policy: TrustPolicy
    openpgp_alone: TrustPolicy

    @property
    def own(self) -> str:
        return f"127.0.0.1:{self.api.port}"


def fill(api: Api, host: str, gpg_home: Path) -> Signed:
    """Push all images and sign them; `host` is what the signatures name.

    A key of gpg's signs itself. Signatures by subkeys, such as pysequoia's keys make, are refused by skopeo 1.9 and podman 4.
    """
    ops = load_pgp_signer((gpg_home / "secret.asc").read_bytes(), None, where="here")
    public = (gpg_home / "public.asc").read_text()
    secret = pysequoia.Tsk.generate(user_id="Stranger <stranger@example.org>")
    stranger, key, other = load_pgp_signer(bytes(secret), None, where="here"), Key(), Key()
    digests: dict[str, Digest] = {}
    for image in IMAGES:
        store, (name, _, tag) = MemoryStore(), image.partition(":")
        manifest = pack_image(store, [{"file": image}])
        digests[image] = manifest.digest
        api.push(name, tag, store, manifest)
    for number, image in enumerate(one for one in IMAGES if "unsigned" not in one):
        name, _, tag = image.partition(":")
        identity = f"{host}/{'other' if tag == 'for-another-name' else name}"
        latest, wanted = api.catalog.snapshots.get(name), [digests[image]]
        if name.startswith("keys/"):
            signer = other.signer if tag == "by-another-key" else key.signer
            changes = plan_signing(api.catalog, latest, wanted, signer, reference=identity, created="", form="tags")
        else:
            by = stranger if tag == "by-another-key" else ops
            changes = plan_atomic(api.catalog, latest, wanted, by, identity=identity, timestamp=int(NOW.timestamp()))
        commit_to(api.catalog, name, *changes, operation_id=f"sign-{number}")

    def policy(*first: str) -> TrustPolicy:
        signers: dict[str, Any] = {"pgp": {"openpgp": public}, "keys": key.entry}
        rules: list[dict[str, Any]] = [
            *({"paths": [f"{one}/**"], "signatures": [{"signers": [one], "name": "repository"}]} for one in first),
            {"paths": ["open/**"], "action": "allow"},
            {"paths": ["shut/**"], "action": "deny"},
        ]
        document = {"version": 1, "registry": host, "signers": {one: signers[one] for one in first}, "rules": rules}
        return make_policy(document, where="test")

    return Signed(api, host, policy("pgp", "keys"), policy("pgp"))


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with serve(tmp_path / "entrepot") as running:
        yield running


@pytest.fixture(params=["extension", "lookaside"])
def signed(request: pytest.FixtureRequest, api: Api, skopeo: Client, gpg_home: Path) -> Signed:
    """OpenPGP signatures are read by our extension; or, for images in docker-registry, from our lookaside tree."""
    if request.param == "extension":
        return fill(api, f"127.0.0.1:{api.port}", gpg_home)
    docker_registry: DockerRegistryFactory = request.getfixturevalue("docker_registry")
    plain = docker_registry()
    made = fill(api, plain.host, gpg_home)
    for name in sorted({image.partition(":")[0] for image in IMAGES}):
        for tag in api.catalog.snapshots.get(name).sorted_tags:
            skopeo(
                "copy", "--src-tls-verify=false", "--dest-tls-verify=false",
                f"docker://{made.own}/{name}:{tag}", f"docker://{plain.host}/{name}:{tag}",
            )  # fmt: skip
    return made


@pytest.fixture
def registries(signed: Signed, tmp_path: Path) -> Path:
    """registries.d as docs/trust.md and docs/signing.md say."""
    folder = tmp_path / "registries.d"
    folder.mkdir()
    lookaside = f"    lookaside: http://{signed.own}/sigstore\n" if signed.host != signed.own else ""
    (folder / "entrepot.yaml").write_text(f"docker:\n  {signed.host}:\n    use-sigstore-attachments: true\n{lookaside}")
    return folder


def export(policy: TrustPolicy, folder: Path) -> str:
    file = folder / "policy.json"
    file.write_text(export_trust_policy(policy, "release", "policy.json").text)
    return str(file)


def test_skopeo_and_podman_pull_and_refuse_the_same_images_as_our_gate(
    signed: Signed, registries: Path, skopeo: Client, podman: Client, tmp_path: Path
) -> None:
    policy = export(signed.openpgp_alone, tmp_path)
    strict = Client(skopeo.binary, ("--policy", policy, "--registries.d", str(registries)), skopeo.env)
    settings = Path(podman.env["HOME"]) / ".config" / "containers" / "registries.d"
    settings.mkdir(exist_ok=True)
    (settings / "entrepot.yaml").write_bytes((registries / "entrepot.yaml").read_bytes())
    by_skopeo, by_podman = {}, {}
    for image in OPENPGP:
        copied = strict(
            "copy", "--src-tls-verify=false", f"docker://{signed.host}/{image}", f"dir:{tmp_path / 'by-skopeo'}", check=False
        )  # fmt: skip
        pulled = podman(
            "pull", "--tls-verify=false", "--signature-policy", policy, f"{signed.host}/{image}", check=False
        )
        by_skopeo[image], by_podman[image] = copied.returncode == 0, pulled.returncode == 0
    assert by_skopeo == OPENPGP
    assert by_podman == OPENPGP
    gate(signed, signed.openpgp_alone)
    assert pulls(signed, skopeo, OPENPGP, tmp_path) == OPENPGP


def test_the_library_of_todays_skopeo_pulls_and_refuses_the_same_images_as_our_gate(
    signed: Signed, registries: Path, skopeo: Client, tmp_path: Path
) -> None:
    """OpenPGP's and cosign's signatures by one policy."""
    program = Client(tool("policy-pull"), (export(signed.policy, tmp_path), str(registries)), skopeo.env)
    told = {image: program(f"{signed.host}/{image}", str(tmp_path / "by-library"), check=False) for image in IMAGES}
    assert {image: done.returncode == 0 for image, done in told.items()} == IMAGES, {
        image: done.stderr for image, done in told.items()
    }
    gate(signed, signed.policy)
    assert pulls(signed, skopeo, IMAGES, tmp_path) == IMAGES


def gate(signed: Signed, policy: TrustPolicy) -> None:
    signed.api.catalog.policies.set("release", policy, actor="test", now=NOW)
    rule = PolicyGateRule(pattern="**", policy="release", at=("pull",), set_by="test", set_at=NOW)
    signed.api.catalog.policies.set_gate(rule)


def pulls(signed: Signed, skopeo: Client, images: dict[str, bool], folder: Path) -> dict[str, bool]:
    """Whether each image is pulled from us by a client that asks for no signature itself."""
    source, target = f"docker://{signed.own}", f"dir:{folder / 'gated'}"
    return {
        image: skopeo("copy", "--src-tls-verify=false", f"{source}/{image}", target, check=False).returncode == 0
        for image in images
    }

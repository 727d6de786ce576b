"""Signing with an OpenPGP key by our flow: podman and skopeo, which demand signatures, take the result."""

import json
import subprocess
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from oci.memory import MemoryStore
from oci.pack import pack_image, pack_index
from oci.platform import Platform
from tests.cli.commands import Entrepot
from tests.conftest import DockerRegistryFactory, EntrepotFactory
from tests.mirror import mirror
from tests.servers import Client
from tests.upstream import Upstream

pytestmark = pytest.mark.slow
NAME = "team/app"


@pytest.fixture(autouse=True)
def filled(entrepot: Entrepot) -> None:
    """team/app with v1, which is latest too, and v2."""
    store = MemoryStore()
    for tag, text in (("v1", "one"), ("latest", "one"), ("v2", "two")):
        store.put_tag(tag, pack_image(store, [{"file": text}]).digest)
    with Upstream({NAME: store}) as upstream:
        mirror(entrepot.home, f"{upstream.host}/{NAME}")


def test_podman_takes_what_our_flow_has_signed_and_nothing_else(
    entrepot: Entrepot, entrepot_server: EntrepotFactory, skopeo: Client, podman: Client, gpg_home: Path, tmp_path: Path
) -> None:
    server = entrepot_server(entrepot.home)
    key, public = str(gpg_home / "secret.asc"), str(gpg_home / "public.asc")
    signing = ("sign", f"{NAME}:v1", "--key", key, "--identity", f"{server.host}/{NAME}")
    assert entrepot.json(*signing)["manifests"]["added"] == 2
    again = entrepot.json(*signing)
    assert (again["changed"], again["version"]) == (False, 2)

    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": public}]}))
    strict = Client(skopeo.binary, ("--policy", str(policy), *skopeo.options[2:]), skopeo.env)
    for tag, allowed in (("v1", True), ("latest", True), ("v2", False)):
        target = f"dir:{tmp_path / tag}"
        done = strict("copy", "--src-tls-verify=false", f"docker://{server.host}/{NAME}:{tag}", target, check=False)
        assert (done.returncode == 0) == allowed, done.stderr
        options = ("--tls-verify=false", "--signature-policy", str(policy))
        pulled = podman("pull", *options, f"{server.host}/{NAME}:{tag}", check=False)
        assert (pulled.returncode == 0) == allowed, pulled.stderr

    (verified,) = entrepot.json("verify", f"{NAME}:v1", "--key", public)
    assert verified["atomic"] == {"found": 2, "good": 2}
    assert verified["references"] == [f"{server.host}/{NAME}:{tag}" for tag in ("latest", "v1")]
    missing = entrepot("verify", f"{NAME}:v2", "--key", public)
    assert (missing.returncode, "1 of 1 manifests are not signed" in missing.stderr) == (1, True)


def test_the_lookaside_tree_has_the_signatures_of_an_image_that_lies_elsewhere(
    entrepot: Entrepot,
    entrepot_server: EntrepotFactory,
    docker_registry: DockerRegistryFactory,
    skopeo: Client,
    podman: Client,
    gpg_home: Path,
    tmp_path: Path,
) -> None:
    """In a registry without the extension, here docker-registry; the repository here is private, and gpg's agent signs."""
    server, plain = entrepot_server(entrepot.home), docker_registry()
    for tag in ("v1", "v2"):
        skopeo(
            "copy", "--src-tls-verify=false", "--dest-tls-verify=false",
            f"docker://{server.host}/{NAME}:{tag}", f"docker://{plain.host}/{NAME}:{tag}",
        )  # fmt: skip
    listed = subprocess.run(
        ["gpg", "--homedir", str(gpg_home), "--list-keys", "--with-colons"], check=True, capture_output=True, text=True
    ).stdout
    fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
    entrepot.env["GNUPGHOME"] = str(gpg_home)
    signing = ("sign", f"{NAME}:v1", "--key", f"gnupg:{fingerprint}", "--identity", f"{plain.host}/{NAME}")
    assert entrepot.json(*signing)["manifests"]["added"] == 2
    assert not entrepot.json(*signing)["changed"]
    entrepot.json("distribution", "set", NAME, "--private")
    key = {"keyType": "GPGKeys", "keyPath": str(gpg_home / "public.asc")}
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "signedBy", **key}]}))
    for login, tag, allowed in ((f"{server.creds}@", "v1", True), (f"{server.creds}@", "v2", False), ("", "v1", False)):
        settings = Path(podman.env["HOME"]) / ".config" / "containers" / "registries.d"
        settings.mkdir(exist_ok=True)
        (settings / "plain.yaml").write_text(
            f"docker:\n  {plain.host}:\n    lookaside: http://{login}{server.host}/sigstore\n"
        )
        strict = Client(skopeo.binary, ("--policy", str(policy), "--registries.d", str(settings)), skopeo.env)
        source = f"docker://{plain.host}/{NAME}:{tag}"
        copied = strict("copy", "--src-tls-verify=false", source, f"dir:{tmp_path / 'out'}", check=False)
        assert (copied.returncode == 0) == allowed, copied.stderr
        pulled = podman(
            "pull", "--tls-verify=false", "--signature-policy", str(policy), f"{plain.host}/{NAME}:{tag}", check=False
        )
        assert (pulled.returncode == 0) == allowed, pulled.stderr
        assert allowed or "signature was required" in pulled.stderr


def test_a_signature_of_skopeo_is_verified_and_one_of_another_key_is_not(
    entrepot: Entrepot, entrepot_server: EntrepotFactory, skopeo: Client, gpg_home: Path, tmp_path: Path
) -> None:
    server = entrepot_server(entrepot.home)
    signing = Client(skopeo.binary, skopeo.options, {**skopeo.env, "GNUPGHOME": str(gpg_home)})
    signing(
        "copy", "--src-tls-verify=false", "--dest-tls-verify=false", f"--dest-creds={server.creds}",
        "--sign-by", "signer@example.org",
        f"docker://{server.host}/{NAME}:v2", f"docker://{server.host}/team/signed:v2",
    )  # fmt: skip
    (verified,) = entrepot.json("verify", "team/signed:v2", "--key", str(gpg_home / "public.asc"))
    assert verified["atomic"] == {"found": 1, "good": 1}
    import pysequoia

    other = tmp_path / "other.asc"
    other.write_text(str(pysequoia.Tsk.generate(user_id="other@example.org").extract_certificate()))
    refused = entrepot("verify", "team/signed:v2", "--key", str(other))
    assert refused.returncode == 1
    assert "they have 1 signatures by others, or that do not verify" in refused.stderr


def test_keys_that_cannot_be_used_are_told(entrepot: Entrepot, gpg_home: Path, tmp_path: Path) -> None:
    gpg = ["gpg", "--homedir", str(gpg_home), "--batch", "--pinentry-mode", "loopback"]
    user = "locked@example.org"
    subprocess.run([*gpg, "--passphrase", "of-a-test", "--quick-gen-key", user, "rsa2048", "sign"], check=True)
    locked = tmp_path / "locked.asc"
    exported = [*gpg, "--passphrase", "of-a-test", "--export-secret-keys", "--armor", user]
    locked.write_bytes(subprocess.run(exported, check=True, capture_output=True).stdout)
    document = tmp_path / "sbom.json"
    document.write_text('{"spdxVersion": "SPDX-2.3"}')
    secret, public = str(gpg_home / "secret.asc"), str(gpg_home / "public.asc")
    for arguments, said in (
        (("sign", NAME, "--key", str(locked)), "its password is missing or wrong"),
        (("sign", NAME, "--key", public), "holds no OpenPGP secret key"),
        (("sign", NAME, "--key", secret, "--identity", "registry.example/team/app:v1"), "without tag and digest"),
        (("attest", f"{NAME}:v1", str(document), "--key", secret), "makes Atomic signatures only"),
    ):
        done = entrepot(*arguments)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    entrepot.env["ENTREPOT_SIGNING_PASSWORD"] = "of-a-test"
    signed = entrepot("sign", f"{NAME}:v1", "--key", str(locked))
    assert signed.returncode == 0, signed.stderr
    assert "of-a-test" not in signed.stdout + signed.stderr
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        assert catalog.history.version(NAME, 2).operation == "sign"


def test_children_of_an_index_are_taken_after_a_pull_by_its_tag(
    entrepot: Entrepot, entrepot_server: EntrepotFactory, skopeo: Client, podman: Client, gpg_home: Path, tmp_path: Path
) -> None:
    """By the default identity of `signedBy`, which compares the name that was pulled."""
    store = MemoryStore()
    images = [(pack_image(store, [{"file": arch}]), Platform("linux", arch)) for arch in ("amd64", "arm64")]
    store.put_tag("multi", pack_index(store, images).digest)
    with Upstream({"team/multi": store}) as upstream:
        mirror(entrepot.home, f"{upstream.host}/team/multi")
    server = entrepot_server(entrepot.home)
    name = f"{server.host}/team/multi"
    entrepot.json("sign", "team/multi", "--recursive", "--key", str(gpg_home / "secret.asc"), "--identity", name)
    key = {"keyType": "GPGKeys", "keyPath": str(gpg_home / "public.asc")}
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "signedBy", **key}]}))
    strict = Client(skopeo.binary, ("--policy", str(policy), *skopeo.options[2:]), skopeo.env)
    for reference in (":multi", f"@{images[0][0].digest}"):
        strict(
            "--override-arch=amd64",
            "copy",
            "--src-tls-verify=false",
            f"docker://{name}{reference}",
            f"dir:{tmp_path / 'one'}",
        )
    strict("copy", "--all", "--src-tls-verify=false", f"docker://{name}:multi", f"dir:{tmp_path / 'all'}")
    podman("pull", "--tls-verify=false", "--signature-policy", str(policy), "--arch=amd64", f"{name}:multi")

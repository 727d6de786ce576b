"""Signing by an identity against a private sigstore: what it makes is verified, and nothing else is."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from tests.cli.commands import Entrepot, PrefectServer
from tests.conftest import EntrepotFactory
from tests.private_sigstore import ISSUER, PrivateSigstore, identity_token
from tests.unit.catalog.conftest import push_image

pytestmark = pytest.mark.slow
NAME, WHO = "team/app", "builder@example.org"


@pytest.fixture(scope="module")
def sigstore() -> Iterator[PrivateSigstore]:
    with PrivateSigstore() as running:
        yield running


@pytest.fixture
def trust(sigstore: PrivateSigstore, tmp_path: Path) -> Path:
    file = tmp_path / "trust.json"
    file.write_text(sigstore.trust_config)
    return file


@pytest.fixture(autouse=True)
def filled(entrepot: Entrepot, trust: Path, tmp_path: Path) -> None:
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        for tag in ("v1", "v2"):
            push_image(catalog, NAME, tag, tag)
    token = tmp_path / "token"
    token.write_text(identity_token(WHO))
    entrepot.env["ENTREPOT_IDENTITY_TOKEN_FILE"] = str(token)
    entrepot.env["ENTREPOT_SIGSTORE_TRUST_CONFIG"] = str(trust)


def test_signed_and_verified_by_an_identity(
    entrepot: Entrepot, prefect: PrefectServer, sigstore: PrivateSigstore, tmp_path: Path
) -> None:
    signed = entrepot.json("sign", NAME, "--keyless")
    assert (signed["version"], signed["manifests"]["added"]) == (3, 2)
    assert sigstore.requests == ["/api/v2/signingCert", "/api/v1/log/entries", "/api/v1/log/entries"]
    again = entrepot.json("sign", NAME, "--keyless")
    assert (again["changed"], len(sigstore.requests)) == (False, 3)
    run = json.dumps(prefect.flow_run(signed["flow_run_id"]))
    assert (tmp_path / "token").read_text() not in run

    found = entrepot.json("verify", NAME, "--identity", WHO, "--issuer", ISSUER)
    assert [one["bundled"] for one in found] == [{"found": 1, "good": 1}] * 2
    for identity, issuer in (("other@example.org", ISSUER), (WHO, "https://other.example")):
        refused = entrepot("verify", f"{NAME}:v1", "--identity", identity, "--issuer", issuer)
        assert refused.returncode == 1
        assert f"are not signed by {identity}" in refused.stderr

    with PrivateSigstore() as other:
        stranger = tmp_path / "stranger.json"
        stranger.write_text(other.trust_config)
        options = ("--identity", WHO, "--issuer", ISSUER, "--trust-config", str(stranger))
        assert entrepot("verify", f"{NAME}:v1", *options).returncode == 1


def test_attested_by_an_identity(
    entrepot: Entrepot,
    entrepot_server: EntrepotFactory,
    sigstore: PrivateSigstore,
    tool: Callable[[str], str],
    tmp_path: Path,
) -> None:
    document, root = tmp_path / "sbom.json", tmp_path / "root.json"
    document.write_text('{"spdxVersion": "SPDX-2.3", "name": "hello"}')
    attesting, before = ("attest", f"{NAME}:v1", str(document), "--keyless"), len(sigstore.requests)
    assert entrepot.json(*attesting)["manifests"]["added"] == 1
    assert len(sigstore.requests) == before + 2
    assert not entrepot.json(*attesting)["changed"]  # it has attested this already
    assert len(sigstore.requests) == before + 2
    assert entrepot("verify", f"{NAME}:v1", "--identity", WHO, "--issuer", ISSUER).returncode == 1  # it signs nothing
    for options, said in (
        (("--form", "tags"), "are bundles"),
        (("--unsigned",), "expected one of --key, --keyless and --unsigned"),
    ):
        refused = entrepot(*attesting, *options)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr
    root.write_text(json.dumps(json.loads(sigstore.trust_config)["trustedRoot"]))
    server = entrepot_server(entrepot.home)
    for identity, code in ((WHO, 0), ("other@example.org", 1)):
        done = subprocess.run(
            [
                tool("cosign"), "verify-attestation", "--new-bundle-format", "--trusted-root", str(root), "--type", "spdxjson",
                "--allow-http-registry", "--certificate-identity", identity, "--certificate-oidc-issuer", ISSUER,
                f"{server.host}/{NAME}:v1",
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode != 0) == bool(code), done.stderr


def test_an_altered_bundle_is_not_believed(entrepot: Entrepot, trust: Path) -> None:
    from oci.signing.keyless import KeylessSigner, KeylessVerifier, Who, load_trust

    trusted = load_trust(trust.read_text(), where=str(trust))
    statement = {"_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "x", "digest": {"sha256": "0" * 64}}],
                 "predicateType": "https://example.org/p", "predicate": {}}  # fmt: skip
    (bundle,) = KeylessSigner(trusted, identity_token(WHO)).sign([json.dumps(statement).encode()])
    verifier = KeylessVerifier(trusted, Who(WHO, ISSUER))
    assert verifier.statement_of(bundle) == statement
    document = json.loads(bundle)
    changed = {**statement, "predicate": {"changed": True}}
    document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(changed).encode()).decode()
    for bad in (json.dumps(document).encode(), b"{}", b"not json", bundle[:-10]):
        assert verifier.statement_of(bad) is None


def test_what_cannot_be_signed_with_is_told(entrepot: Entrepot, tmp_path: Path, sigstore: PrivateSigstore) -> None:
    wrong_audience, no_trust = tmp_path / "wrong", tmp_path / "none.json"
    wrong_audience.write_text(identity_token(WHO, audience="other"))
    no_trust.write_text("{}")
    down = tmp_path / "down.json"
    down.write_text(sigstore.trust_config.replace(sigstore.url, "http://127.0.0.1:9"))
    for env, arguments, code, said in (
        ({"ENTREPOT_IDENTITY_TOKEN_FILE": str(wrong_audience)}, (), 2, "the identity token cannot be used"),
        ({"ENTREPOT_IDENTITY_TOKEN_FILE": str(tmp_path / "absent")}, (), 2, "cannot be read"),
        ({}, ("--trust-config", str(no_trust)), 2, "is no sigstore client trust configuration"),
        ({}, ("--trust-config", str(down)), 1, "sigstore: "),
        ({}, ("--key", str(no_trust)), 2, "either a key or keyless"),
    ):
        done = entrepot("sign", f"{NAME}:v1", "--keyless", *arguments, env=env)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr
        assert (tmp_path / "token").read_text() not in done.stdout + done.stderr
    assert entrepot("verify", NAME, "--identity", WHO).returncode == 2
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        assert catalog.snapshots.get(NAME).version == 2


def test_cosign_verifies_it(
    entrepot: Entrepot,
    entrepot_server: EntrepotFactory,
    sigstore: PrivateSigstore,
    tool: Callable[[str], str],
    tmp_path: Path,
) -> None:
    cosign = tool("cosign")
    entrepot.json("sign", f"{NAME}:v1", "--keyless")
    server = entrepot_server(entrepot.home)
    root = tmp_path / "root.json"
    root.write_text(json.dumps(json.loads(sigstore.trust_config)["trustedRoot"]))

    def verify(identity: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                cosign, "verify", "--new-bundle-format", "--trusted-root", str(root), "--allow-http-registry",
                "--certificate-identity", identity, "--certificate-oidc-issuer", ISSUER, f"{server.host}/{NAME}:v1",
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    done = verify(WHO)
    assert done.returncode == 0, done.stderr
    assert verify("other@example.org").returncode != 0

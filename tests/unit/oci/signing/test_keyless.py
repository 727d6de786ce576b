"""Signing by an identity without a flow: both versions of Rekor's API, and services that hang."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from oci.digest import Digest
from oci.errors import RemoteError
from oci.signing.keyless import KeylessSigner, KeylessVerifier, Who, load_trust
from oci.signing.sigstore_bundle import COSIGN_SIGN, make_statement
from tests.private_sigstore import ISSUER, PrivateSigstore, identity_token

NAME, WHO = "team/app", "builder@example.org"


@pytest.mark.parametrize("rekor", [1, 2])
def test_either_version_of_the_log_is_signed_into_and_verified(
    rekor: int, tool: Callable[[str], str], tmp_path: Path
) -> None:
    with PrivateSigstore(rekor=rekor) as running:
        trusted = load_trust(running.trust_config, where="the test")
        statement = make_statement(Digest.of(b"image"), NAME, COSIGN_SIGN, {})
        (bundle,) = KeylessSigner(trusted, identity_token(WHO)).sign([statement])
        kind = json.loads(bundle)["verificationMaterial"]["tlogEntries"][0]["kindVersion"]
        assert (kind["kind"], kind["version"]) == (("dsse", "0.0.1"), ("hashedrekord", "0.0.2"))[rekor - 1]
        verifier = KeylessVerifier(trusted, Who(WHO, ISSUER))
        assert verifier.statement_of(bundle) == json.loads(statement)
        (tmp_path / "bundle").write_bytes(bundle)
        (tmp_path / "image").write_bytes(b"image")
        (tmp_path / "root").write_text(json.dumps(json.loads(running.trust_config)["trustedRoot"]))
        subprocess.run(
            [
                tool("cosign"), "verify-blob-attestation", "--new-bundle-format", "--bundle", tmp_path / "bundle",
                "--trusted-root", tmp_path / "root", "--certificate-identity", WHO, "--certificate-oidc-issuer", ISSUER,
                "--type", COSIGN_SIGN, *(["--use-signed-timestamps"] if rekor == 2 else []), tmp_path / "image",
            ],
            check=True, capture_output=True,
        )  # fmt: skip
        document = json.loads(bundle)
        document["verificationMaterial"].pop("timestampVerificationData", None)
        assert (verifier.statement_of(json.dumps(document).encode()) is None) == (rekor == 2)  # no time, no belief


@pytest.mark.parametrize("path", ["/api/v2/signingCert", "/api/v1/log/entries"])
def test_services_that_hang_end_a_run_in_time(path: str) -> None:
    with PrivateSigstore() as running:
        trusted = load_trust(running.trust_config, where="the test")
        signer = KeylessSigner(trusted, identity_token(WHO), timeout=2)
        running.hanging = path
        with pytest.raises(RemoteError, match="did not answer within 2 s"):
            signer.sign([make_statement(Digest.of(b"image"), NAME, COSIGN_SIGN, {})])
        running.released.set()

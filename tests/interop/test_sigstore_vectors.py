"""The verifying vectors of sigstore-conformance, where TEST_SIGSTORE_CONFORMANCE names a checkout of it: none is copied here.

Bundles of statements are decided by a policy. Bundles of bare digests, which no policy reads, are verified by the library that
policies verify by.
`tests/vectors/trust` has vectors of our own of the same flaws.
"""

import base64
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sigstore
from sigstore.errors import Error as SigstoreError
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity

from catalog.policy.document import make_policy
from catalog.policy.evaluation import evaluate_policy
from catalog.policy.evidence import Evidence, EvidenceItem
from oci.digest import Digest
from oci.signing.certified import CertifiedVerifier
from oci.signing.keys import KeyInvalid, load_verifier

VARIABLE = "TEST_SIGSTORE_CONFORMANCE"
FOLDER = Path(os.environ.get(VARIABLE, "absent")) / "test" / "assets" / "bundle-verify"
VECTORS = sorted(one for one in FOLDER.glob("*") if one.is_dir())
IDENTITY = (
    "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/"
    "extremely-dangerous-oidc-beacon.yml@refs/heads/main"
)
ISSUER = "https://token.actions.githubusercontent.com"
STORE = Path(sigstore.__file__).parent / "_store" / "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev" / "trusted_root.json"
# Valid, and refused by the library: entries of the kind intoto, and the last second of an authority's time.
REFUSED_TOO = {"intoto-with-custom-trust-root", "trust-root-tsa-validity-end-inclusive"}


class Trust:
    """The part of a client trust configuration that verifying needs."""

    def __init__(self, folder: Path) -> None:
        own = folder / "trusted_root.json"
        self.trusted_root = TrustedRoot.from_file(str(own if own.exists() else STORE))


def text_of(file: Path, default: str) -> str:
    return file.read_text().strip() if file.exists() else default


def is_accepted(folder: Path) -> bool:
    raw = (folder / "bundle.sigstore.json").read_bytes()
    artifact = folder / "artifact" if (folder / "artifact").exists() else FOLDER / "a.txt"
    identity, issuer = text_of(folder / "identity", IDENTITY), text_of(folder / "issuer", ISSUER)
    if b'"dsseEnvelope"' in raw:
        return decide(folder, raw, Digest.of(artifact.read_bytes()), {"identity": identity, "issuer": issuer})
    try:
        if (folder / "key.pub").exists():
            key = load_verifier((folder / "key.pub").read_bytes(), where="the vector")
            return key.verifies(
                base64.b64decode(json.loads(raw)["messageSignature"]["signature"]), artifact.read_bytes()
            )
        bundle, who = Bundle.from_json(raw), Identity(identity=identity, issuer=issuer)
        Verifier(trusted_root=Trust(folder).trusted_root).verify_artifact(artifact.read_bytes(), bundle, who)
    except (SigstoreError, KeyInvalid, ValueError):
        return False
    return True


def decide(folder: Path, raw: bytes, digest: Digest, signer: dict[str, str]) -> bool:
    """Whether a policy that wants the statement by the identity allows what the bundle is about."""
    kind = json.loads(base64.b64decode(json.loads(raw)["dsseEnvelope"]["payload"]))["predicateType"]
    document: dict[str, Any] = {
        "version": 1,
        "signers": {"ci": signer},
        "rules": [{"paths": ["**"], "attestations": [{"type": kind, "signers": ["ci"]}]}],
    }
    evidence = Evidence(digest, (EvidenceItem("bundle", str(digest), raw),))
    made = make_policy(document, where="test")
    verifier = CertifiedVerifier(Trust(folder))  # type: ignore[arg-type]  # it has what is asked for
    return evaluate_policy(made, "team/app", evidence, datetime.now(UTC), trust=lambda: verifier).is_allowed


@pytest.mark.skipif(not VECTORS, reason=f"{VARIABLE} names no checkout of sigstore-conformance")
@pytest.mark.parametrize("folder", VECTORS, ids=lambda folder: folder.name)
def test_a_vector_of_sigstore_is_accepted_or_refused(folder: Path) -> None:
    expected = not folder.name.endswith("_fail") and folder.name not in REFUSED_TOO
    assert is_accepted(folder) == expected

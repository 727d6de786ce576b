"""A decision as a SLSA verification summary, for those who cannot ask us. Source: slsa.dev/spec/v1.0/verification_summary."""

import json
from datetime import datetime

from catalog.policy.explanation import PolicyDecision
from catalog.units import format_time
from oci.digest import Digest
from oci.signing.sigstore_bundle import STATEMENT

VSA = "https://slsa.dev/verification_summary/v1"
_VERIFIER = "urn:entrepot:verifier:policy"
_PASSED, _FAILED = "POLICY_PASSED", "FAILED"
"""The levels: that of no track, since slsa-verifier refuses SLSA_BUILD_LEVEL_UNEVALUATED, which has no number."""


def make_summary(decision: PolicyDecision, now: datetime) -> bytes:
    """Return an in-toto statement; `now` is when the decision was made. No level of SLSA is claimed."""
    digest = Digest(decision.digest)
    document = {
        "_type": STATEMENT,
        "subject": [{"name": decision.repository, "digest": {digest.algorithm: digest.encoded}}],
        "predicateType": VSA,
        "predicate": {
            "verifier": {"id": _VERIFIER},
            "timeVerified": format_time(now.replace(microsecond=0)),
            "resourceUri": f"oci://{decision.repository}@{decision.digest}",
            "policy": {
                "uri": f"urn:entrepot:policy:{decision.policy}",
                "digest": {"sha256": decision.policy_digest.partition(":")[2]},
            },
            "inputAttestations": [
                {
                    "uri": f"oci://{decision.repository}@{origin}",
                    "digest": {Digest(origin).algorithm: Digest(origin).encoded},
                }
                for origin in sorted({one.origin for one in decision.signatures if one.accepted})
            ],
            "verificationResult": "PASSED" if decision.is_allowed else "FAILED",
            "verifiedLevels": [_PASSED if decision.is_allowed else _FAILED],
            "slsaVersion": "1.0",
        },
    }
    return json.dumps(document, separators=(",", ":")).encode()

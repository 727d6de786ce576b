"""Small trust policies and signatures for tests."""

from typing import Any

from catalog.policy.document import TrustPolicy, make_policy
from catalog.policy.evaluation import evaluate_policy
from catalog.policy.evidence import Evidence, EvidenceItem
from catalog.policy.explanation import PolicyDecision
from catalog.policy.trust_roots import TrustCache
from oci.digest import Digest
from oci.errors import RemoteError
from oci.signing.keys import KeySigner
from oci.signing.sigstore_bundle import make_statement, sign_statement
from tests.trust_vectors import ORIGIN, REPOSITORY, cosign_item, new_signer, policy_of

__all__ = ["Key", "attested", "decide", "no_trust", "policy", "signed"]


class Key:
    """A key pair: `signer`, and the public half as a policy names it."""

    def __init__(self) -> None:
        self.signer: KeySigner
        self.signer, self.pem = new_signer()

    @property
    def entry(self) -> dict[str, Any]:
        return {"keys": [self.pem]}


def _no_trust() -> Any:
    raise RemoteError("no network")


no_trust = TrustCache(_no_trust)


def policy(signers: dict[str, Any], **fields: Any) -> TrustPolicy:
    return make_policy(policy_of(signers, **fields), where="test")


def signed(key: Key, digest: Digest, name: str = REPOSITORY) -> EvidenceItem:
    import base64

    made = cosign_item(key.signer, digest, name)
    return EvidenceItem("cosign", ORIGIN, base64.b64decode(made["content"]), made["annotations"])


def attested(key: Key, digest: Digest, kind: str, predicate: dict[str, Any]) -> EvidenceItem:
    return EvidenceItem(
        "bundle", ORIGIN, sign_statement(make_statement(digest, REPOSITORY, kind, predicate), key.signer)
    )


def decide(
    made: TrustPolicy, digest: Digest, *items: EvidenceItem, now: Any, tag: str = "", **fields: Any
) -> PolicyDecision:
    return evaluate_policy(made, REPOSITORY, Evidence(digest, items, **fields), now, trust=no_trust, tag=tag)

"""A trust configuration that is replaced counts at once: what an earlier one allowed is decided anew."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.policy import trust_roots
from catalog.policy.document import make_policy
from catalog.policy.gate_rules import PolicyGateRule
from oci.kinds import SIGSTORE_BUNDLE
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image
from oci.signing.keyless import KeylessSigner, load_trust
from oci.signing.sigstore_bundle import COSIGN_SIGN, make_statement
from tests.api.conftest import serve
from tests.private_sigstore import ISSUER, PrivateSigstore, identity_token

NAME, WHO = "team/app", "builder@example.org"
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_what_a_former_trust_configuration_allowed_is_decided_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust_roots, "_LOOKED", 0.0)
    file = tmp_path / "trust.json"
    with PrivateSigstore() as ours, PrivateSigstore() as other:
        file.write_text(ours.trust_config)
        with serve(tmp_path / "entrepot", sigstore_trust_config=str(file)) as api:
            signer = {"identity": WHO, "issuer": ISSUER}
            rule = {"paths": ["team/**"], "signatures": [{"signers": ["builder"]}]}
            policy = make_policy({"version": 1, "signers": {"builder": signer}, "rules": [rule]}, where="test")
            api.catalog.policies.set("release", policy, actor="test", now=NOW)
            api.catalog.policies.set_gate(
                PolicyGateRule(pattern="team/**", policy="release", at=("pull",), set_by="test", set_at=NOW)
            )
            store = MemoryStore()
            image = pack_image(store, [{"file": "one"}])
            api.push(NAME, "v1", store, image)
            trusted = load_trust(ours.trust_config, where="test")
            (bundle,) = KeylessSigner(trusted, identity_token(WHO)).sign(
                [make_statement(image.digest, NAME, COSIGN_SIGN, {})]
            )
            signature = pack_artifact(store, SIGSTORE_BUNDLE, [(SIGSTORE_BUNDLE, bundle)], subject=image)
            api.push(NAME, str(signature.digest), store, signature)

            def status() -> int:
                return api.anybody.get(f"/v2/{NAME}/manifests/v1").status_code

            replace: list[tuple[Callable[[], object], int]] = [
                (lambda: file.write_text(other.trust_config), 403),
                (lambda: file.write_text(ours.trust_config), 200),
                (file.unlink, 403),
            ]
            assert [status(), status()] == [200, 200]
            for change, expected in replace:
                change()
                assert [status(), status()] == [expected, expected]

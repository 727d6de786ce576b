"""Vectors of trust: signatures with one flaw each, named after it, and policies that are refused.

Each file has a policy, the evidence beside a manifest, the time, and what is decided. The keys were made for one run, and are
gone. `python -m tests.trust_vectors` writes all of them anew; it needs cosign and gpg, the tests that read them need neither.
"""

import base64
import copy
import json
import os
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pysequoia
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from oci.digest import Digest
from oci.signing.cosign import SIGNATURE, sign_simple
from oci.signing.keyless import KeylessSigner, load_trust
from oci.signing.keys import KeySigner, Signer, load_signer
from oci.signing.pgp_keys import load_pgp_signer
from oci.signing.pgp_messages import _packet
from oci.signing.provenance import BUILDER, PREDICATE, make_provenance
from oci.signing.sigstore_bundle import COSIGN_SIGN, make_statement, sign_statement
from tests.private_sigstore import ISSUER, PrivateSigstore, identity_token
from tests.trust_flaws import LOGGED_FLAWS, TIMESTAMPED_FLAWS

FOLDER = Path(__file__).parent / "vectors" / "trust"
MANIFEST, OTHER = b'{"schemaVersion":2}', b'{"schemaVersion":2,"other":true}'
DIGEST, ANOTHER, INDEX = Digest.of(MANIFEST), Digest.of(OTHER), Digest.of(b"index")
REPOSITORY, REGISTRY, WHO = "team/app", "registry.example", "builder@example.org"
ORIGIN = str(Digest.of(b"origin"))


def new_signer() -> tuple[KeySigner, str]:
    """A signer and its public key in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return load_signer(private, None, where="here"), public.decode()


def item(form: str, content: bytes, **annotations: str) -> dict[str, Any]:
    """A piece of evidence, as in the files."""
    return {"form": form, "content": base64.b64encode(content).decode(), "annotations": annotations}


def cosign_item(signer: Signer, digest: Digest, name: str = REPOSITORY) -> dict[str, Any]:
    """A signature under a tag."""
    made = sign_simple(digest, name, signer)
    return item("cosign", made.payload, **{SIGNATURE: base64.b64encode(made.signature).decode()})


def policy_of(signers: dict[str, Any], *, rule: dict[str, Any] | None = None, **requirement: Any) -> dict[str, Any]:
    """A policy that wants one of the signers for team/**."""
    wanted = {"signers": sorted(signers), **requirement}
    return {
        "version": 1,
        "registry": REGISTRY,
        "signers": signers,
        "rules": [{"paths": ["team/**"], "signatures": [wanted], **(rule or {})}],
    }


def sign_keyless(sigstore: PrivateSigstore, *digests: Digest) -> list[bytes]:
    """Bundles by one certificate."""
    trusted = load_trust(sigstore.trust_config, where="here")
    statements = [make_statement(one, REPOSITORY, COSIGN_SIGN, {}) for one in digests]
    return KeylessSigner(trusted, identity_token(WHO)).sign(statements)


class Vectors:
    """Makes and writes all vectors."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self.folder, self.now = folder, now
        self.signer, self.public = new_signer()
        self.by_key = policy_of({"release": {"keys": [self.public]}})

    def write(
        self, name: str, outcome: str, reason: str, policy: dict[str, Any], *items: dict[str, Any], **more: Any
    ) -> None:
        """Write a vector; `reason` is part of what is said of the signature, or of the whole."""
        vector = {
            "outcome": outcome,
            "reason": reason,
            "repository": REPOSITORY,
            "digest": DIGEST,
            "tag": "",
            "now": self.now.isoformat(),
            "policy": policy,
            "evidence": list(items),
            **more,
        }
        (self.folder / f"{name}.json").write_text(json.dumps(vector, indent=1, sort_keys=True) + "\n")

    def write_keys(self) -> None:
        """Signatures with a public key."""
        stranger, _ = new_signer()
        good = cosign_item(self.signer, DIGEST)
        bundle = sign_statement(make_statement(DIGEST, REPOSITORY, COSIGN_SIGN, {}), self.signer)
        self.write("valid-under-tag", "allowed", "it counts", self.by_key, good)
        self.write("valid-bundle", "allowed", "it counts", self.by_key, item("bundle", bundle))
        self.write(
            "wrong-key", "not-satisfied", "no key that the rule names", self.by_key, cosign_item(stranger, DIGEST)
        )
        self.write(
            "other-digest", "not-satisfied", "the payload is about", self.by_key, cosign_item(self.signer, ANOTHER)
        )
        self.write(
            "stripped-signature", "not-satisfied", "carries no signature", self.by_key, {**good, "annotations": {}}
        )
        payload = base64.b64decode(good["content"]).replace(ANOTHER.encode(), DIGEST.encode()).replace(b"team", b"tean")
        altered = {**good, "content": base64.b64encode(payload).decode()}
        self.write("altered-payload", "not-satisfied", "no key that the rule names", self.by_key, altered)
        document = json.loads(bundle)
        other = make_statement(DIGEST, REPOSITORY, COSIGN_SIGN, {"altered": True})
        document["dsseEnvelope"]["payload"] = base64.b64encode(other).decode()
        self.write(
            "altered-bundle-payload",
            "not-satisfied",
            "no key",
            self.by_key,
            item("bundle", json.dumps(document).encode()),
        )
        self.write("truncated-bundle", "not-satisfied", "is no JSON", self.by_key, item("bundle", bundle[:-20]))
        twice = base64.b64decode(good["content"]).replace(
            b'"docker-manifest-digest":', b'"docker-manifest-digest":"%s","docker-manifest-digest":' % ANOTHER.encode()
        )
        signature = base64.b64encode(self.signer.sign(twice)).decode()
        self.write(
            "duplicate-json-keys",
            "not-satisfied",
            "twice in one object",
            self.by_key,
            item("cosign", twice, **{SIGNATURE: signature}),
        )
        named = policy_of({"release": {"keys": [self.public]}}, name="repository")
        replayed = cosign_item(self.signer, DIGEST, f"{REGISTRY}/team/other")
        self.write(
            "signature-of-another-repository",
            "not-satisfied",
            "it is for registry.example/team/other",
            named,
            replayed,
        )
        self.write("no-signature", "not-signed", "no signature and no attestation", self.by_key)
        self.write(
            "unreadable-signature",
            "undecidable",
            "the store does not respond",
            self.by_key,
            {"form": "unreadable", "content": "", "annotations": {}, "problem": "the store does not respond"},
        )
        covering = policy_of({"release": {"keys": [self.public]}}, rule={"index": "covers-children"})
        parent = {"digest": INDEX, "evidence": [cosign_item(self.signer, INDEX)]}
        self.write(
            "valid-child-of-signed-index",
            "allowed",
            "satisfied by the index",
            covering,
            parents=[{**parent, "children": [DIGEST]}],
        )
        self.write(
            "index-signed-child-swapped",
            "not-signed",
            "no signature",
            covering,
            parents=[{**parent, "children": [ANOTHER]}],
        )

    def write_provenance(self, cosign: str, folder: Path) -> None:
        """Attestations, one by cosign itself."""
        rule = {"signatures": [], "attestations": [{"type": "slsa", "signers": ["release"], "builders": [BUILDER]}]}
        policy = policy_of({"release": {"keys": [self.public]}}, rule=rule)
        predicate = make_provenance(
            parameters={}, materials=[], run_id="1", started="2026-01-01T00:00:00Z", finished="2026-01-01T00:01:00Z"
        )
        for name, outcome, reason, changed in (
            ("valid-provenance", "allowed", "it counts", predicate),
            (
                "provenance-of-another-builder",
                "not-satisfied",
                "its builder is 'urn:elsewhere'",
                {**predicate, "runDetails": {"builder": {"id": "urn:elsewhere"}}},
            ),
        ):
            statement = make_statement(DIGEST, REPOSITORY, PREDICATE, changed)
            self.write(name, outcome, reason, policy, item("bundle", sign_statement(statement, self.signer)))
        env = {**os.environ, "HOME": str(folder), "COSIGN_PASSWORD": "x"}

        def run(*arguments: str) -> None:
            subprocess.run([cosign, *arguments], cwd=folder, env=env, check=True, capture_output=True)

        run("generate-key-pair")
        (folder / "manifest").write_bytes(MANIFEST)
        (folder / "predicate.json").write_text(json.dumps(predicate))
        run("signing-config", "create", "--out", "none.json")
        run(
            "attest-blob",
            "--yes",
            "--key",
            "cosign.key",
            "--type",
            "slsaprovenance1",
            "--predicate",
            "predicate.json",
            "--bundle",
            "bundle.json",
            "--signing-config",
            "none.json",
            "manifest",
        )
        by_cosign = copy.deepcopy(policy)
        by_cosign["signers"]["release"]["keys"] = [(folder / "cosign.pub").read_text()]
        self.write(
            "valid-provenance-by-cosign",
            "allowed",
            "it counts",
            by_cosign,
            item("bundle", (folder / "bundle.json").read_bytes()),
        )

    def write_openpgp(self, gpg: str, folder: Path) -> None:
        """Atomic signatures, one by gpg itself."""
        secret = pysequoia.Tsk.generate(user_id="Signer <signer@example.org>")
        signer = load_pgp_signer(bytes(secret), None, where="here")
        public = str(secret.extract_certificate())
        made = signer.sign(DIGEST, f"{REGISTRY}/{REPOSITORY}:v1", name="0" * 32, timestamp=int(self.now.timestamp()))
        policy = policy_of({"ops": {"openpgp": public}})
        self.write("valid-atomic", "allowed", "it counts", policy, item("atomic", made.content))
        unknown = bytearray(made.content)
        position = 0
        while position < len(unknown):
            tag, start, position = _packet(bytes(unknown), position)
            if tag == 2:  # a signature of version 4: version, type, algorithm. Source: RFC 9580, 5.2.3
                unknown[start + 2] = 99
        self.write(
            "openpgp-unknown-algorithm",
            "not-satisfied",
            "no valid signature by these keys",
            policy,
            item("atomic", bytes(unknown)),
        )
        home = folder / "gnupg"
        home.mkdir(mode=0o700)
        env = {**os.environ, "GNUPGHOME": str(home)}

        def run(*arguments: str, **more: Any) -> bytes:
            command = [gpg, "--batch", "--yes", *arguments]
            done: bytes = subprocess.run(command, env=env, check=True, capture_output=True, **more).stdout
            return done

        run("--passphrase", "", "--quick-generate-key", "gpg <gpg@example.org>", "rsa2048", "sign", "never")
        critical = {
            "identity": {"docker-reference": "team/app:v1"},
            "image": {"docker-manifest-digest": DIGEST},
            "type": "atomic container signature",
        }
        payload = json.dumps({"critical": critical, "optional": {}}).encode()
        message = run("--sign", input=payload)
        by_gpg = policy_of({"ops": {"openpgp": run("--armor", "--export").decode()}})
        self.write("valid-atomic-by-gpg", "allowed", "it counts", by_gpg, item("atomic", message))

    def write_identities(self) -> None:
        """Bundles by a certificate of private sigstores; `trust-config.json` has their roots."""
        by = policy_of({"ci": {"identity": WHO, "issuer": ISSUER}})
        with PrivateSigstore() as first, PrivateSigstore(rekor=2) as second, PrivateSigstore() as stranger:
            configs = [json.loads(one.trust_config) for one in (first, second)]
            for kind in ("tlogs", "certificateAuthorities", "ctlogs", "timestampAuthorities"):
                configs[0]["trustedRoot"][kind] += configs[1]["trustedRoot"][kind]
            (self.folder / "trust-config.json").write_text(json.dumps(configs[0]) + "\n")
            self._write_logged(by, first)
            self._write_timestamped(by, second)
            (foreign,) = sign_keyless(stranger, DIGEST)
        self.write(
            "certificate-of-another-authority",
            "not-satisfied",
            "failed to build timestamp certificate chain",
            by,
            item("bundle", foreign),
        )

    def _write_logged(self, by: dict[str, Any], sigstore: PrivateSigstore) -> None:
        """Entries of a log that states their times."""
        good, other = sign_keyless(sigstore, DIGEST, ANOTHER)
        sigstore.log_ahead = timedelta(hours=1)
        (expired,) = sign_keyless(sigstore, DIGEST)
        sigstore.log_ahead = timedelta(minutes=8)
        (future,) = sign_keyless(sigstore, DIGEST)
        sigstore.log_ahead = timedelta()
        self.write("valid-identity", "allowed", "it counts", by, item("bundle", good))
        pattern = policy_of({"ci": {"identity_pattern": "^[a-z]+@example\\.org$", "issuer": ISSUER}})
        self.write("valid-identity-by-pattern", "allowed", "it counts", pattern, item("bundle", good))
        for name, identity, issuer in (
            ("identity-prefix", WHO.removesuffix(".org"), ISSUER),
            ("identity-longer", f"{WHO}.evil", ISSUER),
            ("identity-case", WHO.upper(), ISSUER),
            ("identity-trailing-dot", f"{WHO}.", ISSUER),
            ("wrong-issuer", WHO, f"{ISSUER}.evil"),
            ("issuer-trailing-slash", WHO, f"{ISSUER}/"),
        ):
            wanted = policy_of({"ci": {"identity": identity, "issuer": issuer}})
            self.write(name, "not-satisfied", "whom the rule does not name", wanted, item("bundle", good))
        self.write("expired-certificate", "not-satisfied", "certificate", by, item("bundle", expired))
        self.write("log-time-in-future", "not-satisfied", "in the future", by, item("bundle", future))
        self.write("bundle-of-another-digest", "not-satisfied", "the statement is about", by, item("bundle", other))
        for name, reason, flaw in LOGGED_FLAWS:
            document = json.loads(good)
            flaw(document, json.loads(other))
            self.write(name, "not-satisfied", reason, by, item("bundle", json.dumps(document).encode()))
        sigstore.forget_certificates_log()
        (unlogged,) = sign_keyless(sigstore, DIGEST)
        self.write(
            "certificate-of-another-certificates-log",
            "not-satisfied",
            "SCT verify failed",
            by,
            item("bundle", unlogged),
        )

    def _write_timestamped(self, by: dict[str, Any], sigstore: PrivateSigstore) -> None:
        """Entries of a log without times: a timestamp authority vouches for them."""
        good, other = sign_keyless(sigstore, DIGEST, ANOTHER)
        self.write("valid-identity-timestamped", "allowed", "it counts", by, item("bundle", good))
        for name, reason, flaw in TIMESTAMPED_FLAWS:
            document = json.loads(good)
            flaw(document, json.loads(other))
            self.write(name, "not-satisfied", reason, by, item("bundle", json.dumps(document).encode()))
        sigstore.change_authority()
        (foreign,) = sign_keyless(sigstore, DIGEST)
        self.write(
            "timestamp-by-another-authority",
            "not-satisfied",
            "not enough sources of verified time",
            by,
            item("bundle", foreign),
        )

    def write_policies(self) -> None:
        """Policies that are refused, with the reason in their first line or field."""
        rules = "rules:\n- paths: [team/**]\n  signatures:\n  - signers: [ci]\n"
        signer = "signers:\n  ci: {identity: a@example.org, issuer: https://issuer.example}\n"
        texts = {
            "policy-duplicate-key.yaml": (
                "duplicate key 'default'",
                f"version: 1\ndefault: deny\ndefault: allow\n{signer}{rules}",
            ),
            "policy-unknown-key.yaml": (
                "rules.0.signaturs: unknown key",
                f"version: 1\n{signer}{rules.replace('signatures', 'signaturs')}",
            ),
            "policy-alias.yaml": ("aliases are not supported", f"version: 1\nx: &x 1\ny: *x\n{signer}{rules}"),
            "policy-unanchored-pattern.yaml": (
                "anchored",
                f"version: 1\n{signer.replace('identity:', 'identity_pattern:').replace('a@', '.*@')}{rules}",
            ),
            "policy-identity-without-issuer.yaml": (
                "needs its issuer",
                f"version: 1\n{signer.replace(', issuer: https://issuer.example', '')}{rules}",
            ),
            "policy-unknown-signer.yaml": (
                "names the signer other",
                f"version: 1\n{signer}{rules.replace('[ci]', '[other]')}",
            ),
            "policy-rule-without-requirement.yaml": (
                "expected signatures or attestations",
                f"version: 1\n{signer}rules:\n- paths: [team/**]\n",
            ),
            "policy-impossible-threshold.yaml": (
                "requires 2 signers of 1",
                f"version: 1\n{signer}{rules}    threshold: 2\n",
            ),
        }
        for name, (reason, text) in texts.items():
            (self.folder / name).write_text(f"# refused: {reason}\n{text}")
        duplicate = (
            '{"version": 1, "description": "refused: twice in one object", "default": "deny", "default": "allow"}\n'
        )
        (self.folder / "policy-duplicate-key.json").write_text(duplicate)


def write_vectors(folder: Path, cosign: str, gpg: str) -> None:
    """Write all files."""
    folder.mkdir(parents=True, exist_ok=True)
    vectors = Vectors(folder, datetime.now(UTC).replace(microsecond=0))
    vectors.write_keys()
    vectors.write_identities()
    vectors.write_policies()
    with tempfile.TemporaryDirectory() as scratch:
        vectors.write_provenance(cosign, Path(scratch))
        vectors.write_openpgp(gpg, Path(scratch))


if __name__ == "__main__":
    write_vectors(FOLDER, shutil.which("cosign") or "cosign", shutil.which("gpg") or "gpg")

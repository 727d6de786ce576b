"""A timestamp authority, by openssl's own implementation. Source: RFC 3161; openssl-ts(1)."""

import base64
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.servers import tool

_CONFIGURATION = """[tsa]
serial = {folder}/serial
signer_cert = {folder}/leaf
signer_key = {folder}/key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


class TimestampAuthority:
    """Answers time-stamp queries; close it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tsa-")
        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = _certificate("tsa root", root_key, "tsa root", root_key, is_authority=True)
        leaf = _certificate("tsa", key, "tsa root", root_key, is_authority=False)
        self.chain = [base64.b64encode(one.public_bytes(serialization.Encoding.DER)).decode() for one in (leaf, root)]
        place = Path(self._folder.name)
        (place / "leaf").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        (place / "key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        (place / "conf").write_text(_CONFIGURATION.format(folder=place))

    def respond(self, query: bytes) -> bytes:
        """Return the response to a query, both in DER."""
        place = Path(self._folder.name)
        (place / "query").write_bytes(query)
        done = subprocess.run(
            [tool("openssl"), "ts", "-reply", "-config", place / "conf", "-section", "tsa", "-queryfile", place / "query"],
            check=True, capture_output=True,
        )  # fmt: skip
        return done.stdout

    def close(self) -> None:
        self._folder.cleanup()


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    subject, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, issuer))
    usage = x509.KeyUsage(not is_authority, False, False, False, False, is_authority, is_authority, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())

"""Sigstore bundles with a certificate: verified against a trust configuration, with the reason where they are not.

Who the certificate names is returned, not judged: a policy compares it. Source: sigstore client specification, 4.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from sigstore.errors import Error as SigstoreError
from sigstore.errors import VerificationError
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.verify import Verifier as SigstoreVerifier

from oci.errors import InvalidInput
from oci.signing.claimed_signers import read_utf8_string
from oci.signing.keys import PublicKey, Verifier

_ISSUER_V1 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_OTHER_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7")


class BundleRefused(InvalidInput):
    """A bundle that does not verify; the message says why."""


@dataclass(frozen=True, slots=True)
class CertifiedStatement:
    """A payload that a certificate's key has signed: who that is, and when a log or timestamp authority has seen it.

    `public_key` is the key's fingerprint, as `Verifier` has it. `logged_at` is the earliest time that is signed: the time of a
    log's entry counts with the log's promise alone.
    """

    identities: tuple[str, ...]
    issuer: str
    payload_type: str
    payload: bytes
    public_key: str
    logged_at: datetime


class CertifiedVerifier:
    """Verifies bundles by the roots of one trust configuration; no network."""

    def __init__(self, trust: ClientTrustConfig) -> None:
        self._verifier = SigstoreVerifier(trusted_root=trust.trusted_root)

    def open(self, raw: bytes) -> CertifiedStatement:
        """Return what a bundle with a certificate and a DSSE envelope says; raise BundleRefused."""
        kept = _KeepCertificate()
        try:
            bundle = Bundle.from_json(raw)
            kind, payload = self._verifier.verify_dsse(bundle, kept)
            times = self._verifier._establish_time(bundle)  # noqa: SLF001  # the library has no public way to verified times
            logged_at = min(one.time for one in times).astimezone(UTC)
            names, issuer, key = _names_in(kept.found), _issuer_in(kept.found), _key_in(kept.found)
            return CertifiedStatement(names, issuer, kind, payload, key, logged_at)
        except BundleRefused:
            raise
        except (VerificationError, SigstoreError) as error:
            raise BundleRefused(str(error)[:300] or type(error).__name__) from None
        except Exception as error:  # noqa: BLE001  # the library raises whatever its parsers do for bytes of strangers
            raise BundleRefused(f"the bundle cannot be read: {type(error).__name__}") from None


class _KeepCertificate:
    """Takes the place of the library's policies: what it is shown is kept, and judged elsewhere."""

    found: x509.Certificate

    def verify(self, cert: x509.Certificate) -> None:
        self.found = cert


def _names_in(certificate: x509.Certificate) -> tuple[str, ...]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = [*names.get_values_for_type(x509.RFC822Name), *names.get_values_for_type(x509.UniformResourceIdentifier)]
    others = names.get_values_for_type(x509.OtherName)
    return (*found, *(_utf8_string(other.value) for other in others if other.type_id == _OTHER_NAME))


def _key_in(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if not isinstance(key, PublicKey):
        raise BundleRefused("the key of the certificate is of a kind that does not verify")
    return Verifier(key).fingerprint


def _issuer_in(certificate: x509.Certificate) -> str:
    """Return the issuer in either of its two forms; raise BundleRefused where they contradict each other."""
    found = set()
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.UnrecognizedExtension):
            if extension.oid == _ISSUER_V1:
                found.add(extension.value.value.decode())
            elif extension.oid == _ISSUER_V2:
                found.add(_utf8_string(extension.value.value))
    if len(found) != 1:
        raise BundleRefused("the certificate names no issuer of the identity, or several")
    return found.pop()


def _utf8_string(der: bytes) -> str:
    try:
        return read_utf8_string(der)
    except ValueError as error:
        raise BundleRefused(f"a name in the certificate cannot be read: {error}") from None

"""Whose signatures claim to be, by the certificates and hints that come with them. Nothing is verified.

Source: sigstore bundle format; Fulcio, OID information.
"""

import base64
import binascii
import json
from typing import Any

from cryptography import x509

UNREADABLE = "unreadable"
"""The signer of what cannot be read."""

_ISSUERS = ("1.3.6.1.4.1.57264.1.8", "1.3.6.1.4.1.57264.1.1")
"""Fulcio's extensions that name the issuer: a DER string, and the older one, plain text."""
_UTF8_STRING = 0x0C


def signer_of_certificate(pem: str) -> str:
    """Return the identity of a certificate in PEM, `key` for none: a signature by a key says nothing of the key."""
    if not pem:
        return "key"
    try:
        return _identity(x509.load_pem_x509_certificate(pem.encode()))
    except (ValueError, TypeError):
        return UNREADABLE


def signer_of_bundle(raw: bytes) -> str:
    """Return the identity of a sigstore bundle's certificate, or the hint of its key."""
    try:
        material: Any = json.loads(raw)["verificationMaterial"]
        if "publicKey" in material:
            return f"key {material['publicKey']['hint']}"
        first = material.get("certificate") or material["x509CertificateChain"]["certificates"][0]
        return _identity(x509.load_der_x509_certificate(base64.b64decode(first["rawBytes"])))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, binascii.Error):
        return UNREADABLE


def _identity(certificate: x509.Certificate) -> str:
    """Return the names of a certificate with their issuer, as Fulcio writes them."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    shown = ", ".join(str(one.value) for one in names)
    issuer = next(filter(None, (_issuer(certificate, oid) for oid in _ISSUERS)), "")
    return f"{shown} ({issuer})" if issuer else shown


def _issuer(certificate: x509.Certificate, oid: str) -> str:
    try:
        value: Any = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(oid)).value
    except x509.ExtensionNotFound:
        return ""
    text = bytes(value.value)
    return read_utf8_string(text) if oid == _ISSUERS[0] else text.decode("utf-8", "replace")


def read_utf8_string(der: bytes) -> str:
    """Return the text of a DER UTF8String; raise ValueError for anything else."""
    if len(der) < 2 or der[0] != _UTF8_STRING:
        raise ValueError("it is no UTF8String")
    start, length = 2, der[1]
    if length & 0x80:
        count = length & 0x7F
        start, length = 2 + count, int.from_bytes(der[2 : 2 + count])
    if start + length != len(der):
        raise ValueError("it is a UTF8String of another length")
    return der[start:].decode()

"""Bundles with a certificate: the time that is told of one is a time that somebody has signed."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from sigstore.models import ClientTrustConfig

from oci.signing.certified import BundleRefused, CertifiedVerifier
from oci.signing.keyless import KeylessSigner, load_trust
from oci.signing.keys import load_verifier
from oci.signing.sigstore_bundle import COSIGN_SIGN, make_statement
from tests.private_sigstore import PrivateSigstore, identity_token
from tests.trust_vectors import DIGEST, REPOSITORY, WHO


@pytest.fixture(params=[1, 2])
def signed(request: pytest.FixtureRequest) -> Iterator[tuple[ClientTrustConfig, dict[str, Any]]]:
    """A trust configuration and a bundle, by a log with either version of the API."""
    with PrivateSigstore(rekor=request.param) as sigstore:
        trust = load_trust(sigstore.trust_config, where="test")
        statement = make_statement(DIGEST, REPOSITORY, COSIGN_SIGN, {})
        [bundle] = KeylessSigner(trust, identity_token(WHO)).sign([statement])
        yield trust, json.loads(bundle)


def test_the_time_is_the_logs_or_the_timestamp_authoritys(signed: tuple[ClientTrustConfig, dict[str, Any]]) -> None:
    trust, bundle = signed
    found = CertifiedVerifier(trust).open(json.dumps(bundle).encode())
    assert abs(found.logged_at - datetime.now(UTC)) < timedelta(minutes=2)


def test_the_public_key_is_named_as_the_same_one_in_pem(signed: tuple[ClientTrustConfig, dict[str, Any]]) -> None:
    trust, bundle = signed
    raw = base64.b64decode(bundle["verificationMaterial"]["certificate"]["rawBytes"])
    key = x509.load_der_x509_certificate(raw).public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    found = CertifiedVerifier(trust).open(json.dumps(bundle).encode())
    assert found.public_key == load_verifier(pem, where="test").fingerprint


@pytest.mark.parametrize("keeps_promise", [True, False])
def test_a_time_that_nobody_has_signed_is_not_told(
    signed: tuple[ClientTrustConfig, dict[str, Any]], keeps_promise: bool
) -> None:
    trust, bundle = signed
    entry = bundle["verificationMaterial"]["tlogEntries"][0]
    entry["integratedTime"] = "1500000000"
    if not keeps_promise:
        entry.pop("inclusionPromise", None)
    try:
        found = CertifiedVerifier(trust).open(json.dumps(bundle).encode())
    except BundleRefused:
        return
    assert abs(found.logged_at - datetime.now(UTC)) < timedelta(minutes=2)

"""Signing without a key of one's own: an identity token, a certificate for minutes, and a line in a public or private log.

Source: sigstore, "Client specification"; the trust configuration says which services there are and whom to believe.
"""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests
from sigstore.dsse import Statement
from sigstore.errors import Error as SigstoreError
from sigstore.errors import VerificationError
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.oidc import IdentityError, IdentityToken
from sigstore.sign import Signer as SigstoreSigner
from sigstore.sign import SigningContext
from sigstore.verify import Verifier
from sigstore.verify.policy import AllOf, AnyOf, Identity, OIDCIssuer, OIDCIssuerV2

from oci.errors import RemoteError
from oci.signing.deadlines import run_within
from oci.signing.keys import KeyInvalid
from oci.signing.sigstore_bundle import PAYLOAD

_PATIENCE = 60.0
"""Seconds for the public sigstore's trust configuration."""


@dataclass(frozen=True, slots=True)
class Who:
    """An identity, and the issuer that vouches for it."""

    identity: str
    issuer: str


class KeylessVerifier:
    """Believes statements that an identity has signed."""

    def __init__(self, trust: ClientTrustConfig, who: Who) -> None:
        self.who = who
        self._verifier = Verifier(trusted_root=trust.trusted_root)
        issuer = AnyOf([OIDCIssuer(who.issuer), OIDCIssuerV2(who.issuer)])  # certificates have it in one of two forms
        self._policy = AllOf([Identity(identity=who.identity), issuer])

    def statement_of(self, bundle: bytes) -> Mapping[str, Any] | None:
        """Return the in-toto statement of a bundle; None unless the identity has signed it and the log has it."""
        try:
            kind, payload = self._verifier.verify_dsse(Bundle.from_json(bundle), self._policy)
        except (VerificationError, SigstoreError, ValueError):
            return None
        found = json.loads(payload) if kind == PAYLOAD else None
        return found if isinstance(found, dict) else None


class KeylessSigner:
    """Signs in the name of an identity token, which is good for minutes; the message of an error never holds it."""

    def __init__(self, trust: ClientTrustConfig, token: str, *, timeout: float = 30.0) -> None:
        """`timeout` bounds the certificate, and then each signature, in seconds."""
        self._timeout = timeout
        try:
            self._token = IdentityToken(token)
        except IdentityError as error:
            raise KeyInvalid(f"the identity token cannot be used: {error}") from None
        who = Who(self._token.identity, self._token.federated_issuer)
        self.verifier = KeylessVerifier(trust, who)
        self._context = SigningContext.from_trust_config(trust)

    def sign(self, statements: list[bytes]) -> list[bytes]:
        """Return a sigstore bundle for each in-toto statement, by one certificate; raise RemoteError when a service fails."""
        try:
            signer = run_within(
                self._timeout, "sigstore", lambda: ExitStack().enter_context(self._context.signer(self._token))
            )
            return [run_within(self._timeout, "sigstore", partial(_sign_one, signer, one)) for one in statements]
        except (SigstoreError, requests.RequestException) as error:
            raise RemoteError(f"sigstore: {type(error).__name__}: {error}") from error
        except Exception as error:
            # The clients of Fulcio and Rekor have error classes outside the library's tree.
            if type(error).__module__.startswith("sigstore."):
                raise RemoteError(f"sigstore: {type(error).__name__}: {error}") from error
            raise


def _sign_one(signer: SigstoreSigner, statement: bytes) -> bytes:
    return signer.sign_dsse(Statement(statement)).to_json().encode()


def load_trust(document: str | None, *, where: str) -> ClientTrustConfig:
    """Read a client trust configuration; None reads that of the public sigstore, over the network.

    Raises KeyInvalid, RemoteError.
    """
    try:
        if document is not None:
            return ClientTrustConfig.from_json(document)
        return run_within(_PATIENCE, "sigstore", ClientTrustConfig.production)
    except (SigstoreError, requests.RequestException) as error:
        raise RemoteError(
            f"the public sigstore's trust configuration cannot be had: {error}; where it cannot be reached, name one of your own "
            "by --trust-config or ENTREPOT_SIGSTORE_TRUST_CONFIG"
        ) from error
    except ValueError as error:
        raise KeyInvalid(f"{where} is no sigstore client trust configuration: {str(error)[:300]}") from None

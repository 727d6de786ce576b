"""The forms of signing, attesting and verifying; keys and tokens that they name."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from catalog.parsed_text import explained
from catalog.settings import Settings
from catalog.work_roots import read_allowed
from flows.forms.faults import misfit
from flows.forms.fields import SelectorText
from flows.forms.parameters import Argument, Option
from flows.forms.shared_fields import Exclude, Include, TrustConfig
from oci.reference import parse_reference
from oci.signing.keys import KeyInvalid, Signer, load_signer
from oci.signing.pgp_keys import PgpSigner, is_pgp, load_pgp_signer

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig

PREDICATE_TYPES = {
    "spdxjson": "https://spdx.dev/Document",
    "cyclonedx": "https://cyclonedx.org/bom",
    "slsaprovenance1": "https://slsa.dev/provenance/v1",
    "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
}


class SignRequest(BaseModel):
    """Sign manifests of a repository with a key, so that cosign verifies them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    source: Annotated[SelectorText, Argument("SOURCE", completes="tag")] = Field(
        title="Source", description="Content to sign: `NAME:TAG`, `NAME@DIGEST`, or `NAME` with filters."
    )
    include: Include = ()
    exclude: Exclude = ()
    recursive: bool = Field(default=False, title="Recursive", description="Sign the children of indexes too.")
    key: Annotated[Path | None, Option(absolute=True)] = Field(
        default=None,
        title="Key",
        description="Private key, PEM or OpenPGP, on the worker's machine. Default: ENTREPOT_SIGNING_KEY.",
    )
    identity: Annotated[str, Option(metavar="NAME")] = Field(
        default="",
        title="Identity",
        description="With an OpenPGP key: the name that clients use, `registry.example/team/app`. "
        "Default: by the registry's address.",
    )
    keyless: bool = Field(
        default=False,
        title="Keyless",
        description="Sign with an identity token: from ENTREPOT_IDENTITY_TOKEN_FILE, SIGSTORE_ID_TOKEN, or the CI system.",
    )
    trust_config: TrustConfig = None

    @field_validator("identity")
    @classmethod
    def _check_identity(cls, text: str) -> str:
        if text:
            reference = explained(parse_reference, text)
            if reference.tag or reference.digest:
                raise ValueError("an identity is a repository, without tag and digest")
        return text


class AttestRequest(BaseModel):
    """Attach a document about an image to it: an SBOM, a provenance, a report."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    source: Annotated[SelectorText, Argument("SOURCE", completes="tag")] = Field(
        title="Source", description="Content to attest: `NAME:TAG` or `NAME@DIGEST`."
    )
    document: Annotated[Path, Argument("FILE", absolute=True)] = Field(
        title="Document", description="JSON document on the worker's machine: an SBOM, a provenance or a report."
    )
    type: Annotated[str, Option(metavar="TYPE")] = Field(
        default="spdxjson",
        min_length=1,
        title="Type",
        description=f"Predicate type: {', '.join(PREDICATE_TYPES)}, or the URI of another.",
    )
    signed: Annotated[bool, Option("--signed/--unsigned")] = Field(
        default=True, title="Signed", description="Attach a signed in-toto attestation, or the document as it is."
    )
    key: Annotated[Path | None, Option(absolute=True)] = Field(
        default=None,
        title="Key",
        description="Private key in PEM on the worker's machine. Default: ENTREPOT_SIGNING_KEY.",
    )


class VerifyRequest(BaseModel):
    """Verify that content is signed by a key or an identity. The form of a command; there is no such flow."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    source: Annotated[SelectorText, Argument("SOURCE", completes="tag")] = Field(
        title="Source", description="Content to verify: `NAME:TAG`, `NAME@DIGEST`, or `NAME` with filters."
    )
    include: Include = ()
    exclude: Exclude = ()
    key: Path | None = Field(default=None, title="Key", description="Public key that must have signed, PEM or OpenPGP.")
    identity: Annotated[str, Option(metavar="NAME")] = Field(
        default="", title="Identity", description="Identity that must have signed keyless."
    )
    issuer: Annotated[str, Option(metavar="URL")] = Field(
        default="", title="Issuer", description="OIDC issuer of the signing identity."
    )
    trust_config: TrustConfig = None

    @model_validator(mode="after")
    def _check_by(self) -> "VerifyRequest":
        if bool(self.key) == bool(self.identity) or bool(self.identity) != bool(self.issuer):
            raise misfit("expected {key}, or {identity} and {issuer}")
        return self


def read_signer(settings: Settings, key: Path | None) -> Signer:
    """Load the PEM key of a request, or that of the settings; raise KeyInvalid that says what to do."""
    signer = read_any_signer(settings, key)
    if isinstance(signer, PgpSigner):
        raise KeyInvalid(
            f"{key or settings.signing_key} is an OpenPGP key, which makes Atomic signatures only; give one in PEM"
        )
    return signer


def read_any_signer(settings: Settings, key: Path | None) -> Signer | PgpSigner:
    """Load the key of a request, or that of the settings; raise KeyInvalid that says what to do."""
    file = key or settings.signing_key
    if file is None:
        raise KeyInvalid("no key to sign with: give --key FILE, or set ENTREPOT_SIGNING_KEY")
    password = settings.signing_password.get_secret_value() if settings.signing_password else None
    try:
        pem = read_allowed(settings, key, "key") if key else file.expanduser().read_bytes()
    except OSError as error:
        raise KeyInvalid(f"the key {file} cannot be read: {error.strerror}") from None
    if is_pgp(pem):
        return load_pgp_signer(pem, password, where=str(file))
    return load_signer(pem, password or os.environ.get("COSIGN_PASSWORD"), where=str(file))


def read_trust(settings: Settings, file: Path | None) -> "ClientTrustConfig":
    """Read the trust configuration of a request, or that of the settings; raise KeyInvalid, RemoteError."""
    from oci.signing.keyless import load_trust

    own = settings.sigstore_trust_config
    if file is None and own is None:
        return load_trust(None, where="the public sigstore")
    try:
        text = (
            read_allowed(settings, file, "trust configuration") if file else cast("Path", own).expanduser().read_bytes()
        )
        return load_trust(text.decode(), where=str(file or own))
    except OSError as error:
        raise KeyInvalid(f"the trust configuration {file or own} cannot be read: {error.strerror}") from None


def read_identity_token(settings: Settings) -> str:
    """Return the OIDC token to sign by; raise KeyInvalid that says where it was looked for."""
    if settings.identity_token_file is not None:
        try:
            return settings.identity_token_file.expanduser().read_text().strip()
        except OSError as error:
            raise KeyInvalid(f"ENTREPOT_IDENTITY_TOKEN_FILE cannot be read: {error.strerror}") from None
    found = os.environ.get("SIGSTORE_ID_TOKEN")
    if not found:
        from sigstore.oidc import detect_credential

        found = detect_credential()
    if not found:
        raise KeyInvalid(
            "no identity token: set ENTREPOT_IDENTITY_TOKEN_FILE or SIGSTORE_ID_TOKEN, or run in a CI that gives one"
        )
    return found

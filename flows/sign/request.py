"""The forms of signing and attesting; keys and tokens that they name."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator

from catalog.parsed_text import explained
from catalog.settings import Settings
from catalog.work_roots import read_allowed
from flows.forms.fields import SelectorText
from flows.forms.parameters import Argument, Option
from flows.forms.shared_fields import Exclude, Include, SigningKeyText, TrustConfig
from oci.reference import parse_reference
from oci.signing.cosign import SignatureForm
from oci.signing.keys import KeyInvalid

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
    key: SigningKeyText = Field(
        default=None,
        title="Key",
        description="Private key, PEM or OpenPGP, on the worker's machine, or the URI of a signer. "
        "Default: ENTREPOT_SIGNING_KEY.",
    )
    form: SignatureForm = Field(
        default="both",
        title="Form",
        description="How a PEM key signs: `bundle` for cosign 3, `tags` for cosign 2, or `both`.",
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
    key: SigningKeyText = Field(
        default=None,
        title="Key",
        description="Private key in PEM on the worker's machine, or the URI of a signer. Default: ENTREPOT_SIGNING_KEY.",
    )
    form: SignatureForm = Field(
        default="bundle",
        title="Form",
        description="How the attestation is attached: `bundle` for cosign 3, `tags` for cosign 2, or `both`.",
    )
    keyless: bool = Field(
        default=False,
        title="Keyless",
        description="Sign with an identity token: from ENTREPOT_IDENTITY_TOKEN_FILE, SIGSTORE_ID_TOKEN, or the CI system.",
    )
    trust_config: TrustConfig = None


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

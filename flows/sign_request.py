"""What signing, attesting and verifying are asked to do: the parameters of the flows."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from catalog.curation import Pick
from catalog.settings import Settings
from flows.request_fields import PATTERNS, Pattern, checked, explained
from oci.reference import parse_reference
from oci.signing.keys import KeyInvalid, Signer, load_signer
from oci.signing.pgp import PgpSigner, is_pgp, load_pgp_signer

PickText = Annotated[str, AfterValidator(checked(Pick.parse))]
PREDICATE_TYPES = {
    "spdxjson": "https://spdx.dev/Document",
    "cyclonedx": "https://cyclonedx.org/bom",
    "slsaprovenance1": "https://slsa.dev/provenance/v1",
    "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
}


class SignRequest(BaseModel):
    """Sign manifests of a repository with a key, so that cosign verifies them. The key stays in its file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    source: PickText = Field(
        title="Source", description="`NAME` (its tags, by the filters), `NAME:TAG` or `NAME@DIGEST`."
    )
    include: tuple[Pattern, ...] = Field(default=(), title="Include", description=f"Tags to sign. {PATTERNS}")
    exclude: tuple[Pattern, ...] = Field(default=(), title="Exclude", description="Tags to leave out, as patterns.")
    recursive: bool = Field(default=False, title="Recursive", description="Sign the children of indexes too.")
    key: Path | None = Field(
        default=None,
        title="Key",
        description="File on the worker's machine, PEM for signatures as cosign makes them, OpenPGP for Atomic ones; "
        "empty: ENTREPOT_SIGNING_KEY.",
    )
    identity: str = Field(
        default="",
        title="Identity",
        description="With an OpenPGP key: what clients call the repository, `registry.example/team/app`; empty: by the "
        "address that the registry listens on.",
    )

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

    source: PickText = Field(title="Source", description="`NAME:TAG` or `NAME@DIGEST`.")
    document: Path = Field(title="Document", description="A JSON file on the worker's machine.")
    type: str = Field(
        default="spdxjson",
        min_length=1,
        title="Type",
        description=f"One of {', '.join(PREDICATE_TYPES)}, or the URI of another predicate.",
    )
    signed: bool = Field(
        default=True, title="Signed", description="As a signed in-toto attestation; else an SBOM as it is."
    )
    key: Path | None = Field(
        default=None, title="Key", description="PEM file on the worker's machine; empty: ENTREPOT_SIGNING_KEY."
    )


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
        pem = file.expanduser().read_bytes()
    except OSError as error:
        raise KeyInvalid(f"the key {file} cannot be read: {error.strerror}") from None
    if is_pgp(pem):
        return load_pgp_signer(pem, password, where=str(file))
    return load_signer(pem, password or os.environ.get("COSIGN_PASSWORD"), where=str(file))

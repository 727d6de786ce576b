"""Whole fields that several forms have: title, text and option, declared once."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from catalog.blobs.origins import Policy
from catalog.parsed_text import checked, text_of_path
from flows.forms.fields import CompanionText, DurationField, TagPatternField
from flows.forms.order import FromBlock
from flows.forms.parameters import Metavar, Option, Switch
from flows.forms.shapes import DIGEST_OR_NOTHING, SIGNER, Shape
from oci.digest import Digest
from oci.signing.signers.addresses import parse_signer

DryRun = Annotated[bool, Field(title="Dry run", description="Report what would change, and change nothing.")]

Expect = Annotated[
    str,
    AfterValidator(lambda text: text and checked(Digest.parse)(text)),
    Shape(DIGEST_OR_NOTHING),
    Metavar("PLAN"),
    Field(title="Expect", description="Commit only if the plan is the one that a dry run has reported."),
]
"""The digest of a plan, as a dry run reports it; empty: any plan."""

Include = Annotated[
    tuple[TagPatternField, ...],
    Field(
        title="Include",
        description="Select these tags: a glob, `re:REGEX`, `semver:RANGE` or a digest. Default: every tag. Repeatable.",
    ),
]

Exclude = Annotated[
    tuple[TagPatternField, ...],
    Field(title="Exclude", description="Exclude these tags, by the same patterns; takes precedence. Repeatable."),
]

Companions = Annotated[
    tuple[CompanionText, ...],
    Switch("--no-companions", (), "Copy no signatures, SBOMs and attestations."),
    Field(
        title="Companions",
        description="Copy these companions of images: `signature`, `attestation`, `sbom`, or globs of artifact types. "
        "Default: all. Repeatable.",
    ),
]

DownloadPolicy = Annotated[
    Policy | None,
    Option("--policy"),
    Field(
        title="Download policy",
        description="Copy layers now (`immediate`), on the first pull (`on_demand`), or on each pull without keeping them "
        "(`streamed`). Default: the remote's policy, else `immediate`.",
    ),
]

SigningKeyText = Annotated[
    Annotated[
        str, BeforeValidator(text_of_path), AfterValidator(checked(parse_signer)), Shape(SIGNER, ("release.key",))
    ]
    | None,
    Option(metavar="KEY", absolute=True),
    FromBlock("entrepot-signing-key"),
]
"""A path of a private key, or the URI of a signer; it holds no secret."""

Logins = Annotated[
    Path | None,
    Option(absolute=True),
    FromBlock("entrepot-upstream-login"),
    Field(
        title="Logins",
        description="File of logins on the worker's machine, as podman writes it. Default: where podman and docker keep them.",
    ),
]

TrustConfig = Annotated[
    Path | None,
    Option(absolute=True),
    Field(
        title="Trust configuration",
        description="Trust configuration of a private sigstore. "
        "Default: ENTREPOT_SIGSTORE_TRUST_CONFIG, else the public sigstore.",
    ),
]

KeepRecent = Annotated[
    DurationField, Field(title="Keep", description="Keep layers that were fetched or pulled within this time.")
]

CheckUpstream = Annotated[
    bool,
    Option("--check/--no-check"),
    Field(title="Check", description="Ask the upstream for each layer, and keep what it no longer has."),
]

TimeLimit = Annotated[
    DurationField,
    Field(title="Time limit", description="End after this time; the next run continues there. `0`: no limit."),
]

TrustPolicyName = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9._-]{0,63})?$"), Metavar("POLICY")]
"""The name of a trust policy; empty: none."""

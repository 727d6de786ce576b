"""Whole fields that several forms have: title, text and option, declared once."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from catalog.blobs.origins import Policy
from flows.forms.fields import CompanionText, DurationField, TagPatternField
from flows.forms.parameters import Option, Switch

DryRun = Annotated[bool, Field(title="Dry run", description="Report what would change, and change nothing.")]

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

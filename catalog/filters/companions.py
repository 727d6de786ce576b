"""Companions: what belongs to an image without being in it, by cosign's tags or as a referrer, and which of them are selected."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from oci.digest import Digest
from oci.kinds import ATOMIC_SIGNATURE

_TYPES_BY_END: Mapping[str, str] = {
    "": "",
    ".sig": "application/vnd.dev.cosign.artifact.sig.v1+json",
    ".att": "application/vnd.dev.cosign.artifact.att.v1+json",
    ".sbom": "application/vnd.dev.cosign.artifact.sbom.v1+json",
}
"""What cosign's tags for a digest, `sha256-….sig`, end with, and the type of what they hold. Without an end it is the fallback
tag of the referrers API, whatever it lists. Source: cosign, "Tag-based discovery"; distribution-spec, "Referrers Tag Schema"."""

COMPANION_TAGS = f"re:sha(256|512)-[0-9a-f]+({'|'.join(end.replace('.', '[.]') for end in _TYPES_BY_END if end)})?"
"""All such tags, as a pattern of the filter language."""


def is_companion_tag(tag: str) -> bool:
    """Return whether a tag's name says that it holds companions of a manifest."""
    return tag.startswith("sha") and re.fullmatch(COMPANION_TAGS.removeprefix("re:"), tag) is not None


WORDS: Mapping[str, Sequence[str]] = {
    "signature": (
        "application/vnd.dev.cosign.artifact.sig*",
        "application/vnd.dev.cosign.simplesigning*",
        "application/vnd.dev.sigstore.bundle*",
        "application/vnd.cncf.notary.signature",
        ATOMIC_SIGNATURE,
    ),
    "attestation": (
        "application/vnd.dev.cosign.artifact.att*",
        "application/vnd.dev.sigstore.bundle*",
        "application/vnd.in-toto*",
        "application/vnd.dsse.envelope*",
    ),
    "sbom": (
        "application/vnd.dev.cosign.artifact.sbom*",
        "application/spdx*",
        "text/spdx*",
        "application/vnd.cyclonedx*",
        "application/vnd.syft*",
    ),
}
"""Words that stand for several artifact types. A sigstore bundle may be either of two things, and its type does not say which."""

SIGNATURE_TYPES = (
    "application/vnd.dev.cosign.artifact.sig*",
    "application/vnd.cncf.notary.signature",
    "application/vnd.entrepot.atomic-signature*",
)
"""Artifact types, as globs, of what is a signature and nothing else."""


@dataclass(frozen=True, slots=True)
class CompanionFilter:
    """Selects the companions to copy: those whose artifact type fits a glob, or one of the WORDS; without patterns, none."""

    patterns: tuple[str, ...] = ("*",)

    def selects(self, artifact_type: str) -> bool:
        """Return whether a referrer of this type is selected."""
        globs = (glob for pattern in self.patterns for glob in WORDS.get(pattern, (pattern,)))
        return any(fnmatchcase(artifact_type, glob) for glob in globs)

    def tags_of(self, digest: Digest) -> tuple[str, ...]:
        """Return the tags that may hold selected companions of a manifest."""
        if not self.patterns:
            return ()
        name = f"{digest.algorithm}-{digest.encoded}"
        return tuple(f"{name[:128]}{end}" for end, kind in _TYPES_BY_END.items() if not end or self.selects(kind))

"""What one path serves through the gates: a version in memory, why the rest is refused, and warnings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from catalog.gates.verdicts import Refusal
from catalog.units import format_time
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import PullRefused
from registry_api.http.messages import Headers, warning_value


@dataclass(frozen=True, slots=True)
class PullView:
    """What is served until `until`, as long as the version and the rules are the same.

    `snapshot` holds what passes alone; `base` is the version without the gates. Tags of `stepped_back` resolve to an earlier
    digest. `serial` tells views apart.
    """

    base: Snapshot
    snapshot: Snapshot
    serial: int
    until: datetime
    refused: Mapping[Digest, Refusal] = field(default_factory=dict)
    refused_tags: Mapping[str, tuple[Digest, Refusal]] = field(default_factory=dict)
    refused_blobs: Mapping[Digest, Digest] = field(default_factory=dict)
    stepped_back: Mapping[str, tuple[Digest, Refusal]] = field(default_factory=dict)
    warnings: Mapping[Digest, Headers] = field(default_factory=dict)

    def check(self, reference: str) -> None:
        """Raise PullRefused for a tag or digest that may not be pulled now."""
        if ":" not in reference:
            if reference in self.refused_tags:
                raise refusal_error(*self.refused_tags[reference], tag=reference)
            return
        digest = Digest(reference)
        if digest in self.base.manifests and digest not in self.snapshot.manifests:
            raise refusal_error(digest, self.refused[digest])

    def check_blob(self, digest: Digest) -> None:
        """Raise PullRefused for a blob that only manifests name which may not be pulled now."""
        parent = self.refused_blobs.get(digest)
        if parent is not None and digest not in self.snapshot.blobs:
            raise refusal_error(parent, self.refused[parent])

    def headers_of(self, reference: str, digest: Digest) -> Headers:
        """Return the Warning headers of a response with a manifest."""
        found = list(self.warnings.get(digest, ()))
        if reference in self.stepped_back:
            newest, refusal = self.stepped_back[reference]
            found.append(warning_header(f"tag {reference} is at {digest} here, since {newest} {refusal.reason}"))
        return found


def refusal_error(digest: Digest, refusal: Refusal, *, tag: str = "") -> PullRefused:
    """Return the error that says why a manifest may not be pulled."""
    until = format_time(refusal.until) if refusal.until is not None else None
    about = f"tag {tag}: {digest}" if tag else str(digest)
    return PullRefused(
        f"{about} {refusal.reason}", detail={"digest": str(digest), "reason": refusal.reason, "until": until}
    )


def warning_header(text: str) -> tuple[bytes, bytes]:
    """Return a Warning header."""
    return b"warning", warning_value(text).encode()

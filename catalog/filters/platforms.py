"""The filter by platform: which children of an index are selected."""

from collections.abc import Sequence
from dataclasses import dataclass

from oci.descriptor import Descriptor
from oci.errors import InvalidInput
from oci.manifest import Manifest
from oci.platform import Platform

_ATTESTED = "vnd.docker.reference.digest"
"""The annotation by which BuildKit says which image of the same index an attestation manifest is about."""

Part = tuple[str, Descriptor]
"""A part of a manifest with its role."""


@dataclass(frozen=True, slots=True)
class PlatformFilter:
    """Selects children of an index by platform; all, if it names none. The index itself keeps its bytes and digest."""

    wanted: tuple[Platform, ...] = ()

    def children(self, manifest: Manifest) -> Sequence[Part]:
        """Return a manifest's parts by role, without an index's children of other platforms.

        Children that name no platform stay; attestations stay with the image they are about.
        """
        parts = list(manifest.children())
        if not self.wanted or not manifest.is_index:
            return parts
        unwanted = {child.digest for _role, child in parts if not self._is_wanted(child)}
        return [
            (role, child)
            for role, child in parts
            if child.digest not in unwanted and child.annotations.get(_ATTESTED) not in unwanted
        ]

    def children_of_some(self, manifest: Manifest) -> Sequence[Part]:
        """Return as `children` does; raise InvalidInput for an index that names platforms, none of them selected."""
        kept = self.children(manifest)
        there = sorted({str(child.platform) for _role, child in manifest.children() if _names_platform(child)})
        if self.wanted and manifest.is_index and there and not any(_names_platform(child) for _role, child in kept):
            raise InvalidInput(f"has none of {', '.join(map(str, self.wanted))}; it has {', '.join(there)}")
        return kept

    def _is_wanted(self, child: Descriptor) -> bool:
        platform = child.platform
        if platform is None or not _names_platform(child):
            return True
        return any(platform.matches(wanted) for wanted in self.wanted)


def _names_platform(child: Descriptor) -> bool:
    return child.platform is not None and child.platform.os not in ("", "unknown")

"""Evidence about a manifest that is being pushed: what its repository holds already."""

from catalog.policy.evidence import EvidenceSource
from oci.digest import Digest
from oci.manifest import Manifest


class PushedSource:
    """A version, with a manifest that is not in it yet."""

    def __init__(self, base: EvidenceSource, manifest: Manifest) -> None:
        self._base, self._manifest, self.repository = base, manifest, base.repository

    def tag(self, name: str) -> Digest | None:
        """Return what a tag of the version points to."""
        return self._base.tag(name)

    def referrers(self, digest: Digest) -> tuple[Digest, ...]:
        """Return the manifests of the version that name this one as subject."""
        return self._base.referrers(digest)

    def manifest(self, digest: Digest) -> Manifest:
        """Return the pushed manifest, or one of the version; raise EntrepotError."""
        return self._manifest if digest == self._manifest.digest else self._base.manifest(digest)

    def blob(self, digest: Digest) -> bytes:
        """Return a blob that the repository may use; raise EntrepotError."""
        return self._base.blob(digest)

    def parents(self, digest: Digest) -> tuple[Digest, ...]:
        """Return the indexes of the version that list a manifest."""
        return self._base.parents(digest)

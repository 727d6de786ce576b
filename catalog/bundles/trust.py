"""Trust policies where content leaves and comes by bundles: what they refuse is left out, and the rest goes on.

1. An export asks the gates of the repository and of the paths that serve it, as a pull would, about each tag.
2. An import asks those of the repository that it comes to, by the signatures in the bundle, and never over the network: where a
   policy names certificates, the trust configuration is a file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from catalog.bundles.format import BundledVersion, BundleInvalid, Contents, blob_path
from catalog.catalog import Catalog
from catalog.content.curation import Curation, collect_parts
from catalog.filters.platforms import PlatformFilter
from catalog.policy.evidence import MAX_ITEM
from catalog.policy.gate_rules import GatedName, GatePoint
from catalog.policy.trust_roots import TrustCache, read_local_trust
from catalog.policy.version_source import VersionSource
from catalog.policy_gates.decisions import PolicyGates
from catalog.policy_gates.operations import JudgedContent, gates_at, judge_content, judged_items, leave_out
from catalog.versions.snapshot import Snapshot
from oci import mediatypes
from oci.digest import Digest
from oci.errors import Conflict, EntrepotError, StorageCorrupt
from oci.manifest import Manifest, parse_manifest, required_blobs

ReadFile = Callable[[str, int], bytes]
"""Returns a file of a bundle by its name, whole; raises BundleInvalid where it is not there or is longer than so many bytes."""


def gates_of_bundle(
    catalog: Catalog, point: GatePoint, repository: str, policy: str, now: datetime
) -> tuple[GatedName, ...]:
    """Return what an export or import of a repository asks; raise PolicyUnknown."""
    paths = [one.path for one in catalog.distributions.serving(repository)]
    return gates_at(catalog.policies, point, repository, paths, policy=policy, now=now)


def judge_export(
    catalog: Catalog, source: Snapshot, chosen: Snapshot, *, policy: str, now: datetime
) -> tuple[Snapshot, JudgedContent]:
    """Return what of a version may leave, and what gates say; raise PolicyUnknown."""
    gates = gates_of_bundle(catalog, "export", source.repository, policy, now)
    if not gates:
        return chosen, JudgedContent()
    children = catalog.history.children(source.repository, chosen.manifests) if chosen.manifests else {}
    asked = PolicyGates(catalog.policies, catalog.history.children)
    judged = judge_content(asked, gates, catalog.policies.source(source), source, judged_items(chosen, children), now)
    return leave_out(chosen, judged.refused, children), judged


@dataclass(frozen=True, slots=True)
class JudgedImport:
    """What may come of a bundled version, and what gates say of `items`; None where no gate is asked."""

    wanted: Snapshot
    judged: JudgedContent = field(default_factory=JudgedContent)
    items: Mapping[str, Digest] | None = None
    children: Mapping[Digest, tuple[Digest, ...]] = field(default_factory=dict)

    def towards(self, catalog: Catalog, latest: Snapshot) -> Snapshot:
        """Return the state to import into a version: tags that are refused stay as they are there. Raise Conflict.

        It raises where something would come that was not judged, since it was there then.
        """
        if self.items is None:
            return self.wanted
        left = judged_items(self.wanted, self.children, latest)
        if left.keys() - self.items.keys():
            raise Conflict(
                f"{latest.repository} was changed meanwhile: policies were not asked about all; run this again"
            )
        stay = {tag: latest.tags[tag] for tag in self.judged.refused if tag in latest.tags}
        if not stay:
            return self.wanted
        here = Curation(tags=dict(stay))
        collect_parts(catalog, latest, list(stay.values()), here, PlatformFilter())
        return replace(
            self.wanted,
            tags={**here.tags, **self.wanted.tags},
            manifests={**here.manifests, **self.wanted.manifests},
        )


def judge_import(
    catalog: Catalog,
    one: BundledVersion,
    contents: Contents,
    *,
    policy: str,
    now: datetime,
    read: ReadFile | None = None,
) -> JudgedImport:
    """Return what may come of a bundled version; raise PolicyUnknown.

    Content is read from the store, where it was staged; with `read` from the bundle.
    """
    wanted = one.as_snapshot()
    latest = catalog.snapshots.find(one.repository) or Snapshot(one.repository, 0)
    gates = gates_of_bundle(catalog, "import", one.repository, policy, now)
    if not gates:
        return JudgedImport(wanted)
    source = BundleSource(catalog, _with_usable(catalog, wanted, contents, latest), contents, read)
    items = judged_items(wanted, source.children, latest)
    trust = TrustCache(lambda: read_local_trust(catalog.settings))
    asked = PolicyGates(catalog.policies, catalog.history.children, trust=trust)
    judged = judge_content(asked, gates, source, wanted, items, now)
    return JudgedImport(leave_out(wanted, judged.refused, source.children), judged, items, source.children)


class BundleSource(VersionSource):
    """Evidence out of a bundled version: of its own content alone, staged in the store or read from the bundle.

    What a differential bundle leaves out is the repository's, as the snapshot says.
    """

    def __init__(self, catalog: Catalog, version: Snapshot, contents: Contents, read: ReadFile | None) -> None:
        super().__init__(
            version, catalog.manifests, catalog.rights, lambda _: self.children, catalog.history.first_seen
        )
        self._contents, self._read = contents, read
        self.children: dict[Digest, tuple[Digest, ...]] = {
            digest: self._listed(digest)
            for digest, entry in version.manifests.items()
            if entry.media_type in mediatypes.INDEXES
        }
        """What each index lists."""

    def manifest(self, digest: Digest) -> Manifest:
        """Return a manifest of the version; raise EntrepotError."""
        entry = self.snapshot.manifests.get(digest)
        if self._read is None or entry is None or digest not in self._contents.blobs:
            return super().manifest(digest)
        return parse_manifest(self._bytes(digest), entry.media_type, algorithm=digest.algorithm)

    def blob(self, digest: Digest) -> bytes:
        """Return a small blob; raise EntrepotError."""
        if self._read is None or digest not in self._contents.blobs:
            return super().blob(digest)
        return self._bytes(digest)

    def _bytes(self, digest: Digest) -> bytes:
        assert self._read is not None
        if self._contents.blobs[digest] > MAX_ITEM:
            raise BundleInvalid(f"blob {digest} has more than {MAX_ITEM} bytes")
        found = self._read(blob_path(digest), MAX_ITEM)
        if Digest.of(found, digest.algorithm) != digest:
            raise StorageCorrupt(f"blob {digest} is damaged in the bundle")
        return found

    def _listed(self, digest: Digest) -> tuple[Digest, ...]:
        try:
            return tuple(part.digest for part in self.manifest(digest).manifests)
        except EntrepotError:
            return ()


def _with_usable(catalog: Catalog, wanted: Snapshot, contents: Contents, latest: Snapshot) -> Snapshot:
    """Return a bundled version with the blobs that the repository may use though the bundle leaves them out."""
    blobs = {digest: size for digest, size in latest.blobs.items() if digest not in latest.deferred}
    left_out = [one for one in wanted.manifests if one not in contents.blobs and one not in latest.manifests]
    needed: set[Digest] = set()
    for digest in left_out:
        manifest = catalog.manifests.read(digest, wanted.manifests[digest].media_type)
        needed |= {blob.digest for blob in required_blobs(manifest)}
    if asked := needed - blobs.keys():
        offers = catalog.offers.blobs((wanted.repository,), asked)
        blobs |= {digest: offer.size for digest, offer in offers.items() if offer.is_received}
    return replace(wanted, blobs=blobs)

"""What repositories here have of blobs, for operations between them: curation, promotion, restoring, importing."""

from collections.abc import Collection, Mapping

from catalog.blobs.content_store import ContentStore
from catalog.blobs.origins import Origin, Policy
from catalog.lake.connection import Lake
from catalog.lake.reading import listed
from catalog.versions.needed_blobs import Offer
from oci.digest import Digest

_HELD = """
SELECT repository, digest, max(size) FROM records WHERE kind = 'blob' AND action = 'add'
    AND repository IN (SELECT unnest(string_split(?, ' '))) AND digest IN (SELECT unnest(string_split(?, ' ')))
GROUP BY repository, digest ORDER BY repository, digest"""

_LEFT = """
SELECT repository, digest, remote, policy FROM sources
WHERE repository IN (SELECT unnest(string_split(?, ' '))) AND digest IN (SELECT unnest(string_split(?, ' ')))
GROUP BY ALL ORDER BY max(created_at) DESC"""


class Offers:
    """Reads what versions of any age have; usable from any thread."""

    def __init__(self, lake: Lake, content: ContentStore) -> None:
        self._lake, self._content = lake, content

    def blobs(self, repositories: Collection[str], digests: Collection[Digest]) -> Mapping[Digest, Offer]:
        """Return what the repositories have of the blobs; two queries."""
        asked = [listed(sorted(repositories)), listed(sorted(digests))]
        left: dict[tuple[str, str], list[Origin]] = {}
        for name, digest, remote, policy in self._lake.read(_LEFT, asked):
            left.setdefault((str(name), str(digest)), []).append(Origin(str(remote), _policy(policy)))
        offers: dict[Digest, Offer] = {}
        for name, text, size in self._lake.read(_HELD, asked):
            digest = Digest(str(text))
            origins = left.get((str(name), str(text)), [])
            offer = _offer(self._content, str(name), digest, int(str(size)), origins)
            if offer is not None:
                offers[digest] = _better(offers.get(digest), offer)
        return offers

    def parents(self, repository: str, digest: Digest) -> set[Digest]:
        """The manifests of a repository, of any version, that name a blob; one query."""
        rows = self._lake.read(
            "SELECT DISTINCT parent FROM descriptors WHERE repository = ? AND digest = ?", [repository, digest]
        )
        return {Digest(str(row[0])) for row in rows}

    def manifests(self, repository: str, digests: Collection[Digest]) -> set[Digest]:
        """Those of the manifests that versions of a repository have; one query."""
        rows = self._lake.read(
            "SELECT DISTINCT digest FROM records WHERE repository = ? AND kind = 'manifest' AND action = 'add' "
            "AND digest IN (SELECT unnest(string_split(?, ' ')))",
            [repository, listed(sorted(digests))],
        )
        return {Digest(str(row[0])) for row in rows}


def _offer(content: ContentStore, name: str, digest: Digest, size: int, origins: list[Origin]) -> Offer | None:
    """Return what one repository has; None where it has received the bytes, and they were lost."""
    held = content.size(digest)
    if not origins:
        return None if held is None else Offer(held, is_received=True)
    if held is not None and content.linked(name, digest):
        return Offer(held, is_received=True, origins=tuple(origins))
    return Offer(size, is_received=False, origins=tuple(origins))


def _better(one: Offer | None, other: Offer) -> Offer:
    if one is None:
        return other
    return one if (one.is_received, not one.origins) >= (other.is_received, not other.origins) else other


def _policy(text: object) -> Policy:
    return "streamed" if text == "streamed" else "on_demand"

"""Which repositories have a right to what was fetched on demand before rights were kept: done once, when a home is first opened.

Older releases took the digest alone for a right, so that a repository may name what only others have received. A blob stays
usable where nobody can be robbed by it: when no other repository has it, when all that have it got it from the same upstream
repository, or when one on a public path has it. In all other cases a repository's own source is asked once more, with the next
pull.
"""

from collections import defaultdict

from catalog.blobs.index import BlobIndex
from catalog.distributions.records import Distributions
from catalog.lake.connection import Lake
from oci.digest import Digest

_MARK = "rights.granted"

_HOLDERS = """
SELECT records.repository, records.digest, string_agg(DISTINCT remote, ' ' ORDER BY remote)
FROM records LEFT JOIN sources ON sources.repository = records.repository AND sources.digest = records.digest
WHERE kind = 'blob' AND action = 'add' AND records.digest IN (SELECT digest FROM sources)
GROUP BY records.repository, records.digest"""


def grant_rights_of_older_releases(lake: Lake, blob_index: BlobIndex, distributions: Distributions) -> None:
    """Lease to repositories what they may go on using; idempotent, and nothing after the first time."""
    if blob_index.mark(_MARK) is not None:
        return
    holders: dict[str, dict[str, str]] = defaultdict(dict)
    for repository, digest, remotes in lake.read(_HOLDERS):
        holders[str(digest)][str(repository)] = str(remotes or "")
    granted = [
        (repository, Digest(digest))
        for digest, found in holders.items()
        if blob_index.size(digest) is not None
        and _is_harmless(found, blob_index.repositories_of(digest), distributions)
        for repository, remotes in found.items()
        if remotes
    ]
    blob_index.grant(granted)
    blob_index.set_mark(_MARK, 1.0)


def _is_harmless(found: dict[str, str], leased: set[str], distributions: Distributions) -> bool:
    """Return whether all that name a blob may have it; `found` has by repository the upstreams it was left at, none where
    received."""
    if len(found.keys() | leased) == 1:
        return True
    public = {name for name in found if any(not one.private for one in distributions.serving(name))}
    if any(not found[name] for name in public) or public == found.keys() | leased:
        return True
    return leased <= found.keys() and len(set(found.values())) == 1 and "" not in found.values()

"""The facts of manifests that the catalogue holds."""

from collections.abc import Collection, Mapping, Sequence
from typing import cast

from catalog.filters.facts import Facts, facts_of, is_attestation, is_signature, with_children
from catalog.lake.reading import Readable, listed
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.kinds import signature_tag

_FACTS = """
WITH RECURSIVE own AS MATERIALIZED (
    SELECT digest, kind, artifact_type, created, labels, annotations,
        list_filter(children, lambda child: child.role = 'manifest') AS children
    FROM manifests WHERE repository = ?
), wanted(digest) AS (
    SELECT unnest(string_split(?, ' '))
    UNION
    SELECT unnest(list_transform(own.children, lambda child: child.digest)) FROM own JOIN wanted USING (digest)
)
SELECT own.* FROM own JOIN wanted USING (digest)"""
MAX_DEPTH = 16
"""How deep indexes are looked into, as deep as any copy goes."""


def read_facts(lake: Readable, snapshot: Snapshot, digests: Collection[Digest]) -> dict[Digest, Facts]:
    """The facts of these manifests of a version, by one query; those that the version does not hold are left out.

    Of an index those children count that the version holds.
    """
    wanted = [digest for digest in digests if digest in snapshot.manifests]
    signing = [referrer for digest in wanted for referrer in snapshot.referrers.get(digest, ())]
    if not wanted:
        return {}
    asked = listed({*wanted, *signing})
    rows = lake.read(_FACTS, [snapshot.repository, asked])
    family = _Family(snapshot, {Digest(row[0]): row for row in rows})
    return {digest: family.facts(digest) for digest in wanted}


class _Family:
    """Puts the rows of manifests, their children and what refers to them together."""

    def __init__(self, snapshot: Snapshot, rows: Mapping[Digest, Sequence[object]]) -> None:
        self._snapshot, self._rows = snapshot, rows
        self._known: dict[Digest, Facts] = {}

    def facts(self, digest: Digest, depth: int = 0) -> Facts:
        if digest not in self._known:
            _digest, kind, artifact_type, created, labels, annotations, children = self._rows[digest]
            own = facts_of(
                digest,
                kind=str(kind),
                artifact_type=str(artifact_type or ""),
                created=str(created or ""),
                labels=cast("Mapping[str, str]", labels),
                annotations=cast("Mapping[str, str]", annotations),
                signed=self._is_signed(digest),
            )
            parts = cast("Sequence[Mapping[str, str]]", children or ()) if depth < MAX_DEPTH else ()
            held = [Digest(part["digest"]) for part in parts if not is_attestation(part["platform"])]
            some = [self.facts(part, depth + 1) for part in held if part in self._snapshot.manifests]
            self._known[digest] = with_children(own, some)
        return self._known[digest]

    def _is_signed(self, digest: Digest) -> bool:
        if signature_tag(digest) in self._snapshot.tags:
            return True
        rows = (self._rows[referrer] for referrer in self._snapshot.referrers.get(digest, ()))
        return any(is_signature(str(row[1]), str(row[2] or "")) for row in rows)

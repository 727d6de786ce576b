"""Trust policies in a sync: what has been copied is verified before it is committed, by the signatures copied with it.

1. Each tag that would be added, moved or completed is decided by the policy of the request and by the gates of the repository.
2. What a policy refuses is left out, with the reason; what is here for the tag stays, its signatures too, also in a mirror.
3. No request is sent for it: signatures are companions, which a sync copies anyway.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property

from catalog.policy.gate_rules import GatedName
from catalog.policy_gates.decisions import PolicyGates
from catalog.policy_gates.operations import gates_at, judge_content, record_findings
from flows.runs.metering import StagedManifest
from flows.runs.plan_items import COPIED
from flows.sync.context import SyncContext
from flows.sync.copying import Copied
from flows.sync.planning import plan_on
from oci.digest import Digest
from oci.errors import ManifestUnknown, StorageCorrupt
from oci.manifest import Manifest


class StagedSource:
    """Evidence out of what a sync has copied, and of the version that it is planned on."""

    def __init__(self, context: SyncContext, copied: Copied) -> None:
        self.repository = context.target
        self._catalog, self._base, self._staged = context.catalog, copied.planned.base, copied.content.staged
        resolved = copied.resolved
        self.tags = {
            **self._base.tags,
            **{tag: root.digest for tag, root in resolved.pointing.items() if tag not in resolved.failed},
        }
        self._children = copied.planned.children

    def tag(self, name: str) -> Digest | None:
        """Return what a tag points to once the plan is committed."""
        return self.tags.get(name)

    def referrers(self, digest: Digest) -> tuple[Digest, ...]:
        """Return the manifests that name this one as subject, copied or here."""
        return tuple(dict.fromkeys((*self._referring.get(digest, ()), *self._base.referrers.get(digest, ()))))

    def manifest(self, digest: Digest) -> Manifest:
        """Return a manifest, copied or here; raise ManifestUnknown, StorageCorrupt, ManifestInvalid."""
        staged = self._staged.get(digest)
        entry = self._base.manifests.get(digest)
        if staged is None and entry is None:
            raise ManifestUnknown(f"manifest {digest} was not copied to {self.repository}")
        media_type = staged.descriptor.media_type if staged is not None else entry.media_type if entry else ""
        return self._catalog.manifests.read(digest, media_type)

    def blob(self, digest: Digest) -> bytes:
        """Return a small blob that was copied, or that the repository may use; raise BlobUnknown, StorageCorrupt."""
        found = self._catalog.rights.read(self._base, digest)
        if Digest.of(found, digest.algorithm) != digest:
            raise StorageCorrupt(f"blob {digest} is damaged in the store; `entrepot scrub` deals with it")
        return found

    def parents(self, digest: Digest) -> tuple[Digest, ...]:
        """Return the indexes that list a manifest, copied or here."""
        copied = (
            parent for parent, one in self._staged.items() if any(part.digest == digest for part in one.manifests)
        )
        here = (
            parent for parent, parts in self._children.items() if digest in parts and parent in self._base.manifests
        )
        return tuple(sorted({*copied, *here}))

    @cached_property
    def _referring(self) -> Mapping[Digest, tuple[Digest, ...]]:
        found: dict[Digest, tuple[Digest, ...]] = {}
        for digest, one in self._staged.items():
            if one.subject:
                found[one.subject] = (*found.get(one.subject, ()), digest)
        return found


def gates_of_sync(context: SyncContext) -> tuple[GatedName, ...]:
    """Return what is asked in a sync: gates of the repository, and the policy of the request; raise PolicyUnknown."""
    catalog = context.catalog
    paths = [one.path for one in catalog.distributions.serving(context.target)]
    return gates_at(catalog.policies, "sync", context.target, paths, policy=context.request.signed_by, now=context.now)


async def verify_copied(context: SyncContext, copied: Copied) -> Copied:
    """Leave out what policies refuse; nothing is asked where there is neither a policy nor a gate."""
    gates = gates_of_sync(context)
    if not gates:
        return copied
    if context.request.dry_run:
        context.log.note("a dry run copies no signatures, so that no trust policy is asked")
        return copied
    context.progress.begin("verifying", 0)
    return await asyncio.to_thread(_verify, context, copied, gates)


def _verify(context: SyncContext, copied: Copied, gates: Iterable[GatedName]) -> Copied:
    catalog, base = context.catalog, copied.planned.base
    source = StagedSource(context, copied)
    asked = PolicyGates(catalog.policies, catalog.history.children)
    version = replace(base, tags=source.tags)  # as it will be
    items = {item.tag: item.digest for item in copied.plan.of(*COPIED) if item.digest is not None}
    judged = judge_content(asked, gates, source, version, items, context.now)
    refused = judged.refused
    for note in judged.notes:
        context.log.note(note)
    record_findings(
        catalog.events, "sync", context.target, judged.findings, actor="sync-repository", now=context.clock()
    )
    if not refused:
        return copied
    resolved = replace(copied.resolved, untrusted={**copied.resolved.untrusted, **refused})
    plan = plan_on(context, resolved, base, copied.incomplete)
    roots = [item.digest for item in plan.of(*COPIED, "unchanged") if item.digest is not None]
    staged = kept_manifests(roots, copied.content.staged)
    return replace(copied, resolved=resolved, plan=plan, content=replace(copied.content, staged=staged))


def kept_manifests(roots: Iterable[Digest], staged: Mapping[Digest, StagedManifest]) -> dict[Digest, StagedManifest]:
    """Return the copied manifests that roots are made of, and what refers to these or to others that were here. Pure."""
    referring: dict[Digest, list[Digest]] = {}
    for digest, one in staged.items():
        if one.subject:
            referring.setdefault(one.subject, []).append(digest)
    kept: dict[Digest, StagedManifest] = {}
    waiting = [*roots, *(digest for subject in referring if subject not in staged for digest in referring[subject])]
    seen: set[Digest] = set()
    while waiting:
        digest = waiting.pop()
        if digest in seen:
            continue
        seen.add(digest)
        waiting += referring.get(digest, ())
        if digest in staged:
            kept[digest] = staged[digest]
            waiting += [part.digest for part in staged[digest].manifests]
    return kept

"""Companions of copied images: what refers to them, which a registry without that API needs listed, and cosign's tags."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Sequence

from catalog.filters.companions import CompanionFilter
from flows.copy.ends import CopyTarget, resolve_if_there
from flows.copy.narrowed import NarrowedSource
from flows.runs.run_log import RunLog
from oci import mediatypes
from oci.copy import MAX_DEPTH, GraphCopier
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import RemoteCorrupt, RemoteNotFound, RemoteRefused, RemoteUnauthorized
from oci.manifest import Manifest
from oci.remote.referrers_tag import fallback_tag

MOST_REFERRERS = 10_000
"""How many referrers of one root are copied, those of referrers included."""

_LEFT_OUT = (RemoteNotFound, RemoteUnauthorized, RemoteRefused, RemoteCorrupt)
"""What one companion may meet without spoiling its image; each is a note."""


class CopiedCompanions:
    """Copies the companions of a repository's images; those of each manifest once. Use it within one event loop."""

    def __init__(
        self,
        source: NarrowedSource,
        target: CopyTarget,
        copier: GraphCopier,
        wanted: CompanionFilter,
        log: RunLog[str],
        *,
        listed: Collection[str] | None,
    ) -> None:
        self._source, self._target, self._copier, self._wanted, self._log = source, target, copier, wanted, log
        self._listed = listed
        self._looked_at: dict[Digest, asyncio.Task[Sequence[Digest]]] = {}

    async def tags_for(self, root: Descriptor) -> dict[str, Descriptor]:
        """Return cosign's tags of a manifest, of those within, and of what these tags hold, with what they point to.

        It costs no request where the source's tags were listed and none fits, else a HEAD for each that may be there.
        """
        found: dict[str, Descriptor] = {}
        if not self._wanted.patterns:
            return found
        waiting = [root]
        while waiting:
            async for manifest in self._within(waiting.pop(), 0):
                for tag in self._wanted.tags_of(manifest.digest):
                    if tag in found or tag == fallback_tag(manifest.digest):
                        continue
                    if self._listed is not None and tag not in self._listed:
                        continue
                    descriptor = await resolve_if_there(self._source, tag)
                    if descriptor is not None:
                        found[tag] = descriptor
                        waiting.append(descriptor)
        return found

    async def copy(self, root: Descriptor) -> None:
        """Copy what refers to a manifest, to those within, and to these referrers again, up to MOST_REFERRERS of them.

        Who refers to whom is a source's word, and may go in a circle: the walk counts each manifest once.
        """
        if not self._wanted.patterns:
            return
        seen = {manifest.digest: 0 async for manifest in self._within(root, 0)}
        waiting, found = deque(seen), 0
        while waiting:
            subject = waiting.popleft()
            for digest in await self._once(subject):
                if digest in seen:
                    continue
                if seen[subject] >= MAX_DEPTH or found >= MOST_REFERRERS:
                    self._note_limits(root)
                    break
                seen[digest], found = seen[subject] + 1, found + 1
                waiting.append(digest)

    def _note_limits(self, root: Descriptor) -> None:
        self._log.note(
            f"of what refers to {root.digest}, directly or not, what lies more than {MAX_DEPTH} steps away or comes after "
            f"{MOST_REFERRERS} others is left out"
        )

    async def _within(self, root: Descriptor, depth: int) -> AsyncIterator[Descriptor]:
        """Yield a manifest and those within; only indexes are read."""
        yield root
        if root.media_type in mediatypes.INDEXES and depth < MAX_DEPTH:
            for child in (await self._source.read_manifest(root)).manifests:
                if child.media_type in mediatypes.MANIFESTS:
                    async for one in self._within(child, depth + 1):
                        yield one

    async def _once(self, subject: Digest) -> Sequence[Digest]:
        """Copy the referrers of one manifest, once; whoever asks meanwhile waits. It waits for no other manifest."""
        task = self._looked_at.get(subject)
        if task is None:
            task = self._looked_at[subject] = asyncio.ensure_future(self._copy_referrers(subject))
        return await task

    async def _copy_referrers(self, subject: Digest) -> Sequence[Digest]:
        """Copy what refers to one manifest; return what is selected and was not left out."""
        referrers = await self._select(subject)
        if not referrers:
            return ()
        there = await self._target.referring(subject)
        kept: list[Digest] = []
        written: list[Manifest] = []
        for one in referrers:
            if one.digest not in there:
                manifest = await self._copy_one(one, subject)
                if manifest is None:
                    continue
                written.append(manifest)
            kept.append(one.digest)
        if written:
            await self._target.add_referrers(subject, written)
        return kept

    async def _select(self, subject: Digest) -> Sequence[Descriptor]:
        """Return the selected referrers of a manifest; none, with a note, where the source refuses to list them."""
        try:
            listed = await self._source.referrers(subject)
        except (RemoteUnauthorized, RemoteRefused, RemoteCorrupt) as error:
            self._log.note(f"what refers to manifests of {self._source.name} is left out: {error.message}")
            return ()
        if len(listed) > MOST_REFERRERS:
            self._log.note(
                f"{subject} has {len(listed)} referrers; those after the first {MOST_REFERRERS} are left out"
            )
        return [one for one in listed[:MOST_REFERRERS] if await self._is_selected(one)]

    async def _is_selected(self, referrer: Descriptor) -> bool:
        if self._wanted.selects("") or self._wanted.selects(referrer.artifact_type):
            return True
        if referrer.artifact_type:
            return False
        try:
            manifest: Manifest = await self._source.read_manifest(referrer)
        except _LEFT_OUT:
            return False
        return self._wanted.selects(manifest.artifact_type or (manifest.config.media_type if manifest.config else ""))

    async def _copy_one(self, referrer: Descriptor, subject: Digest) -> Manifest | None:
        """Return a referrer that was copied; None, with a note, for one that is left out.

        One that names no subject may be listed by a tag alone.
        """
        try:
            manifest = await self._source.read_manifest(referrer)
            if manifest.subject is not None and manifest.subject.digest != subject:
                raise RemoteCorrupt(f"it refers to {manifest.subject.digest}", registry=self._source.name)
            await self._copier.copy(referrer)
        except _LEFT_OUT as error:
            self._log.note(f"{referrer.digest}, which refers to {subject}, was left out: {error.message}")
            return None
        return manifest

"""What the conditions of a sync's filter look at, as far as upstream has to be asked for it: one step of the sync."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from catalog.filters.facts import Facts, facts_of, is_attestation, is_signature, with_children
from flows.runs.failures import each
from flows.sync.batches import Batch, Outcome, Root
from flows.sync.context import SyncContext
from oci import mediatypes
from oci.copy import MAX_DEPTH
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError, RemoteCorrupt, RemoteLeftOut, RemoteNotFound
from oci.image_config import CONFIGS, MAX_CONFIG, ImageConfig, parse_config
from oci.kinds import SIGSTORE_BUNDLE, SIGSTORE_PREDICATE, bundle_kind, kind_of, signature_tag
from oci.manifest import Manifest


async def inspect_batch(context: SyncContext, batch: Batch) -> Outcome:
    """Read the facts of the batch's roots: for each at most its manifest, its config, and what signs it.

    A root that upstream no longer has is looked up once more by its tags.
    """
    reader = FactsReader(context, batch)
    roots: Mapping[str, Root] = {root.descriptor.digest: root for root in batch.roots}
    facts: dict[Digest, Facts] = {}
    pointing: dict[str, Descriptor] = {}
    failed: dict[str, EntrepotError] = {}

    async def read(digest: str) -> None:
        root = roots[digest]
        try:
            facts[root.descriptor.digest] = await reader.read(root.descriptor)
        except RemoteNotFound as error:
            for tag in root.tags:
                now = await context.reader.resolve_again(tag, root.descriptor)
                if now.digest == root.descriptor.digest:
                    raise error from None
                facts[now.digest] = await reader.read(now)
                pointing[tag] = now
        context.progress.done += len(root.tags)

    await each(roots, read, failed)
    failed_tags = {tag: error for digest, error in failed.items() for tag in roots[digest].tags}
    return Outcome(pointing=pointing, failed=failed_tags, facts=facts, left_out=frozenset(reader.left_out))


def needs_signature(context: SyncContext, facts: Facts) -> bool:
    """Return whether a signature decides, and none is known."""
    conditions = context.filter.conditions
    return conditions.signed and not facts.signed and conditions.but_signed.judge(facts, context.now)[0]


class FactsReader:
    """Reads facts of manifests upstream; `left_out` collects children of indexes that upstream lacks."""

    def __init__(self, context: SyncContext, batch: Batch) -> None:
        self._context, self._cache, self._filter = context, context.cache, context.filter
        self._listed, self._held = batch.listed, batch.held_facts
        self.left_out = set(batch.left_out)

    async def read(self, descriptor: Descriptor) -> Facts:
        """Return what is known here, else what upstream has; signatures are looked for where nothing else decides."""
        facts = self._held.get(descriptor.digest)
        if facts is None and self._filter.asks_manifests:
            facts = await self._content(descriptor)
        facts = facts or facts_of(descriptor.digest, kind="")
        if needs_signature(self._context, facts) and await self._is_signed(descriptor.digest):
            return replace(facts, signed=True)
        return facts

    async def _content(self, descriptor: Descriptor, depth: int = 0) -> Facts:
        """Return the facts of a manifest and its config, and those of an index's children that the platforms select."""
        if depth > MAX_DEPTH:
            raise RemoteCorrupt(f"{descriptor.digest} nests indexes deeper than {MAX_DEPTH}", registry=self._cache.name)
        manifest = await self._cache.read_manifest(descriptor)
        config = await self._config(manifest)
        own = facts_of(
            manifest.digest,
            kind=kind_of(manifest, config.labels),
            artifact_type=_type_of(manifest),
            created=config.created,
            labels=config.labels,
            annotations=manifest.annotations,
        )
        children = [
            child
            for role, child in self._context.children(manifest, self.left_out)
            if role == "manifest"
            and child.media_type in mediatypes.MANIFESTS
            and not is_attestation(str(child.platform or ""))
        ]
        each_child = await asyncio.gather(*(self._content_of_child(child, depth + 1) for child in children))
        return with_children(own, [facts for facts in each_child if facts is not None])

    async def _content_of_child(self, child: Descriptor, depth: int) -> Facts | None:
        """Return the facts of a child; None where upstream lacks it."""
        try:
            return await self._content(child, depth)
        except RemoteLeftOut as error:
            if not self._context.copies_without(error):
                raise
            self.left_out.add(child.digest)
            return None

    async def _config(self, manifest: Manifest) -> ImageConfig:
        config = manifest.config
        if not self._filter.asks_configs or config is None:
            return ImageConfig()
        if config.media_type not in CONFIGS or config.size > MAX_CONFIG:
            return ImageConfig()
        return parse_config(await self._cache.read_config(config))

    async def _is_signed(self, digest: Digest) -> bool:
        """Return whether upstream has cosign's tag (listed, or by one HEAD), or a referrer signs the manifest (one GET)."""
        tag = signature_tag(digest)
        if tag in self._listed if self._listed is not None else await self._cache.has_tag(tag):
            return True
        for referrer in await self._cache.referrers(digest):
            if await self._signs(referrer):
                return True
        return False

    async def _signs(self, referrer: Descriptor) -> bool:
        """Return whether a referrer is a signature; a referrer whose descriptor does not tell is read."""
        is_bundle = referrer.artifact_type.startswith(SIGSTORE_BUNDLE)
        if referrer.artifact_type and not is_bundle:
            return is_signature("", referrer.artifact_type)
        if is_bundle and SIGSTORE_PREDICATE in referrer.annotations:
            return is_signature(bundle_kind(referrer.annotations), "")
        try:
            manifest = await self._cache.read_manifest(referrer)
        except RemoteNotFound:
            return False
        return is_signature(kind_of(manifest), _type_of(manifest))


def _type_of(manifest: Manifest) -> str:
    """Return the artifact type as a list of referrers has it. Source: distribution-spec, "Listing Referrers"."""
    return manifest.artifact_type or (manifest.config.media_type if manifest.config else "")

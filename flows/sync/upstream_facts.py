"""What the conditions of a sync's filter look at, as far as upstream has to be asked for it: one step of the sync."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from catalog.filters.facts import Facts, facts_of, is_attestation, is_signature, with_children
from flows.runs.failures import each
from flows.sync.job import Batch, Outcome, Root, SyncJob, is_pinned
from flows.sync.upstream_reader import ReadOnce
from oci import mediatypes
from oci.copy import MAX_DEPTH
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import RemoteCorrupt, RemoteLeftOut, RemoteNotFound
from oci.image_config import CONFIGS, MAX_CONFIG, ImageConfig, parse_config
from oci.kinds import SIGSTORE_BUNDLE, SIGSTORE_PREDICATE, bundle_kind, kind_of, signature_tag
from oci.manifest import Manifest


async def read_facts(job: SyncJob, batch: Batch) -> Outcome:
    """Find out what is to be known of the batch's roots: for each at most its manifest, its config, and what signs it.

    A root that upstream no longer has is looked up once more by its tags.
    """
    outcome = Outcome()
    roots: Mapping[str, Root] = {root.descriptor.digest: root for root in batch.roots}

    async def read(digest: str) -> None:
        root = roots[digest]
        try:
            outcome.facts[root.descriptor.digest] = await _facts(job, root.descriptor)
        except RemoteNotFound as error:
            for tag in root.tags:
                now = root.descriptor if is_pinned(job.request, tag) else await job.source.resolve(tag)
                if now.digest == root.descriptor.digest:
                    raise error from None
                outcome.facts[now.digest] = await _facts(job, now)
                outcome.found[tag] = now
        job.progress.done += len(root.tags)

    failed = outcome.failed
    await each(roots, read, failed)
    outcome.failed = {tag: error for digest, error in failed.items() for tag in roots[digest].tags}
    return outcome


async def _facts(job: SyncJob, descriptor: Descriptor) -> Facts:
    """What is known here, else what upstream says; its signatures are looked for where nothing else decides."""
    source = job.source
    assert isinstance(source, ReadOnce)  # it is, where content decides
    found = job.held_facts.get(descriptor.digest)
    if found is None and job.wanted.asks_manifests:
        found = await _content(job, source, descriptor)
    found = found or facts_of(descriptor.digest, kind="")
    if needs_signature(job, found) and await _is_signed(job, source, descriptor.digest):
        return replace(found, signed=True)
    return found


def needs_signature(job: SyncJob, facts: Facts) -> bool:
    """Whether a signature decides, and none is known."""
    wanted = job.wanted.conditions
    return wanted.signed and not facts.signed and wanted.but_signed.judge(facts, job.now)[0]


async def _content(job: SyncJob, source: ReadOnce, descriptor: Descriptor, depth: int = 0) -> Facts:
    """What a manifest and its config say, and those of an index's children of the platforms that are wanted."""
    if depth > MAX_DEPTH:
        raise RemoteCorrupt(f"{descriptor.digest} nests indexes deeper than {MAX_DEPTH}", registry=source.name)
    manifest = await source.read_manifest(descriptor)
    config = await _config(job, source, manifest)
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
        for role, child in job.children(manifest)
        if role == "manifest"
        and child.media_type in mediatypes.MANIFESTS
        and not is_attestation(str(child.platform or ""))
    ]
    found = await asyncio.gather(*(_content_of_child(job, source, child, depth + 1) for child in children))
    return with_children(own, [facts for facts in found if facts is not None])


async def _content_of_child(job: SyncJob, source: ReadOnce, child: Descriptor, depth: int) -> Facts | None:
    """The same of a child; None where upstream was made without it."""
    try:
        return await _content(job, source, child, depth)
    except RemoteLeftOut as error:
        if job.takes_without(child, error):
            return None
        raise


async def _config(job: SyncJob, source: ReadOnce, manifest: Manifest) -> ImageConfig:
    config = manifest.config
    if not job.wanted.asks_configs or config is None or config.media_type not in CONFIGS or config.size > MAX_CONFIG:
        return ImageConfig()
    return parse_config(await source.read_config(config))


async def _is_signed(job: SyncJob, source: ReadOnce, digest: Digest) -> bool:
    """Whether upstream has cosign's tag (listed, or by one HEAD), or what refers to the manifest signs it (one GET)."""
    tag = signature_tag(digest)
    if tag in job.listed if job.listed is not None else await source.has_tag(tag):
        return True
    for referrer in await source.referrers(digest):
        if await _signs(source, referrer):
            return True
    return False


async def _signs(source: ReadOnce, referrer: Descriptor) -> bool:
    """Whether a referrer is a signature; one whose descriptor does not tell is read."""
    is_bundle = referrer.artifact_type.startswith(SIGSTORE_BUNDLE)
    if referrer.artifact_type and not is_bundle:
        return is_signature("", referrer.artifact_type)
    if is_bundle and SIGSTORE_PREDICATE in referrer.annotations:
        return is_signature(bundle_kind(referrer.annotations), "")
    try:
        manifest = await source.read_manifest(referrer)
    except RemoteNotFound:
        return False
    return is_signature(kind_of(manifest), _type_of(manifest))


def _type_of(manifest: Manifest) -> str:
    """The artifact type as a list of referrers has it. Source: distribution-spec, "Listing Referrers"."""
    return manifest.artifact_type or (manifest.config.media_type if manifest.config else "")

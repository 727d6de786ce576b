"""The end of a migration from another product's registry: what it says it has, compared with what is served here."""

import asyncio
from collections.abc import Mapping, Sequence

from flows.migrate.comparison import Compared, compare_served
from flows.migrate.registry_job import Outcomes, RegistryJob, RegistryPlan
from flows.runs.failures import each
from oci.digest import Digest
from oci.errors import EntrepotError, LocalError, RemoteNotFound
from oci.reference import is_tag
from oci.remote.repository import RemoteRepository


async def compare_registry(job: RegistryJob, plan: RegistryPlan, outcomes: Outcomes) -> Mapping[str, Compared | str]:
    """Ask once more where the source's tags point, and compare that with what is served; a text says why that cannot be."""
    compared: dict[str, Compared | str] = {}
    slots = asyncio.Semaphore(job.request.at_once)

    async def compare(target: str) -> None:
        async with slots:
            try:
                tags = await _tags_at_source(job, plan.wanted[target].path)
                digests = await _still_there(job, plan, target)
            except LocalError:
                raise
            except EntrepotError as error:
                compared[target] = f"cannot be compared: {error.message}"
                return
        skipped = outcomes[target].failed.keys()
        compared[target] = await asyncio.to_thread(compare_served, job.catalog, target, tags, digests, skipped=skipped)

    await asyncio.to_thread(job.catalog.snapshots.refresh)
    job.progress.begin("comparing", len(outcomes))
    await asyncio.gather(*(compare(target) for target in outcomes))
    return compared


async def _tags_at_source(job: RegistryJob, path: str) -> dict[str, Digest]:
    repository = await job.upstreams.repository(job.request.remote(path))
    try:
        names = [tag async for tag in repository.tags() if is_tag(tag)]
    except RemoteNotFound:
        return {}
    tags, failed = await _resolve_all(job, repository, names)
    for error in failed.values():
        raise error
    return tags


async def _still_there(job: RegistryJob, plan: RegistryPlan, target: str) -> list[Digest]:
    """Return the manifests without a tag that are here or at the source; those listed there and gone are a note."""
    here = job.catalog.serving.find(target)
    wanted = plan.untagged.get(target, ())
    missing = [digest for digest in wanted if here is None or digest not in here.manifests]
    if not missing:
        return list(wanted)
    repository = await job.upstreams.repository(job.request.remote(plan.wanted[target].path))
    _found, failed = await _resolve_all(job, repository, missing)
    for error in failed.values():
        if not isinstance(error, RemoteNotFound):
            raise error
    if failed:
        others = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        job.notes.append(f"{target}: {next(iter(failed))} is listed at the source, and not there{others}")
    return [digest for digest in wanted if digest not in failed]


async def _resolve_all(
    job: RegistryJob, repository: RemoteRepository, names: Sequence[str]
) -> tuple[dict[str, Digest], dict[str, EntrepotError]]:
    """Return where tags or digests point to now, and the errors of those that cannot be said."""
    found: dict[str, Digest] = {}
    failed: dict[str, EntrepotError] = {}
    slots = asyncio.Semaphore(job.catalog.settings.copy_concurrency)

    async def resolve(name: str) -> None:
        async with slots:
            found[name] = (await repository.resolve(name)).digest

    await each(names, resolve, failed)
    return found, failed

"""The flow `run-pipeline`: sync → filter → build → sign → attest → export, each a flow of its own, then a pull of the result."""

import asyncio
import shutil
from typing import Protocol

from catalog.access.store import ADMINISTRATOR, password_file
from catalog.catalog import Catalog
from catalog.filters.tags import TagFilter
from catalog.settings import Settings
from catalog.signing.verification import check_signatures
from catalog.units import format_size
from catalog.work_roots import allowed_path
from flows.bundles.export_flow import export_repositories
from flows.bundles.requests import ExportRequest
from flows.curate.flow import curate_repository
from flows.curate.request import CurateRequest
from flows.engine.current import run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow, result_of
from flows.engine.tasks import task
from flows.image_build.flow import BASE_DIGEST, build_image
from flows.image_build.request import BuildRequest
from flows.pipeline.report import pipeline_report
from flows.pipeline.request import PipelineRequest, PipelineResult, Step
from flows.promote.flow import promote_content
from flows.promote.request import PromoteRequest
from flows.runs.artifacts import report_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.pull_command import registry_url
from flows.sign.flow import attest_content, sign_content
from flows.sign.request import PREDICATE_TYPES, AttestRequest, SignRequest
from flows.sign.signers import read_signer
from flows.sync.flow import sync_repository
from oci.copy import copy_graph
from oci.digest import Digest
from oci.errors import ManifestUnknown
from oci.memory import MemoryStore
from oci.remote.address import parse_remote
from oci.remote.auth.keychain import Credential
from oci.remote.options import RemoteOptions
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport

TAG = "latest"
"""The tag of what is built."""

_PREDICATE = "spdxjson"


@flow(
    name="run-pipeline",
    flow_run_name="pipeline {request.upstream.remote}",
)
async def run_pipeline(request: PipelineRequest) -> FlowEnd[PipelineResult]:
    """Run the steps one after the other. What is as it should be already is not done again."""
    async with opened_catalog() as catalog:  # once, for all that is asked between the steps
        result = await _run(request, catalog)
        report = pipeline_report(catalog.settings, request, result)
    await report_artifact("pipeline", request.built, result.summary(), report)
    return completed(result.summary(), result)


async def _run(request: PipelineRequest, catalog: Catalog) -> PipelineResult:
    steps = list[Step]()

    def note(name: str, said: str, *, is_done: bool = True) -> None:
        steps.append(Step(name, said, is_done))
        run_logger().info("%s: %s", name, said)

    # 1. sync
    mirrored = await result_of(sync_repository, request.upstream)
    note("sync", mirrored.summary(), is_done=mirrored.changed)
    # 2. filter
    curated = await result_of(
        curate_repository,
        CurateRequest(repository=request.curated, sources=(mirrored.repository,), newest=request.newest),
    )
    said = f"the newest {request.newest} of {mirrored.repository}: {curated.summary()}"
    note("filter", said, is_done=curated.changed)
    # 3. build
    tag = await _build(catalog, request, note)
    built = await asyncio.to_thread(catalog.snapshots.find, request.built)
    if built is not None and tag in built.tags:
        await _vouch(catalog, request, built.tags[tag], note)
        # 6. export
        await _export(catalog, request, note)
        # 7. pull
        note("pull", await pull_back(catalog.settings, request.built, tag))
    return PipelineResult(tuple(steps))


class Note(Protocol):
    """Notes what a step has done."""

    def __call__(self, name: str, said: str, *, is_done: bool = True) -> None:
        """Note it; `is_done` is False where there was nothing to do, or to do it with."""
        ...


async def _build(catalog: Catalog, request: PipelineRequest, note: Note) -> str:
    """Build on the newest curated image, unless what is there was built on it; return the tag for the next steps.

    Without buildah that is the curated image itself, promoted.
    """
    if request.context is None:
        return TAG
    if shutil.which("buildah") is None:
        return await _promote_unbuilt(catalog, request, note)
    tag, digest = await asyncio.to_thread(_newest, catalog, request.curated)
    if await asyncio.to_thread(_is_built_on, catalog, request, digest):
        note("build", f"{request.built}:{TAG} is built on {request.curated}:{tag} already", is_done=False)
        return TAG
    host = registry_url(catalog.settings).partition("://")[2]
    base = f"{host}/{request.curated}@{digest}"
    result = await result_of(
        build_image,
        BuildRequest(
            repository=request.built, tag=TAG, context=request.context, arguments={"BASE": base}, key=request.key
        ),
    )
    note("build", f"on {request.curated}:{tag}: {result.summary()}")
    return TAG


async def _promote_unbuilt(catalog: Catalog, request: PipelineRequest, note: Note) -> str:
    """Promote the newest curated image to the place of the one that nothing here can build; return its tag."""
    tag, digest = await asyncio.to_thread(_newest, catalog, request.curated)
    note(
        "build",
        "left out, for buildah is not installed (`apt-get install buildah` on Debian and Ubuntu)",
        is_done=False,
    )
    built = await asyncio.to_thread(catalog.snapshots.find, request.built)
    if built is not None and built.tags.get(tag) == digest:
        note("promote", f"{request.built}:{tag} is {request.curated}:{tag} already", is_done=False)
        return tag
    promoted = await result_of(
        promote_content, PromoteRequest(source=request.curated, repository=request.built, tags=(tag,))
    )
    note("promote", f"{request.curated}:{tag} in its place: {promoted.summary()}")
    return tag


def _newest(catalog: Catalog, repository: str) -> tuple[str, Digest]:
    """The tag of the highest version and what it points to; raise ManifestUnknown when there is none."""
    snapshot = catalog.snapshots.get(repository)
    kept = TagFilter(newest=1).select(snapshot.sorted_tags).kept
    if not kept:
        raise ManifestUnknown(f"{repository} has no tag that is a version, so there is nothing to build on")
    return kept[0], snapshot.tags[kept[0]]


def _is_built_on(catalog: Catalog, request: PipelineRequest, digest: Digest) -> bool:
    """Return whether the image that is there was built on a manifest, or on a child of it for one platform."""
    snapshot = catalog.snapshots.find(request.built)
    if snapshot is None or TAG not in snapshot.tags:
        return False
    built = snapshot.tags[TAG]
    manifest = catalog.manifests.read(built, snapshot.manifests[built].media_type)
    children = catalog.history.children(request.curated, [digest]).get(digest, ())
    return manifest.annotations.get(BASE_DIGEST) in (digest, *children)


async def _vouch(catalog: Catalog, request: PipelineRequest, digest: Digest, note: Note) -> None:
    """Sign and attest, each unless the key has done so."""
    if request.key is None:
        return
    # 4. sign
    source = f"{request.built}@{digest}"
    signed = await result_of(sign_content, SignRequest(source=source, key=request.key))
    note("sign", signed.summary(), is_done=signed.changed)
    # 5. attest
    if request.document is None:
        return
    verifier = read_signer(catalog.settings, request.key).verifier
    built = await asyncio.to_thread(catalog.snapshots.get, request.built)
    checked = await asyncio.to_thread(check_signatures, catalog, built, digest, verifier)
    if PREDICATE_TYPES[_PREDICATE] in checked.predicate_types:
        note("attest", f"{source} has the attestation already", is_done=False)
        return
    attested = await result_of(
        attest_content, AttestRequest(source=source, document=request.document, type=_PREDICATE, key=request.key)
    )
    note("attest", attested.summary())


async def _export(catalog: Catalog, request: PipelineRequest, note: Note) -> None:
    if request.bundles is None:
        return
    built = await asyncio.to_thread(catalog.snapshots.get, request.built)
    folder = allowed_path(catalog.settings, request.bundles, "folder of bundles")
    bundle = folder / f"{request.built.replace('/', '-')}-{built.version}.tar"
    if bundle.exists():
        note("export", f"{bundle} is there already", is_done=False)
        return
    bundle.parent.mkdir(parents=True, exist_ok=True)
    exported = await result_of(export_repositories, ExportRequest(bundle=bundle, repositories=(request.built,)))
    note("export", exported.summary())


@task(name="pull-back", is_retried=True)
async def pull_back(settings: Settings, repository: str, tag: str) -> str:
    """Pull the result through the registry, as a client would, every byte verified."""
    remote = parse_remote(f"{registry_url(settings)}/{repository}")
    file = password_file(settings)
    login = Credential(ADMINISTRATOR, file.read_text().strip()) if file.is_file() else None
    options = RemoteOptions(ca_file=settings.ca_file or settings.tls_cert)
    async with RemoteTransport(
        remote.host, scheme=remote.scheme, options=options, find_credential=lambda: login
    ) as transport:
        source = RemoteRepository(transport, repository)
        root = await source.resolve(tag)
        report = await copy_graph(source, MemoryStore(repository), root)
        referrers = await source.referrers(root.digest)
    size = format_size(report.moved_bytes)
    return f"{remote.host}/{repository}:{tag}, {report.moved} items, {size} verified, {len(referrers)} referrers"

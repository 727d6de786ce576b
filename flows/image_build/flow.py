"""The flow `build-image`: Containerfile → buildah → layout → copy → provenance → one commit."""

import asyncio
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from catalog.catalog import Catalog
from catalog.content.copy_ends import RepositoryTarget
from catalog.settings import Settings, read_settings
from catalog.signing.stored import stage
from catalog.units import format_time
from catalog.versions.changes import AddManifest, SetTag
from catalog.versions.snapshot import Snapshot
from catalog.work_roots import allowed_path
from flows.engine.current import recorded_run_id, run_id, run_logger
from flows.engine.endings import FlowEnd
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.image_build.buildah import Build, Buildah
from flows.image_build.request import BuildRequest
from flows.runs.catalog import open_for_run
from flows.runs.operation import Operation, OperationResult
from flows.runs.operation_flow import finish_operation
from flows.runs.pull_command import registry_url
from flows.sign.signers import read_signer
from oci.copy import copy_graph
from oci.digest import Digest
from oci.errors import InvalidInput
from oci.layout import Layout
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_artifact
from oci.signing.keys import Signer
from oci.signing.provenance import PREDICATE, Material, make_provenance
from oci.signing.sigstore_bundle import PAYLOAD, make_statement, pack_bundle, sign_statement

BASE_NAME, BASE_DIGEST = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"


def find_build(settings: Settings, request: BuildRequest) -> Build:
    """Look for the context and the Containerfile; raise InvalidInput that says what is missing, PathRefused."""
    context = allowed_path(settings, request.context, "context")
    if not context.is_dir():
        raise InvalidInput(f"the context {context} is no folder")
    candidates = [request.containerfile] if request.containerfile else [Path("Containerfile"), Path("Dockerfile")]
    for candidate in candidates:
        for base in (context, None):
            place = allowed_path(settings, candidate, "Containerfile", base=base)
            if place.is_file():
                return Build(context, place, request.arguments, request.target, request.platform or "")
    raise InvalidInput(f"there is no {' or '.join(map(str, candidates))} in {context}")


def make_buildah(settings: Settings) -> Buildah:
    """buildah with a storage of its own, whose output goes to the flow's log; raise BuilderMissing."""
    log, host = run_logger(), registry_url(settings).partition("://")[2]
    insecure = [*settings.insecure_registries, *([] if settings.tls_cert else [host])]
    return Buildah(settings.root / "build", insecure=insecure, on_line=lambda line: log.info("%s", line))


@task(name="build-image")
async def build_layout(buildah: Buildah, build: Build, scratch: Path) -> Path:
    """Run buildah."""
    layout = scratch / "layout"
    await asyncio.to_thread(buildah.build, build, layout, scratch)
    return layout


async def copy_image(catalog: Catalog, repository: str, path: Path) -> Manifest:
    """Take the built image in; what is held already is not written again."""
    layout = Layout.open(path)
    root = await layout.resolve("built")
    base = await asyncio.to_thread(catalog.snapshots.find, repository) or Snapshot(repository, 0)
    await copy_graph(layout, RepositoryTarget(catalog, base), root)
    return await layout.read_manifest(root)


def add_provenance(
    catalog: Catalog,
    request: BuildRequest,
    build: Build,
    image: Manifest,
    signer: Signer | None,
    times: tuple[str, str],
) -> Manifest:
    """Pack the provenance as what refers to the image: signed in a bundle, else as an in-toto statement."""
    containerfile = Digest.of(build.containerfile.read_bytes())
    materials = [Material(build.containerfile.name, {"sha256": containerfile.encoded})]
    if image.annotations.get(BASE_NAME) and image.annotations.get(BASE_DIGEST):
        base = Digest.parse(image.annotations[BASE_DIGEST])
        materials.append(Material(f"oci://{image.annotations[BASE_NAME]}", {base.algorithm: base.encoded}))
    predicate = make_provenance(
        parameters={
            "containerfile": build.containerfile.name,
            "arguments": dict(build.arguments),
            "target": build.target,
            "platform": build.platform,
        },
        materials=materials,
        run_id=recorded_run_id() or run_id(),
        started=times[0],
        finished=times[1],
    )
    store = MemoryStore()
    statement = make_statement(image.digest, f"{request.repository}:{request.tag}", PREDICATE, predicate)
    if signer:
        made = pack_bundle(store, sign_statement(statement, signer), image, PREDICATE, times[1])
    else:
        made = pack_artifact(
            store, PAYLOAD, [(PAYLOAD, statement)], subject=image, annotations={"in-toto.io/predicate-type": PREDICATE}
        )
    stage(catalog, request.repository, store)
    return made


def _operation(request: BuildRequest, build: Build, image: Manifest, provenance: Manifest) -> Operation:
    changes = (AddManifest(image.descriptor), AddManifest(provenance.descriptor), SetTag(request.tag, image.digest))
    return Operation(
        repository=request.repository,
        name="build",
        message=f"built {request.tag} from {build.containerfile.name}",
        plan=lambda _latest: changes,
    )


def _now() -> str:
    return format_time(datetime.now(UTC).replace(microsecond=0))


@flow(
    name="build-image",
    flow_run_name="build {request.repository}:{request.tag}",
)
async def build_image(request: BuildRequest) -> FlowEnd[OperationResult]:
    """Build, take the image in, and make one version with its tag and its provenance. A failed build changes nothing."""
    settings = read_settings()
    signer = read_signer(settings, request.key) if request.key or settings.signing_key else None
    build, started = await asyncio.to_thread(find_build, settings, request), _now()
    buildah = make_buildah(settings)
    # Opened meanwhile: it takes as long as a small build.
    opening = asyncio.create_task(asyncio.to_thread(open_for_run, settings))
    try:
        with tempfile.TemporaryDirectory(prefix="build-", dir=settings.root / "build") as folder:
            scratch = Path(folder)
            try:
                layout = await build_layout(buildah, build, scratch)
            except BaseException:
                await asyncio.to_thread(buildah.remove, build, scratch)
                raise
            removing = asyncio.create_task(asyncio.to_thread(buildah.remove, build, scratch))
            try:
                catalog = await opening
                image = await copy_image(catalog, request.repository, layout)
                times = (started, _now())
                made = await asyncio.to_thread(add_provenance, catalog, request, build, image, signer, times)
                return await finish_operation(catalog, _operation(request, build, image, made), actor="build-image")
            finally:
                await removing
    finally:
        await asyncio.to_thread((await opening).close)

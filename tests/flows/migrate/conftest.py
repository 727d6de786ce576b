"""A catalogue, migrations into it without Prefect, and products before a registry that has some images."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from flows.migrate.folder_procedure import CompareFolder, FolderJob, compare_folder, run_folder_migration
from flows.migrate.folder_request import FolderMigrationRequest
from flows.migrate.registry_job import RegistryJob
from flows.migrate.registry_procedure import run_registry_migration
from flows.migrate.registry_request import (
    HarborMigrationRequest,
    PulpMigrationRequest,
    QuayMigrationRequest,
    RegistryMigrationRequest,
)
from flows.migrate.report import MigrationResult
from flows.runs.progress import Progress
from flows.sync.request import SyncRequest
from flows.sync_many.chunk import ChunkJob, sync_repositories
from flows.sync_many.report import RepositoryOutcome
from oci.manifest import Manifest
from tests.flows.conftest import home_of
from tests.flows.migrate.products import LOGIN, Api, Product
from tests.flows.migrate.pulp_product import Pulp
from tests.mirror import upload
from tests.servers import Children, DockerRegistry, start_docker_registry

Start = Callable[[Api], AbstractContextManager[Product]]
StartPulp = Callable[..., AbstractContextManager[Product]]
NAMES = ("team/app", "team/tools/cli", "open/site", "pro/x")
FromFolder = Callable[..., MigrationResult]
FromRegistry = Callable[..., MigrationResult]

FORMS: Mapping[str, type[RegistryMigrationRequest]] = {
    "harbor": HarborMigrationRequest,
    "pulp": PulpMigrationRequest,
    "quay": QuayMigrationRequest,
}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(read_settings(home=home_of(tmp_path), upstream_attempts=2)) as opened:
        yield opened


@pytest.fixture
def from_folder(catalog: Catalog) -> FromFolder:
    """Migrate a folder, by default one of docker-registry."""
    runs = iter(range(100))

    def migrate(
        folder: Path,
        kind: str = "docker-registry",
        *,
        compare: CompareFolder = compare_folder,
        **fields: object,
    ) -> MigrationResult:
        request = FolderMigrationRequest.model_validate({"kind": kind, "folder": folder, **fields})
        upstreams = Upstreams(catalog.settings, catalog.remotes)
        job = FolderJob(request, request.open(folder), catalog, upstreams, f"run-{next(runs)}", Progress())
        return asyncio.run(run_folder_migration(job, compare=compare))

    return migrate


async def sync_here(job: RegistryJob, syncs: Sequence[SyncRequest]) -> dict[str, RepositoryOutcome]:
    """Sync in this process, as a flow run without workers does."""
    chunk = ChunkJob(job.catalog, job.upstreams, job.run_id, job.progress, serve="nobody")
    return {one.repository: one for one in await sync_repositories(chunk, syncs, at_once=job.request.at_once)}


@pytest.fixture
def from_registry(catalog: Catalog) -> FromRegistry:
    """Migrate a registry of a kind."""
    runs = iter(range(100))

    def migrate(kind: str, host: str, *, logins: Mapping[str, str] | None = None, **fields: object) -> MigrationResult:
        request = FORMS[kind].model_validate({"kind": kind, "url": f"http://{host}", **fields})
        settings = catalog.settings.model_copy(
            update={"logins": read_settings(home=catalog.settings.root, logins=dict(logins or {})).logins}
        )

        async def whole() -> MigrationResult:
            async with Upstreams(settings, catalog.remotes) as upstreams:
                job = RegistryJob(request, catalog, upstreams, f"run-{next(runs)}", Progress())
                return await run_registry_migration(job, sync=sync_here)

        return asyncio.run(whole())

    return migrate


@pytest.fixture(scope="module")
def registry(module_children: Children) -> DockerRegistry:
    return start_docker_registry(module_children)


@pytest.fixture(scope="module")
def images(registry: DockerRegistry) -> dict[str, Manifest]:
    return {name: upload(registry, name, "v1", name) for name in NAMES}


@pytest.fixture
def product(registry: DockerRegistry, images: dict[str, Manifest]) -> Start:
    """Starts a product before the registry."""
    assert images

    @contextmanager
    def start(api: Api) -> Iterator[Product]:
        with Product(registry.url, api) as running:
            yield running

    return start


def outcomes(result: MigrationResult) -> dict[str, str]:
    return {one.planned.target or one.planned.name: one.outcome for one in result.repositories}


@pytest.fixture
def pulp(product: Start) -> StartPulp:
    """Starts a Pulp with these paths, private or not, before the registry."""

    @contextmanager
    def start(paths: dict[str, bool], **fields: object) -> Iterator[Product]:
        hosts: list[str] = []
        with product(Pulp(lambda: hosts[0], paths, **fields)) as running:  # type: ignore[arg-type]
            hosts.append(running.host)
            yield running

    return start


@pytest.fixture
def migrate(from_registry: FromRegistry) -> Callable[..., MigrationResult]:
    """Migrates from a Pulp with its login."""
    return lambda running, **fields: from_registry("pulp", running.host, logins={running.host: LOGIN}, **fields)

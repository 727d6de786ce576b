"""Migrations that a command runs itself: what nobody records names no flow run, and the flow is who changes paths."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from catalog.catalog import Catalog
from catalog.settings import Settings
from flows.direct.run import Terminal, run_directly
from flows.migrate.folder_flow import migrate_folder
from flows.migrate.folder_request import FolderMigrationRequest
from flows.migrate.registry_flow import migrate_harbor
from flows.migrate.registry_request import HarborMigrationRequest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.flows.migrate.products import Harbor, HarborProject, Product
from tests.folders import write_repository
from tests.mirror import upload
from tests.servers import Children, start_docker_registry


@pytest.fixture
def ran(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, Any], Any]:
    """Run a flow as a command does without a Prefect server."""
    monkeypatch.setenv("ENTREPOT_HOME", str(catalog.settings.root))
    settings: Settings = catalog.settings

    def run(flow: Any, request: Any) -> Any:
        return asyncio.run(run_directly(flow, request, settings=settings, api=None, terminal=Terminal(lambda _: None)))

    return run


@contextmanager
def changes_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect who changes paths."""
    from catalog.distributions.records import Distributions

    made, actors = Distributions.switch, list[str]()

    def switch(self: Distributions, *given: Any, actor: str, **options: Any) -> Any:
        actors.append(actor)
        return made(self, *given, actor=actor, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Distributions, "switch", switch)
        yield actors


def test_a_folder_that_moves_in_names_no_flow_run(
    catalog: Catalog, ran: Callable[[Any, Any], Any], tmp_path: Path
) -> None:
    store = MemoryStore()
    store.put_tag("v1", pack_image(store, [{"file": "one"}]).digest)
    write_repository(tmp_path / "registry", "team/app", store)
    fields = {"kind": "docker-registry", "folder": tmp_path / "registry"}
    result = ran(migrate_folder, FolderMigrationRequest.model_validate(fields))
    assert result.is_equal
    assert result.flow_run_id == ""
    catalog.snapshots.refresh()
    (version,) = catalog.history.versions("team/app")
    assert version.flow_run_id == ""
    assert version.operation_id


def test_a_registry_that_moves_in_names_no_flow_run_and_its_flow_changes_paths(
    catalog: Catalog, ran: Callable[[Any, Any], Any], children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = start_docker_registry(children)
    upload(registry, "open/site", "v1", "open/site")
    with (
        Product(registry.url, Harbor([HarborProject("open", ("open/site",))])) as running,
        changes_of(monkeypatch) as by,
    ):
        fields = {"kind": "harbor", "url": f"http://{running.host}"}
        monkeypatch.setenv("ENTREPOT_LOGINS", f'{{"{running.host}": "mover:mover-secret"}}')
        result = ran(migrate_harbor, HarborMigrationRequest.model_validate(fields))
    assert result.is_equal
    assert result.flow_run_id == ""
    assert "migrate-harbor" in by
    assert "migrate-registry" not in by
    catalog.snapshots.refresh()
    (version,) = catalog.history.versions("open/site")
    assert version.flow_run_id == ""

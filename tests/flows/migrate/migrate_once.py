"""A process that migrates a folder once, to be killed: `python -m tests.flows.migrate.migrate_once HOME FOLDER`."""

import asyncio
import sys
from pathlib import Path

from catalog.catalog import open_catalog
from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from flows.migrate.folder_procedure import FolderJob, run_folder_migration
from flows.migrate.folder_request import FolderMigrationRequest
from flows.migrate.report import MigrationResult
from flows.runs.progress import Progress


def migrate_once(home: Path, folder: Path) -> MigrationResult:
    """Migrate the storage of docker-registry into a home, without Prefect."""
    settings = read_settings(home=home)
    request = FolderMigrationRequest(kind="docker-registry", folder=folder)
    with open_catalog(settings) as catalog:
        upstreams = Upstreams(settings, catalog.remotes)
        job = FolderJob(request, request.open(folder), catalog, upstreams, f"once {folder}", Progress())
        return asyncio.run(run_folder_migration(job))


if __name__ == "__main__":
    migrate_once(Path(sys.argv[1]), Path(sys.argv[2]))

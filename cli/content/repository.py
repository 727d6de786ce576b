"""`entrepot repository`: which repositories there are, and deleting one."""

from datetime import UTC, datetime

from catalog.units import format_size
from cli.catalog import ask_catalog, opened
from cli.options import DryRun, Home, Json, Repository, new_group
from cli.output import print_fields, print_json, print_table, row_json, time_text

group = new_group("List, show and delete repositories.")


@group.command("list")
def list_repositories(*, home: Home = None, as_json: Json = False) -> None:
    """List all repositories, each as of its latest version.

    Example: entrepot repository list
    """
    rows = ask_catalog(home, lambda reader: reader.history.repositories())
    if as_json:
        print_json([row_json(row) for row in rows])
        return
    print_table(
        ("NAME", "VERSION", "TAGS", "MANIFESTS", "BLOBS", "SIZE", "UPDATED"),
        [
            (
                row.name,
                row.version,
                row.tags,
                row.manifests,
                row.blobs,
                format_size(row.size_bytes),
                time_text(row.updated_at),
            )
            for row in rows
        ],
    )


@group.command("show")
def show_repository(name: Repository, *, home: Home = None, as_json: Json = False) -> None:
    """Show one repository and its latest operation.

    Example: entrepot repository show team/app
    """
    row, latest = ask_catalog(
        home, lambda reader: (row := reader.history.repository(name), reader.history.version(name, row.version))
    )
    if as_json:
        print_json({**row_json(row), "latest": row_json(latest)})
        return
    print_fields(
        {
            "name": row.name,
            "version": row.version,
            "tags": row.tags,
            "manifests": row.manifests,
            "blobs": row.blobs,
            "size": format_size(row.size_bytes),
            "created": time_text(row.created_at),
            "updated": time_text(row.updated_at),
            "last operation": f"{latest.operation} by {latest.actor}",
            "flow run": latest.flow_run_id,
        }
    )


@group.command("delete")
def delete_repository(name: Repository, *, dry_run: DryRun = False, home: Home = None, as_json: Json = False) -> None:
    """Delete a repository, its versions and its own path.

    `entrepot gc` frees what no other repository holds.

    Example: entrepot repository delete team/app --dry-run
    """
    from cli.content.version import ACTOR, show_squash

    with opened(home) as catalog:
        report = catalog.deletion.delete_repository(name, actor=ACTOR, now=datetime.now(UTC), dry_run=dry_run)
    show_squash(report, as_json=as_json)

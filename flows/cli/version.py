"""`entrepot version`: what each version holds and changed."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.flow_runs import read_form, run_here, show_operation
from flows.cli.opening import opened
from flows.cli.options import DryRun, Home, Json, Repository, new_group
from flows.cli.output import bytes_text, print_fields, print_json, print_line, print_table, row_json, time_text

if TYPE_CHECKING:
    from catalog.snapshot import Delta

group = new_group("Versions: what a repository held after each operation; they never change.")
Number = Annotated[int | None, typer.Argument(metavar="[NUMBER]", help="A version; default: the latest.", min=0)]


@group.command("list")
def list_versions(name: Repository, *, home: Home = None, as_json: Json = False) -> None:
    """List a repository's versions, newest first."""
    with opened(home) as catalog:
        rows = catalog.versions(name)
    if as_json:
        print_json([row_json(row) for row in rows])
        return
    print_table(
        ("VERSION", "OPERATION", "ACTOR", "CREATED", "TAGS", "SIZE", "ADDED", "REMOVED", "FLOW RUN"),
        [
            (row.number, row.operation, row.actor, time_text(row.created_at), row.tags, bytes_text(row.size_bytes), row.added,
             row.removed, row.flow_run_id)
            for row in rows
        ],
    )  # fmt: skip


@group.command("show")
def show_version(name: Repository, number: Number = None, *, home: Home = None, as_json: Json = False) -> None:
    """Show one version and its changes."""
    with opened(home) as catalog:
        row = catalog.version(name, catalog.repository(name).version if number is None else number)
        changes = catalog.changes(name, row.number)
    if as_json:
        print_json({**row_json(row), "changes": [row_json(change) for change in changes]})
        return
    print_fields(
        {
            "repository": row.repository,
            "version": row.number,
            "base": row.base,
            "operation": row.operation,
            "operation id": row.operation_id,
            "actor": row.actor,
            "flow run": row.flow_run_id,
            "message": row.message,
            "created": time_text(row.created_at),
            "tags": row.tags,
            "manifests": row.manifests,
            "blobs": row.blobs,
            "size": bytes_text(row.size_bytes),
        }
    )
    print_line("")
    print_table(
        ("ACTION", "KIND", "TAG", "DIGEST", "BYTES"),
        [(change.action, change.kind, change.tag, change.digest, change.size) for change in changes],
    )


@group.command("diff")
def diff_versions(
    name: Repository,
    old: Annotated[int, typer.Argument(metavar="OLD", help="The version to start from.", min=0)],
    new: Annotated[
        int | None, typer.Argument(metavar="[NEW]", help="The other one; default: the latest.", min=0)
    ] = None,
    *,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show what leads from one version to another."""
    with opened(home) as catalog:
        before, after = catalog.snapshot(name, old), catalog.snapshot(name, new)
        delta = catalog.diff(before, after)
    if as_json:
        print_json({"repository": name, "old": before.version, "new": after.version, **delta_json(delta)})
        return
    moved = delta.tags_added.keys() & delta.tags_removed.keys()
    rows: list[tuple[str, str, str]] = [
        *(("added", tag, digest) for tag, digest in delta.tags_added.items() if tag not in moved),
        *(("moved", tag, delta.tags_added[tag]) for tag in moved),
        *(("removed", tag, digest) for tag, digest in delta.tags_removed.items() if tag not in moved),
    ]
    rows.sort(key=lambda row: row[1])
    print_table(("CHANGE", "TAG", "DIGEST"), rows)
    print_line(
        f"manifests: {len(delta.manifests_added)} added, {len(delta.manifests_removed)} removed; "
        f"blobs: {len(delta.blobs_added)} added, {len(delta.blobs_removed)} removed; "
        f"{bytes_text(delta.bytes_added)} added, {bytes_text(delta.bytes_removed)} removed"
    )


@group.command("restore")
def restore_version(
    context: typer.Context,
    name: Repository,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The version whose content is wanted.", min=0)],
    *,
    dry_run: DryRun = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a new version with the content of an old one."""
    from flows.restore_request import RestoreRequest

    request = read_form(RestoreRequest, repository=name, version=number, dry_run=dry_run)
    show_operation(run_here(context, home, "flows.restore", "restore_version", request), as_json=as_json)


def delta_json(delta: "Delta") -> dict[str, object]:
    """A difference for programs; sizes in bytes."""
    moved = delta.tags_added.keys() & delta.tags_removed.keys()
    return {
        "tags_added": {tag: digest for tag, digest in delta.tags_added.items() if tag not in moved},
        "tags_removed": {tag: digest for tag, digest in delta.tags_removed.items() if tag not in moved},
        "tags_moved": {tag: {"from": delta.tags_removed[tag], "to": delta.tags_added[tag]} for tag in sorted(moved)},
        "manifests_added": sorted(delta.manifests_added),
        "manifests_removed": sorted(delta.manifests_removed),
        "blobs_added": sorted(delta.blobs_added),
        "blobs_removed": sorted(delta.blobs_removed),
        "bytes_added": delta.bytes_added,
        "bytes_removed": delta.bytes_removed,
    }

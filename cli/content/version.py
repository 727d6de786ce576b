"""`entrepot version`: what each version holds and changed; restoring, pinning and deleting them."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.units import format_size
from cli import completion
from cli.catalog import ask_catalog, opened
from cli.flow_runs import run_here, show_operation
from cli.forms.command import FormCommand, from_form
from cli.options import DryRun, Home, Json, Repository, new_group
from cli.output import print_fields, print_json, print_line, print_table, row_json, time_text
from flows.all_flows import RESTORE

if TYPE_CHECKING:
    from catalog.content.diff import VersionDiff
    from catalog.documents.packages import PackageDiff
    from catalog.versions.deletion import SquashReport
    from flows.curate.restore_request import RestoreRequest
    from oci.reference import VersionReference

group = new_group("List, compare, restore, pin and delete versions.")
ACTOR = "command line"
Pinned = Annotated[int, typer.Argument(metavar="NUMBER", help="A version.", min=1, autocompletion=completion.versions)]
Number = Annotated[
    int | None,
    typer.Argument(
        metavar="[NUMBER]", help="A version; default: the latest.", min=0, autocompletion=completion.versions
    ),
]


@group.command("list")
def list_versions(name: Repository, *, home: Home = None, as_json: Json = False) -> None:
    """List a repository's versions, newest first.

    Example: entrepot version list team/app
    """
    rows, pins = ask_catalog(home, lambda reader: (reader.history.versions(name), reader.pins(name)))
    pinned = {pin.version: pin.note for pin in pins}
    if as_json:
        print_json([{**row_json(row), "pinned": row.number in pinned} for row in rows])
        return
    print_table(
        ("VERSION", "OPERATION", "ACTOR", "CREATED", "TAGS", "SIZE", "ADDED", "REMOVED", "PINNED", "FLOW RUN"),
        [
            (row.number, row.operation, row.actor, time_text(row.created_at), row.tags, format_size(row.size_bytes), row.added,
             row.removed, "yes" if row.number in pinned else "", row.flow_run_id)
            for row in rows
        ],
    )  # fmt: skip


@group.command("show")
def show_version(name: Repository, number: Number = None, *, home: Home = None, as_json: Json = False) -> None:
    """Show one version and its changes.

    Example: entrepot version show team/app 3
    """
    with opened(home) as catalog:
        row = catalog.history.version(name, catalog.history.repository(name).version if number is None else number)
        changes = catalog.history.changes(name, row.number)
        pin = next((pin for pin in catalog.pins.of(name) if pin.version == row.number), None)
    if as_json:
        print_json(
            {
                **row_json(row),
                "pin": row_json(pin) if pin else None,
                "changes": [row_json(change) for change in changes],
            }
        )
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
            "from": ", ".join(map(str, row.origins)),
            "created": time_text(row.created_at),
            "pinned": (pin.note or "yes") if pin else "",
            "tags": row.tags,
            "manifests": row.manifests,
            "blobs": row.blobs,
            "size": format_size(row.size_bytes),
        }
    )
    print_line("")
    print_table(
        ("ACTION", "KIND", "TAG", "DIGEST", "BYTES"),
        [(change.action, change.kind, change.tag, change.digest, change.size) for change in changes],
    )


@group.command("diff")
def diff_versions(
    first: Annotated[
        str,
        typer.Argument(
            metavar="NAME[@OLD]", help="A repository, or a version of it.", autocompletion=completion.versions_of
        ),
    ],
    second: Annotated[
        str, typer.Argument(metavar="OLD|NAME[@NEW]", help="A version of the same repository, or another repository's.")
    ],
    third: Annotated[
        int | None, typer.Argument(metavar="[NEW]", help="With OLD, the other version; default: the latest.", min=0)
    ] = None,
    *,
    packages: Annotated[
        bool, typer.Option("--packages/--no-packages", help="Compare the packages of moved tags by their SBOMs.")
    ] = True,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show the differences between two versions.

    They may be of one repository or of two.

    Example: entrepot version diff team/app 2 3
    """
    from catalog.content import diff

    old, new = _read_ends(first, second, third)
    with opened(home) as catalog:
        found = diff.diff_versions(catalog, old, new, packages=packages)
    if as_json:
        print_json(found.to_json())
    else:
        _print_diff(found)


def _read_ends(first: str, second: str, third: int | None) -> "tuple[VersionReference, VersionReference]":
    """Read the two versions to compare: `NAME OLD [NEW]` or `NAME[@OLD] NAME[@NEW]`; raise InvalidInput."""
    from oci.errors import InvalidInput
    from oci.reference import VersionReference, parse_version_reference

    if second.isdecimal() and "@" not in first:
        name = parse_version_reference(first).repository
        return parse_version_reference(f"{name}@{second}"), VersionReference(name, third)
    if third is not None:
        raise InvalidInput("write NAME OLD NEW for two versions of one repository, or NAME@OLD NAME@NEW")
    return parse_version_reference(first), parse_version_reference(second)


def _print_diff(found: "VersionDiff") -> None:
    delta, moved = found.delta, set(found.moved)
    rows: list[tuple[str, str, str]] = [
        *(("added", tag, digest) for tag, digest in delta.tags_added.items() if tag not in moved),
        *(("moved", tag, delta.tags_added[tag]) for tag in moved),
        *(("removed", tag, digest) for tag, digest in delta.tags_removed.items() if tag not in moved),
    ]
    rows.sort(key=lambda row: row[1])
    print_table(("CHANGE", "TAG", "DIGEST"), rows)
    for tag, packages in found.packages.items():
        print_line("")
        print_line(f"packages of {tag}:")
        print_table(("CHANGE", "PACKAGE", "FROM", "TO"), _package_rows(packages))
    if found.without_packages:
        print_line(f"no SBOM to compare by: {', '.join(found.without_packages[:10])}")
    print_line(
        f"manifests: {len(delta.manifests_added)} added, {len(delta.manifests_removed)} removed; "
        f"blobs: {len(delta.blobs_added)} added, {len(delta.blobs_removed)} removed; "
        f"{format_size(delta.bytes_added)} added, {format_size(delta.bytes_removed)} removed"
    )


def _package_rows(found: "PackageDiff") -> list[tuple[str, str, str, str]]:
    def text(versions: frozenset[str]) -> str:
        return ", ".join(sorted(versions))

    rows = [
        *(("added", name, "", text(versions)) for name, versions in found.added.items()),
        *(("changed", name, text(old), text(new)) for name, (old, new) in found.changed.items()),
        *(("removed", name, text(versions), "") for name, versions in found.removed.items()),
    ]
    return sorted(rows, key=lambda row: row[1])


@group.command("restore", cls=FormCommand)
@from_form(RESTORE.form)
def restore_version(
    context: typer.Context, request: "RestoreRequest", *, home: Home = None, as_json: Json = False
) -> None:
    """Make a new version with the content of an old one.

    Example: entrepot version restore team/app 2
    """
    show_operation(run_here(context, home, RESTORE, request), as_json=as_json)


@group.command("pin")
def pin_version(
    name: Repository,
    number: Pinned,
    *,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Reason for the pin.")] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Pin a version so that nothing deletes it.

    Example: entrepot version pin team/app 2
    """
    from catalog.versions.pins import Pin

    made = Pin(name, number, note, ACTOR, datetime.now(UTC))
    with opened(home) as catalog:
        catalog.pins.add(made)
    if as_json:
        print_json(row_json(made))
    else:
        print_line(f"pinned: version {number} of {name}")


@group.command("unpin")
def unpin_version(name: Repository, number: Pinned, *, home: Home = None, as_json: Json = False) -> None:
    """Unpin a version so that it can be deleted.

    Example: entrepot version unpin team/app 2
    """
    with opened(home) as catalog:
        catalog.pins.remove(name, number, actor=ACTOR, now=datetime.now(UTC))
    if as_json:
        print_json({"repository": name, "version": number, "pinned": False})
    else:
        print_line(f"unpinned: version {number} of {name}")


@group.command("delete")
def delete_versions(
    name: Repository,
    numbers: Annotated[
        list[str],
        typer.Argument(
            metavar="NUMBER…", help="Versions, and ranges of them such as 5-9.", autocompletion=completion.versions
        ),
    ],
    *,
    dry_run: DryRun = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Delete versions; the others stay as they are.

    `entrepot gc` frees what no version holds then.

    Example: entrepot version delete team/app 1-2 --dry-run
    """
    from catalog.versions.timeline import parse_numbers

    wanted = parse_numbers(numbers)
    with opened(home) as catalog:
        report = catalog.deletion.delete_versions(name, wanted, actor=ACTOR, now=datetime.now(UTC), dry_run=dry_run)
    show_squash(report, as_json=as_json)


def show_squash(report: "SquashReport", *, as_json: bool) -> None:
    """Tell what was deleted, or would be."""
    if as_json:
        print_json(report.to_json())
        return
    told = f"{len(report.merged)} version(s) of {report.repository}: {', '.join(map(str, report.deleted[:20]))}"
    if report.dry_run:
        print_line(
            f"would delete {told}; gc could free {report.free_blobs} blobs then, {format_size(report.free_bytes or 0)}"
        )
    else:
        print_line(f"deleted {told}; `entrepot gc` frees what no version holds any more")

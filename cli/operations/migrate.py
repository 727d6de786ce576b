"""`entrepot migrate`: repositories of another registry. The catalogue's own move is `entrepot catalog migrate`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli import exit_codes
from cli.flow_runs import run_here
from cli.forms.command import FormCommand, from_form
from cli.options import Home, Json, new_group
from cli.output import MAX_SHOWN, print_fields, print_first, print_json, print_line, say, say_remarks
from flows.all_flows import MIGRATE_FOLDER, MIGRATE_HARBOR, MIGRATE_PULP, MIGRATE_QUAY

if TYPE_CHECKING:
    from flows.engine.flows import FormT
    from flows.migrate.folder_request import FolderMigrationRequest
    from flows.migrate.registry_request import (
        HarborMigrationRequest,
        PulpMigrationRequest,
        QuayMigrationRequest,
    )
    from flows.migrate.report import MigrationResult
    from flows.runs.lazy_flow import LazyFlow

group = new_group("Migrate from another registry.")


def _of_kind(kind: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what fills in the kind of source that a command is for."""
    return lambda said: {**said, "kind": kind}


@group.command("docker-registry", cls=FormCommand)
@from_form(MIGRATE_FOLDER.form, adapt=_of_kind("docker-registry"))
def docker_registry(
    context: typer.Context, request: "FolderMigrationRequest", *, home: Home = None, as_json: Json = False
) -> None:
    """Migrate from the storage folder of docker-registry.

    Stop that registry first, or make it read-only. Each repository becomes one version, and both sides are compared.
    Run an interrupted migration again: what is here is not copied again.

    Example: entrepot migrate docker-registry /var/lib/registry --dry-run
    """
    _migrate(context, home, MIGRATE_FOLDER, request, as_json=as_json)


@group.command("oci-layouts", cls=FormCommand)
@from_form(MIGRATE_FOLDER.form, adapt=_of_kind("oci-layouts"))
def oci_layouts(
    context: typer.Context, request: "FolderMigrationRequest", *, home: Home = None, as_json: Json = False
) -> None:
    """Migrate from a folder of OCI image layouts.

    Each layout is a repository, named by its path below the folder. A folder that is a layout itself gives its own name.

    Example: entrepot migrate oci-layouts ./layouts --prefix vendor
    """
    _migrate(context, home, MIGRATE_FOLDER, request, as_json=as_json)


@group.command("harbor", cls=FormCommand)
@from_form(MIGRATE_HARBOR.form, adapt=_of_kind("harbor"))
def harbor(
    context: typer.Context, request: "HarborMigrationRequest", *, home: Home = None, as_json: Json = False
) -> None:
    """Migrate from Harbor.

    Private projects become private paths. Rules of retention and immutability are taken along as far as they have a counterpart;
    the plan lists the others. Run it again to copy what was pushed there meanwhile.

    Example: entrepot migrate harbor https://harbor.example --dry-run
    """
    _migrate(context, home, MIGRATE_HARBOR, request, as_json=as_json)


@group.command("pulp", cls=FormCommand)
@from_form(MIGRATE_PULP.form, adapt=_of_kind("pulp"))
def pulp(context: typer.Context, request: "PulpMigrationRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Migrate from Pulp.

    Its distributions become paths, with their privacy, descriptions and labels. The plan lists what its remotes synced from.

    Example: entrepot migrate pulp https://pulp.example --dry-run
    """
    _migrate(context, home, MIGRATE_PULP, request, as_json=as_json)


@group.command("quay", cls=FormCommand)
@from_form(MIGRATE_QUAY.form, adapt=_of_kind("quay"))
def quay(context: typer.Context, request: "QuayMigrationRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Migrate from Quay.

    Its API takes a token of an OAuth application, which --api-token names; pulls take the usual login.

    Example: entrepot migrate quay https://quay.example --namespace team
    """
    _migrate(context, home, MIGRATE_QUAY, request, as_json=as_json)


def _migrate(
    context: typer.Context,
    home: Path | None,
    lazy: "LazyFlow[FormT, MigrationResult]",
    request: "FormT",
    *,
    as_json: bool,
) -> None:
    from flows.migrate.report import MigrationIncomplete

    try:
        result = run_here(context, home, lazy, request)
    except MigrationIncomplete as incomplete:
        _show(incomplete.result, as_json=as_json)
        raise typer.Exit(exit_codes.FAILED) from None
    _show(result, as_json=as_json)


def _show(result: "MigrationResult", *, as_json: bool) -> None:
    """Print the plan or the result; what failed or was remarkable goes to standard error too."""
    if as_json:
        print_json(result.to_json())
    else:
        _print(result)
    say_remarks(result.notes, {})
    if result.failed:
        say(f"error: {len(result.failed)} repositories are not as at the source:")
        for name, reason in list(result.failed.items())[:MAX_SHOWN]:
            say(f"  {name}: {reason}")


def _print(result: "MigrationResult") -> None:
    rows: list[dict[str, Any]] = [
        one.row() for one in result.important_first() if result.dry_run or one.outcome != "unchanged"
    ]
    print_first(
        ("REPOSITORY", "OUTCOME", "VERSION", "TAGS", "UNTAGGED", "BYTES", "BROKEN", "NOTE"),
        [tuple(row.values()) for row in rows],
    )
    for one in result.repositories:
        for name, reason in one.planned.faults.items() if result.dry_run else ():
            print_line(f"broken: {one.planned.target or one.planned.name}: {name}: {reason}")
    for text in result.taken:
        print_line(f"{'would be taken' if result.dry_run else 'taken'} along: {text}")
    for text in result.not_taken:
        print_line(f"not taken along: {text}")
    print_line(result.summary())
    if result.flow_run_id:
        print_fields({"flow run": result.flow_run_id})

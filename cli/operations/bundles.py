"""`entrepot export` and `entrepot import`: bundles, for where no network goes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli import completion
from cli.catalog import opened
from cli.filter_options import judged, show_judged, with_filters
from cli.flow_runs import read_form, run_here, show_operation, show_summary
from cli.options import DryRun, Explain, Home, Json
from cli.output import print_json, print_line

Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A file ending in .tar, or a folder.")]


@with_filters
def export(
    context: typer.Context,
    bundle: Bundle,
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME…", help="Repositories to export.", autocompletion=completion.repositories),
    ],
    *,
    version: Annotated[
        int | None, typer.Option("--version", metavar="N", help="This version; default: the latest.", min=0)
    ] = None,
    since: Annotated[
        int, typer.Option("--since", metavar="N", help="Leave out what this version holds already.", min=0)
    ] = 0,
    filters: Mapping[str, object],
    explain: Explain = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Export repository versions into a bundle.

    Filters select what of them; the bundle is an OCI image layout too.

    Example: entrepot export bundle.tar team/app
    """
    from flows.bundles.requests import ExportRequest

    request = read_form(ExportRequest, bundle=bundle, repositories=names, version=version, since=since, **filters)
    if explain:
        from catalog.bundles.writer import plan_export
        from catalog.filters.tags import Selection

        with opened(home) as catalog:
            planned = plan_export(catalog, request.versions(), now=datetime.now(UTC))
        show_judged(judged(Selection(planned.kept, planned.dropped)), as_json=as_json)
        return
    show_summary(run_here(context, home, "flows.bundles.export_flow", "export_repositories", request), as_json=as_json)


def import_(
    context: typer.Context,
    bundle: Bundle,
    *,
    mirror: Annotated[
        bool,
        typer.Option("--mirror/--additive", help="Exactly what the bundle has (default), or on top of what is there."),
    ] = True,
    dry_run: DryRun = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Import a bundle after verifying all of it.

    Nothing is changed before everything is verified.

    Example: entrepot import bundle.tar
    """
    from flows.bundles.requests import ImportRequest

    mode = "mirror" if mirror else "additive"
    request = read_form(ImportRequest, bundle=bundle, mode=mode, dry_run=dry_run)
    result = run_here(context, home, "flows.bundles.import_flow", "import_bundle", request)
    if as_json:
        print_json(result.to_json())
        return
    for one in result.results:
        show_operation(one, as_json=False)
    if dry_run:
        print_line(f"{bundle} can be imported")

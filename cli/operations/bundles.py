"""`entrepot export` and `entrepot import`: bundles, for where no network goes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.catalog import opened
from cli.explanations import judged, show_judged
from cli.flow_runs import run_here, show_operation, show_summary
from cli.forms.command import from_form
from cli.options import Explain, Home, Json
from cli.output import print_json, print_line, say
from flows.all_flows import EXPORT, IMPORT

if TYPE_CHECKING:
    from flows.bundles.requests import ExportRequest, ExportResult, ImportRequest, ImportResult


@from_form(EXPORT.form)
def export(
    context: typer.Context,
    request: "ExportRequest",
    *,
    explain: Explain = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Export repository versions into a bundle.

    Filters select what of them; the bundle is an OCI image layout too.

    Example: entrepot export bundle.tar team/app
    """
    if explain:
        _explain(request, home, as_json=as_json)
        return
    result = run_here(context, home, EXPORT, request)
    show_summary(result, as_json=as_json)
    _tell_refused(result)


def _explain(request: "ExportRequest", home: Path | None, *, as_json: bool) -> None:
    from catalog.bundles.writer import plan_export
    from catalog.filters.tags import Selection

    with opened(home) as catalog:
        planned = plan_export(catalog, request.versions(), now=datetime.now(UTC), signed_by=request.signed_by)
    show_judged(judged(Selection(planned.kept, planned.dropped)), as_json=as_json)


@from_form(IMPORT.form)
def import_(context: typer.Context, request: "ImportRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Import a bundle after verifying all of it.

    Nothing is changed before everything is verified.

    Example: entrepot import bundle.tar
    """
    result = run_here(context, home, IMPORT, request)
    if as_json:
        print_json(result.to_json())
        return
    for one in result.results:
        show_operation(one, as_json=False)
    _tell_refused(result)
    if request.dry_run:
        print_line(f"{request.bundle} can be imported")


def _tell_refused(result: "ExportResult | ImportResult") -> None:
    """Say on standard error what trust policies refuse, and what they would refuse."""
    for name, reason in result.refused.items():
        say(f"refused: {name}: {reason}")
    for note in result.notes:
        say(f"note: {note}")

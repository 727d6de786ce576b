"""`entrepot sync`: run the sync flow from here and say what came of it."""

import asyncio
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.catalog import opened, settings_of
from cli.explanations import judged, show_judged
from cli.flow_runs import run_here
from cli.forms.command import from_form
from cli.options import Explain, Home, Json
from cli.output import print_changes, print_json, print_line, say_remarks
from flows.all_flows import SYNC

if TYPE_CHECKING:
    from flows.sync.report import SyncResult
    from flows.sync.request import SyncRequest


@from_form(SYNC.form)
def sync(
    context: typer.Context,
    request: "SyncRequest",
    *,
    explain: Explain = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Sync tags of an upstream repository into a new version.

    A Prefect server that is there records the run; see ENTREPOT_PREFECT_API_URL.

    Example: entrepot sync docker.io/library/alpine alpine --include '3.*'
    """
    if explain:
        _explain(request, home, as_json=as_json)
        return
    show_result(run_here(context, home, SYNC, request), as_json=as_json)


def _explain(request: "SyncRequest", home: Path | None, *, as_json: bool) -> None:
    from flows.sync.procedure import explain_sync

    settings = settings_of(home)
    needs_catalog = settings.has_catalog or request.wanted.asks_content
    with opened(home, may_be_new=True) if needs_catalog else nullcontext() as catalog:
        selection = asyncio.run(explain_sync(settings, catalog, request, now=datetime.now(UTC)))
    show_judged(judged(selection), as_json=as_json)


def show_result(result: "SyncResult", *, as_json: bool) -> None:
    """Print the result; what failed or was remarkable goes to standard error too."""
    if as_json:
        print_json(result.to_json())
    else:
        _print_result(result)
    say_remarks(result.notes, result.failed)


def _print_result(result: "SyncResult") -> None:
    from flows.runs.plan_tables import CHANGE_HEADS, change_rows

    if result.dry_run:
        for tag, reason in result.dropped.items():
            print_line(f"not selected: {tag}: {reason}")
    print_changes(CHANGE_HEADS, change_rows(result.items), result.summary(), flow_run=result.flow_run_id)

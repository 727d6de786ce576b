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
from cli.output import MAX_SHOWN, print_fields, print_json, print_line, print_table, say_remarks
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

    Prefect records the run: the server at ENTREPOT_PREFECT_API_URL, else one that is started for the run.

    Example: entrepot sync docker.io/library/alpine alpine --include '3.*'
    """
    if explain:
        _explain(request, home, as_json=as_json)
        return
    show_result(run_here(context, home, SYNC, request), as_json=as_json)


def _explain(request: "SyncRequest", home: Path | None, *, as_json: bool) -> None:
    from flows.sync.explain import explain_sync

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
    from flows.runs.plan_tables import important_first

    if result.dry_run:
        for tag, reason in result.dropped.items():
            print_line(f"not selected: {tag}: {reason}")
    changed = [item for item in important_first(result.items) if item.action != "unchanged"]
    if changed:
        print_table(
            ("TAG", "ACTION", "DIGEST", "BYTES", "REASON"),
            [
                (item.tag, item.action, item.digest or item.previous, item.size, item.reason)
                for item in changed[:MAX_SHOWN]
            ],
        )
        if len(changed) > MAX_SHOWN:
            print_line(f"… and {len(changed) - MAX_SHOWN} more (--json has all)")
        print_line("")
    print_line(result.summary())
    if result.flow_run_id:
        print_fields({"flow run": result.flow_run_id})

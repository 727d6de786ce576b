"""`entrepot sync`: run the sync flow from here and say what came of it."""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.catalog import opened, settings_of
from cli.filter_options import judged, show_judged, with_filters
from cli.flow_runs import read_form, run_here
from cli.options import CompanionTypes, DryRun, Explain, Home, Json, NoCompanions
from cli.output import MAX_SHOWN, print_fields, print_json, print_line, print_table, say_remarks

if TYPE_CHECKING:
    from flows.sync.report import SyncResult


@with_filters
def sync(
    context: typer.Context,
    remote: Annotated[str, typer.Argument(metavar="REMOTE", help="registry.example/team/app[:tag][@digest]")],
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Repository here; default: the upstream's name.")] = "",
    *,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REMOTE", help="Blend this remote in, after those before it; repeatable. First come, first served."
        ),
    ] = None,
    mirror: Annotated[
        bool, typer.Option("--mirror/--additive", help="Remove what upstream does not have, or leave it (default).")
    ] = False,
    filters: Mapping[str, object],
    companions: CompanionTypes = None,
    no_companions: NoCompanions = False,
    recheck: Annotated[
        bool,
        typer.Option(
            "--recheck",
            help="Look for new signatures, SBOMs and attestations of unchanged images too: a request for each.",
        ),
    ] = False,
    policy: Annotated[
        Literal["immediate", "on_demand", "streamed"] | None,
        typer.Option(
            help="Copy layers now, with the first pull, or with each pull without keeping them. Default: what is recorded for "
            "the remote, else immediate."
        ),
    ] = None,
    on_error: Annotated[
        Literal["fail", "skip"],
        typer.Option(help="When a tag cannot be copied: change nothing, or make a version of the others."),
    ] = "fail",
    dry_run: DryRun = False,
    explain: Explain = False,
    batch_size: Annotated[int, typer.Option(help="Tags that one task of the flow works on.", min=1, max=10_000)] = 200,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Sync tags of an upstream repository into a new version.

    The run is recorded in Prefect: on the server that answers at ENTREPOT_PREFECT_API_URL, else on one that is started for it.

    Example: entrepot sync docker.io/library/alpine alpine --include '3.*'
    """
    from flows.sync.request import SyncRequest

    request = read_form(
        SyncRequest,
        remote=remote,
        also=also or (),
        repository=name,
        mode="mirror" if mirror else "additive",
        **filters,
        companions=() if no_companions else tuple(companions or ("*",)),
        recheck=recheck,
        policy=policy,
        on_error=on_error,
        dry_run=dry_run,
        batch_size=batch_size,
    )
    if explain:
        from flows.sync.explain import explain_sync

        settings = settings_of(home)
        needs_catalog = settings.catalog_file.exists() or request.wanted.asks_content
        with opened(home, may_be_new=True) if needs_catalog else nullcontext() as catalog:
            selection = asyncio.run(explain_sync(settings, catalog, request, now=datetime.now(UTC)))
        show_judged(judged(selection), as_json=as_json)
        return
    result = run_here(context, home, "flows.sync.flow", "sync_repository", request)
    show_result(result, as_json=as_json)


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

"""`entrepot reclaim`: give back the space of layers that can be fetched again."""

from typing import Annotated

import typer

from cli.flow_runs import read_form, run_here, show_summary
from cli.options import DryRun, Home, Json
from cli.output import say


def reclaim(
    context: typer.Context,
    repositories: Annotated[
        list[str], typer.Argument(metavar="PATTERN...", help="Repositories: 'cache/**', or re:REGEX.")
    ],
    *,
    keep: Annotated[
        str, typer.Option(metavar="DURATION", help="Keep what was fetched or pulled within so long.")
    ] = "24h",
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Ask upstream first, and keep what it has no longer (default).")
    ] = True,
    dry_run: DryRun = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Free on-demand layers that these repositories alone hold.

    The next pull fetches them again.

    Example: entrepot reclaim 'cache/**' --dry-run
    """
    from flows.storage.reclaim_request import ReclaimRequest

    request = read_form(ReclaimRequest, repositories=tuple(repositories), keep=keep, check=check, dry_run=dry_run)
    result = run_here(context, home, "flows.storage.reclaim_flow", "reclaim_space", request)
    show_summary(result, as_json=as_json)
    for digest, reason in result.kept.items():
        say(f"note: kept {digest}: {reason}")

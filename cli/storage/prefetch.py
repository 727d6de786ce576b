"""`entrepot prefetch`: fetch layers that were left upstream."""

from typing import Annotated

import typer

from cli.flow_runs import read_form, run_here, show_summary
from cli.options import DryRun, Home, Json


def prefetch(
    context: typer.Context,
    repositories: Annotated[
        list[str], typer.Argument(metavar="PATTERN...", help="Repositories: 'cache/**', or re:REGEX.")
    ],
    *,
    dry_run: DryRun = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Fetch layers that a cache or sync left upstream.

    It fetches those of the latest versions.

    Example: entrepot prefetch 'cache/**'
    """
    from flows.storage.prefetch_request import PrefetchRequest

    request = read_form(PrefetchRequest, repositories=tuple(repositories), dry_run=dry_run)
    show_summary(run_here(context, home, "flows.storage.prefetch_flow", "prefetch_content", request), as_json=as_json)

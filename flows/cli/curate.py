"""`entrepot curate`: a version from a chosen set of tags and digests."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer

from flows.cli.filters import judged, show_judged, with_filters
from flows.cli.flow_runs import read_form, run_here, show_operation
from flows.cli.opening import opened
from flows.cli.options import DryRun, Explain, Home, Json, Repository


@with_filters
def curate(
    context: typer.Context,
    name: Repository,
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE…", help="NAME (filtered), NAME:TAG, NAME@DIGEST or NAME:TAG@DIGEST.")
    ],
    *,
    mirror: Annotated[
        bool, typer.Option("--mirror/--additive", help="Exactly what is chosen (default), or on top of what is there.")
    ] = True,
    filters: Mapping[str, object],
    dry_run: DryRun = False,
    explain: Explain = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make one version of a repository from content of repositories here, recursively; nothing is copied."""
    from flows.curate_request import CurateRequest

    request = read_form(
        CurateRequest,
        repository=name,
        sources=sources,
        mode="mirror" if mirror else "additive",
        **filters,
        dry_run=dry_run,
    )
    if explain:
        from catalog.filters import Selection
        from flows.curate_request import choose_content

        with opened(home) as catalog:
            chosen = choose_content(catalog, request, now=datetime.now(UTC))
        show_judged(judged(Selection(chosen.kept, chosen.dropped)), as_json=as_json)
        return
    show_operation(run_here(context, home, "flows.curate", "curate_repository", request), as_json=as_json)

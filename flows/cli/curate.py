"""`entrepot curate`: a version from a chosen set of tags and digests."""

from typing import Annotated

import typer

from flows.cli.flow_runs import read_form, run_here, show_operation
from flows.cli.options import DryRun, Exclude, Home, Include, Json, Newest, NewestOf, Platforms, Repository


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
    include: Include = None,
    exclude: Exclude = None,
    newest: Newest = None,
    newest_of: NewestOf = "repository",
    platform: Platforms = None,
    dry_run: DryRun = False,
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
        include=include or (),
        exclude=exclude or (),
        newest=newest,
        newest_of=newest_of,
        platforms=platform or (),
        dry_run=dry_run,
    )
    show_operation(run_here(context, home, "flows.curate", "curate_repository", request), as_json=as_json)

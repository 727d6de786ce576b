"""`entrepot replicate`: serve what another installation serves."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal

import typer

from flows.cli.filters import with_filters
from flows.cli.flow_runs import read_form, run_here
from flows.cli.options import DryRun, Home, Json
from flows.cli.output import print_fields, print_json, print_line, print_table


@partial(with_filters, flags={"include": "--tags-include", "exclude": "--tags-exclude", "labels": "--tags-label"})
def replicate(
    context: typer.Context,
    upstream: Annotated[
        str, typer.Argument(metavar="UPSTREAM", help="The other installation: registry.example[:port]")
    ],
    *,
    kind: Annotated[
        Literal["auto", "entrepot", "pulp", "catalog"],
        typer.Option(help="Whose API to ask for paths; auto: the first of these that answers."),
    ] = "auto",
    include: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Take paths that match: a glob, or `re:…`; repeatable.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Leave these paths out; stronger than --include.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY[=VALUE]", help="Take paths that have this label; repeatable: all.")
    ] = None,
    pulp_filter: Annotated[
        str, typer.Option(metavar="EXPRESSION", help="Of a Pulp: what its parameter `q` takes; with --kind pulp.")
    ] = "",
    policy: Annotated[
        Literal["immediate", "on_demand", "streamed"] | None,
        typer.Option(help="When layers are copied, as for a sync."),
    ] = None,
    keep_gone: Annotated[
        bool, typer.Option("--keep-gone", help="Go on serving paths that upstream does not serve any longer.")
    ] = False,
    filters: Mapping[str, object],
    dry_run: DryRun = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Serve here what an Entrepôt, a Pulp or a plain registry serves: the same paths, digests and privacy.

    Of each path the tags are taken that filters choose: --include and --label choose paths, --tags-include and --tags-label tags.
    Each path is synced, then all are switched to their new versions at once; when one fails, nothing is switched.
    """
    from flows.replicate_request import ReplicateRequest

    request = read_form(
        ReplicateRequest,
        upstream=upstream,
        kind=kind,
        include=include or (),
        exclude=exclude or (),
        labels=label or (),
        pulp_filter=pulp_filter,
        policy=policy,
        keep_gone=keep_gone,
        tags=filters,
        dry_run=dry_run,
    )
    result = run_here(context, home, "flows.replicate", "replicate_registry", request)
    if as_json:
        print_json(result.to_json())
        return
    if result.replicas:
        print_table(
            ("PATH", "ACTION", "VERSION", "NOTE"), [(r.path, r.action, r.version, r.note) for r in result.replicas]
        )
        print_line("")
    print_line(result.summary())
    if result.flow_run_id:
        print_fields({"flow run": result.flow_run_id})

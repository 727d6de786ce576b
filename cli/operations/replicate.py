"""`entrepot replicate`: serve what another installation serves."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.filter_options import with_filters
from cli.flow_runs import read_form, run_here
from cli.options import DryRun, Home, Json
from cli.output import print_fields, print_json, print_line, print_table, say_remarks

if TYPE_CHECKING:
    from flows.replicate.request import ReplicateResult


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
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Take paths that match: team/*, team/**, re:REGEX; repeatable."),
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
    pulp_api: Annotated[
        str, typer.Option(metavar="PATH", help="Where the API of a Pulp is: /pulp/default/api/v3/; with --kind pulp.")
    ] = "",
    privacy: Annotated[
        Literal["asked", "listed", "private"],
        typer.Option(help="Of what a login reads, keep private: what nobody else may pull, what is listed so, or all."),
    ] = "asked",
    accept_change: Annotated[
        bool, typer.Option("--accept-change", help="Go on when upstream is of another kind than last time.")
    ] = False,
    policy: Annotated[
        Literal["immediate", "on_demand", "streamed"] | None,
        typer.Option(help="When layers are copied, as for a sync."),
    ] = None,
    keep_gone: Annotated[
        bool, typer.Option("--keep-gone", help="Go on serving paths that upstream does not serve any longer.")
    ] = False,
    on_error: Annotated[
        Literal["fail", "skip"], typer.Option(help="When a path or tag fails: change nothing, or skip it.")
    ] = "fail",
    filters: Mapping[str, object],
    dry_run: DryRun = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Replicate the paths that another registry serves.

    The upstream is an Entrepôt, a Pulp or a plain registry; paths, digests and privacy stay the same.

    Of each path the tags are taken that filters choose: --include and --label choose paths, --tags-include and --tags-label tags.
    Each path is synced, then all are switched to their new versions at once; when one fails, nothing is switched,
    unless --on-error skip says to go on.

    Example: entrepot replicate registry.example --include 'team/*' --dry-run
    """
    from flows.replicate.request import ReplicateRequest

    request = read_form(
        ReplicateRequest,
        upstream=upstream,
        kind=kind,
        include=include or (),
        exclude=exclude or (),
        labels=label or (),
        pulp_filter=pulp_filter,
        pulp_api=pulp_api,
        privacy=privacy,
        accept_change=accept_change,
        on_error=on_error,
        policy=policy,
        keep_gone=keep_gone,
        tags=filters,
        dry_run=dry_run,
    )
    result = run_here(context, home, "flows.replicate.flow", "replicate_registry", request)
    show_replicated(result, as_json=as_json)


def show_replicated(result: "ReplicateResult", *, as_json: bool) -> None:
    """Print the result; what failed or was remarkable goes to standard error too."""
    if as_json:
        print_json(result.to_json())
    else:
        _print_replicated(result)
    say_remarks(result.notes, result.failed, what="paths")


def _print_replicated(result: "ReplicateResult") -> None:
    if result.replicas:
        print_table(
            ("PATH", "ACTION", "VERSION", "NOTE"), [(r.path, r.action, r.version, r.note) for r in result.replicas]
        )
        print_line("")
    print_line(result.summary())
    if result.flow_run_id:
        print_fields({"flow run": result.flow_run_id})

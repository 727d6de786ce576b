"""`entrepot replicate`: serve what another installation serves."""

from typing import TYPE_CHECKING

import typer

from cli.flow_runs import run_here
from cli.forms.command import from_form
from cli.options import Home, Json
from cli.output import print_fields, print_json, print_line, print_table, say_remarks
from flows.all_flows import REPLICATE

if TYPE_CHECKING:
    from flows.replicate.request import ReplicateRequest, ReplicateResult


@from_form(REPLICATE.form)
def replicate(context: typer.Context, request: "ReplicateRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Replicate the paths that another registry serves.

    The upstream is an Entrepôt, a Pulp or a plain registry. Paths, digests and privacy stay the same.

    --include and --label select paths; --tags-include, --tags-label and the other filters select tags of each path.
    Each path is synced; then all switch to their new versions at once. When one path fails, none switches,
    unless --on-error is skip.

    Example: entrepot replicate registry.example --include 'team/*' --dry-run
    """
    show_replicated(run_here(context, home, REPLICATE, request), as_json=as_json)


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

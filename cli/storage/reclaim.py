"""`entrepot reclaim`: give back the space of layers that can be fetched again."""

from typing import TYPE_CHECKING

import typer

from cli.flow_runs import run_here, show_summary
from cli.forms.command import from_form
from cli.options import Home, Json
from cli.output import say
from flows.all_flows import RECLAIM

if TYPE_CHECKING:
    from flows.storage.reclaim_request import ReclaimRequest


@from_form(RECLAIM.form)
def reclaim(context: typer.Context, request: "ReclaimRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Free on-demand layers that these repositories alone hold.

    The next pull fetches them again.

    Example: entrepot reclaim 'cache/**' --dry-run
    """
    result = run_here(context, home, RECLAIM, request)
    show_summary(result, as_json=as_json)
    for digest, reason in result.kept.items():
        say(f"note: kept {digest}: {reason}")

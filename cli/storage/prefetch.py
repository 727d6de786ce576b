"""`entrepot prefetch`: fetch layers that were left upstream."""

from typing import TYPE_CHECKING

import typer

from cli.flow_runs import run_here, show_summary
from cli.forms.command import from_form
from cli.options import Home, Json
from flows.all_flows import PREFETCH

if TYPE_CHECKING:
    from flows.storage.prefetch_request import PrefetchRequest


@from_form(PREFETCH.form)
def prefetch(context: typer.Context, request: "PrefetchRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Fetch layers that a cache or sync left upstream.

    It fetches those of the latest versions.

    Example: entrepot prefetch 'cache/**'
    """
    show_summary(run_here(context, home, PREFETCH, request), as_json=as_json)

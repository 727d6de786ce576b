"""`entrepot maintain`: keep the catalogue small and quick."""

from typing import TYPE_CHECKING

import typer

from cli.flow_runs import run_here, show_summary
from cli.forms.command import from_form
from cli.options import Home, Json
from cli.output import print_line, print_table
from flows.all_flows import MAINTAIN

if TYPE_CHECKING:
    from flows.storage.maintain_request import MaintainRequest


@from_form(MAINTAIN.form)
def maintain(context: typer.Context, request: "MaintainRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Compact the catalogue and expire its old snapshots.

    It flushes, merges and rewrites the catalogue's files, and drops what has ended.

    Example: entrepot maintain
    """
    result = run_here(context, home, MAINTAIN, request)
    if not as_json:
        rows = [(one.name, one.steps, one.done, f"{one.longest:.3f}") for one in result.done]
        print_table(("STEP", "TIMES", "DONE", "LONGEST HOLD (S)"), rows)
        print_line("")
    show_summary(result, as_json=as_json)

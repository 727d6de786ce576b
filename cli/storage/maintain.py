"""`entrepot maintain`: keep the catalogue small and quick."""

from typing import Annotated

import typer

from cli.flow_runs import read_form, run_here, show_summary
from cli.options import Home, Json
from cli.output import print_line, print_table


def maintain(
    context: typer.Context,
    *,
    keep_snapshots: Annotated[
        str,
        typer.Option(metavar="DURATION", help="Keep DuckLake's own snapshots for so long; versions stay for ever."),
    ] = "30d",
    grace: Annotated[
        str, typer.Option(metavar="DURATION", help="End leases, and remove files that nothing needed, after so long.")
    ] = "24h",
    time_limit: Annotated[
        str, typer.Option(metavar="DURATION", help="End after so long, the next run goes on from there; 0: no limit.")
    ] = "0",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Compact the catalogue and expire its old snapshots.

    It flushes, merges and rewrites the catalogue's files, and drops what has ended.

    Example: entrepot maintain
    """
    from flows.storage.maintain_request import MaintainRequest

    request = read_form(MaintainRequest, keep_snapshots=keep_snapshots, grace=grace, time_limit=time_limit)
    result = run_here(context, home, "flows.storage.maintain_flow", "maintain_catalog", request)
    if not as_json:
        rows = [(one.name, one.steps, one.done, f"{one.longest:.3f}") for one in result.done]
        print_table(("STEP", "TIMES", "DONE", "LONGEST HOLD (S)"), rows)
        print_line("")
    show_summary(result, as_json=as_json)

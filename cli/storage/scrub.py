"""`entrepot scrub`: read all that is held, and deal with what is damaged."""

from typing import Annotated

import typer

from cli.flow_runs import read_form, run_here, show_summary
from cli.options import Home, Json
from cli.output import say


def scrub(
    context: typer.Context,
    *,
    rate: Annotated[str, typer.Option(metavar="SIZE", help="Bytes a second at most; 0 for no limit.")] = "50MB",
    older_than: Annotated[
        str, typer.Option(metavar="AGE", help="Only what was last read, or taken in, longer ago: 12h, 30d, 4w.")
    ] = "0s",
    remove_unknown: Annotated[
        bool, typer.Option("--remove-unknown", help="Remove files of the store that nobody knows.")
    ] = False,
    grace: Annotated[str, typer.Option(metavar="DURATION", help="Keep unknown files that are younger.")] = "24h",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Verify every blob and repair damaged ones.

    Damaged blobs are set aside and fetched again where that is possible, else the images hit are named.

    A scrub that was interrupted goes on where it was. The exit code is 1 when content is lost.

    Example: entrepot scrub
    """
    from flows.storage.scrub_request import ScrubRequest

    request = read_form(ScrubRequest, rate=rate, older_than=older_than, remove_unknown=remove_unknown, grace=grace)
    result = run_here(context, home, "flows.storage.scrub_flow", "scrub_blobs", request)
    show_summary(result, as_json=as_json)
    if not as_json:
        for row in result.rows():
            say(f"note: {row['digest']} {row['what']} {row['outcome']}".replace("  ", " "))

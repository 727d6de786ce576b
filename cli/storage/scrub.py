"""`entrepot scrub`: read all that is held, and deal with what is damaged."""

from typing import TYPE_CHECKING

import typer

from cli.flow_runs import run_here, show_summary
from cli.forms.command import from_form
from cli.options import Home, Json
from cli.output import say
from flows.all_flows import SCRUB

if TYPE_CHECKING:
    from flows.storage.scrub_request import ScrubRequest


@from_form(SCRUB.form)
def scrub(context: typer.Context, request: "ScrubRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Verify every blob and repair damaged ones.

    Damaged blobs are set aside and fetched again where that is possible, else the images hit are named.

    A scrub that was interrupted goes on where it was. The exit code is 1 when content is lost.

    Example: entrepot scrub
    """
    result = run_here(context, home, SCRUB, request)
    show_summary(result, as_json=as_json)
    if not as_json:
        for row in result.rows():
            say(f"note: {row['digest']} {row['what']} {row['outcome']}".replace("  ", " "))

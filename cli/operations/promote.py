"""`entrepot promote`: content of one repository for another, through gates."""

from typing import TYPE_CHECKING

import typer

from cli.flow_runs import run_here, show_operation
from cli.forms.command import from_form
from cli.options import Home, Json
from cli.output import print_line, print_table
from flows.all_flows import PROMOTE

if TYPE_CHECKING:
    from flows.promote.request import PromoteRequest


@from_form(PROMOTE.form)
def promote(context: typer.Context, request: "PromoteRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Promote content from SOURCE to TARGET through gates.

    TARGET gets one new version once every gate passes; nothing is copied.

    Example: entrepot promote team/staging team/prod --dry-run
    """
    result = run_here(context, home, PROMOTE, request)
    if result.verdicts and not as_json:
        print_table(("TAG", "GATE", "VERDICT"), [(one.name, one.gate, one.reason) for one in result.verdicts])
        print_line("")
    show_operation(result, as_json=as_json)

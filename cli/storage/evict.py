"""`entrepot evict`: let caches keep to their limits."""

from typing import TYPE_CHECKING

import typer

from catalog.units import format_size
from cli.flow_runs import run_here, show_summary
from cli.forms.command import from_form
from cli.options import Home, Json
from cli.output import MAX_SHOWN, print_line, print_table, say
from flows.all_flows import EVICT

if TYPE_CHECKING:
    from flows.storage.evict_request import EvictRequest


@from_form(EVICT.form)
def evict(context: typer.Context, request: "EvictRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Evict content of caches by their size and age limits.

    A cache goes below its --max-size, and loses what was not pulled for its --keep-unused.

    Example: entrepot evict --dry-run
    """
    result = run_here(context, home, EVICT, request)
    if not as_json and result.evicted:
        rows = [
            (one.what, one.repository or one.cache, one.name, format_size(one.size) if one.size else "", one.reason)
            for one in result.evicted[:MAX_SHOWN]
        ]
        print_table(("WHAT", "OF", "NAME", "BYTES", "REASON"), rows)
        if len(result.evicted) > MAX_SHOWN:
            print_line(f"… and {len(result.evicted) - MAX_SHOWN} more (--json has all)")
        print_line("")
    show_summary(result, as_json=as_json)
    for digest, reason in result.kept.items():
        say(f"note: kept {digest}: {reason}")

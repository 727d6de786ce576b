"""`entrepot evict`: let caches keep to their limits."""

from typing import Annotated

import typer

from cli.flow_runs import read_form, run_here, show_summary
from cli.options import DryRun, Home, Json
from cli.output import MAX_SHOWN, bytes_text, print_line, print_table, say


def evict(
    context: typer.Context,
    caches: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CACHE...]", help="Paths of caches, or patterns of them; default: all."),
    ] = None,
    *,
    keep: Annotated[
        str, typer.Option(metavar="DURATION", help="Keep layers that were fetched or pulled within so long.")
    ] = "1h",
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Ask upstream first, and keep what it has no longer (default).")
    ] = True,
    dry_run: DryRun = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Evict content of caches by their size and age limits.

    A cache goes below its --max-size, and loses what was not pulled for its --keep-unused-days.

    Example: entrepot evict --dry-run
    """
    from flows.storage.evict_request import EvictRequest

    request = read_form(EvictRequest, caches=tuple(caches or ()), keep=keep, check=check, dry_run=dry_run)
    result = run_here(context, home, "flows.storage.evict_flow", "evict_cache", request)
    if not as_json and result.evicted:
        rows = [
            (one.what, one.repository or one.cache, one.name, bytes_text(one.size) if one.size else "", one.reason)
            for one in result.evicted[:MAX_SHOWN]
        ]
        print_table(("WHAT", "OF", "NAME", "BYTES", "REASON"), rows)
        if len(result.evicted) > MAX_SHOWN:
            print_line(f"… and {len(result.evicted) - MAX_SHOWN} more (--json has all)")
        print_line("")
    show_summary(result, as_json=as_json)
    for digest, reason in result.kept.items():
        say(f"note: kept {digest}: {reason}")

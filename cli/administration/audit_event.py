"""`entrepot event`: the audit trail."""

from typing import Annotated

import typer

from cli.catalog import opened
from cli.options import Home, Json, new_group
from cli.output import print_json, print_table, row_json, time_text

group = new_group("Show audit events: who did what, and what was refused.")


@group.command("list")
def list_events(
    *,
    limit: Annotated[int, typer.Option(metavar="N", help="How many at most.", min=1)] = 100,
    actor: Annotated[str, typer.Option(metavar="NAME", help="List only events of this actor.")] = "",
    name: Annotated[str, typer.Option(metavar="NAME", help="List only events of this path, account or rule.")] = "",
    action: Annotated[
        str, typer.Option(metavar="ACTION", help="Only this: push, delete, login, create-user and so on.")
    ] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List audit events, newest first.

    `entrepot query` has all of them in the view `events`.

    Example: entrepot event list
    """
    with opened(home) as catalog:
        found = catalog.events.latest(limit=limit, actor=actor, name=name, action=action)
    if as_json:
        print_json([row_json(one) for one in found])
        return
    print_table(
        ("TIME", "ACTOR", "ACTION", "NAME", "OUTCOME", "ADDRESS", "REASON"),
        [
            (time_text(one.happened_at), one.actor, one.action, one.name, one.outcome, one.address, one.reason)
            for one in found
        ],
    )

"""`entrepot lifecycle`: rules that warn clients of content that is deprecated, or near or past its end of life."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.administrator import ACTOR
from cli.catalog import opened
from cli.options import Home, Json, new_group
from cli.output import Cell, print_fields, print_json, print_line, print_table

if TYPE_CHECKING:
    from catalog.lifecycle.rules import LifecycleRule

group = new_group("Warn clients of content near or past its end of life.")
ScopeArgument = Annotated[
    str, typer.Argument(metavar="NAME[:TAG]", help="Path or pattern; tags: v1, v1.*, semver:<2. Default: all.")
]


@group.command("set")
def set_lifecycle(
    scope: ScopeArgument,
    *,
    end_of_life: Annotated[
        str | None, typer.Option("--end-of-life", metavar="DATE", help="End of life: 2026-04-30.")
    ] = None,
    deprecated: Annotated[bool, typer.Option("--deprecated", help="Warn at every pull, from now on.")] = False,
    successor: Annotated[str, typer.Option("--successor", metavar="REF", help="Content to use instead.")] = "",
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="Text that is added to the warning.")] = "",
    warn_before: Annotated[
        str, typer.Option("--warn-before", metavar="DURATION", help="How long before the end of life to warn: 30d.")
    ] = "90d",
    published: Annotated[
        bool, typer.Option("--published", help="Use the dates that vendors publish with their images.")
    ] = False,
    refuse: Annotated[bool, typer.Option("--refuse", help="Refuse pulls after the end of life.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Create or replace a lifecycle rule.

    Example: entrepot lifecycle set 'prod/app:1.*' --end-of-life 2026-04-30 --successor prod/app:2
    """
    from catalog.lifecycle.rules import LifecycleRule, parse_lifecycle_scope
    from catalog.units import parse_duration, parse_time

    pattern, tag = parse_lifecycle_scope(scope)
    rule = LifecycleRule(
        pattern,
        tag,
        ACTOR,
        datetime.now(UTC),
        parse_time(end_of_life) if end_of_life else None,
        deprecated,
        successor,
        message,
        parse_duration(warn_before),
        published,
        refuse,
    )
    with opened(home, may_be_new=True) as catalog:
        catalog.lifecycles.put(rule)
    if as_json:
        print_json(_json(rule))
    else:
        print_fields(_json(rule))


@group.command("list")
def list_lifecycles(*, home: Home = None, as_json: Json = False) -> None:
    """List all lifecycle rules.

    Example: entrepot lifecycle list
    """
    with opened(home) as catalog:
        found = [_json(rule) for rule in catalog.lifecycles.all()]
    if as_json:
        print_json(found)
        return
    columns = ("name", "end_of_life", "deprecated", "refuse", "published", "successor", "message")
    print_table(
        [name.upper().replace("_", " ") for name in columns], [[one[name] for name in columns] for one in found]
    )


@group.command("unset")
def unset_lifecycle(scope: ScopeArgument, *, home: Home = None, as_json: Json = False) -> None:
    """Delete a lifecycle rule.

    Example: entrepot lifecycle unset 'prod/app:1.*'
    """
    from catalog.lifecycle.rules import parse_lifecycle_scope

    with opened(home) as catalog:
        catalog.lifecycles.delete(*parse_lifecycle_scope(scope), actor=ACTOR, now=datetime.now(UTC))
    if as_json:
        print_json({"unset": scope})
    else:
        print_line(f"deleted the lifecycle rule of {scope}")


def _json(rule: "LifecycleRule") -> dict[str, Cell]:
    from catalog.lifecycle.records import scope_of
    from catalog.lifecycle.rules import lifecycle_fields
    from catalog.units import format_time

    end = None if rule.end_of_life is None else format_time(rule.end_of_life)
    return {"name": scope_of(rule), **lifecycle_fields(rule), "end_of_life": end, "actor": rule.actor}

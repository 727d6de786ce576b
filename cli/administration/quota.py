"""`entrepot quota`: how much the repositories of a namespace may hold."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.units import format_size
from cli.administrator import ACTOR
from cli.catalog import opened
from cli.options import Home, Json, new_group
from cli.output import print_fields, print_json, print_line, print_table

if TYPE_CHECKING:
    from catalog.catalog import Catalog
    from catalog.quotas.quotas import Quota, QuotaUse

group = new_group("Limit the bytes and tags of a namespace's repositories.")
PatternArgument = Annotated[
    str, typer.Argument(metavar="PATTERN", help="Repositories: team/app, team/* (one part) or team/** (any).")
]
_SIZE = "bytes, such as 500MB, 20GB or 2TiB"


@group.command("set")
def set_quota(
    pattern: PatternArgument,
    *,
    max_bytes: Annotated[str | None, typer.Option("--bytes", metavar="SIZE", help=f"Hard limit of {_SIZE}.")] = None,
    max_tags: Annotated[int | None, typer.Option("--tags", metavar="N", help="Hard limit of tags.", min=0)] = None,
    warn_bytes: Annotated[
        str | None, typer.Option("--warn-bytes", metavar="SIZE", help=f"Soft limit of {_SIZE}: pushes are warned.")
    ] = None,
    warn_tags: Annotated[
        int | None, typer.Option("--warn-tags", metavar="N", help="Soft limit of tags: pushes are warned.", min=0)
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Set or replace the quota of a namespace.

    Example: entrepot quota set 'team/**' --bytes 500GB --tags 10000
    """
    from catalog.quotas.quotas import Quota
    from catalog.units import parse_size

    sizes = [None if text is None else parse_size(text) for text in (max_bytes, warn_bytes)]
    quota = Quota(pattern, sizes[0], max_tags, sizes[1], warn_tags)
    with opened(home, may_be_new=True) as catalog:
        _show(write_quota(catalog, quota), as_json=as_json)


@group.command("list")
def list_quotas(*, home: Home = None, as_json: Json = False) -> None:
    """List all quotas and their use.

    Example: entrepot quota list
    """
    with opened(home) as catalog:
        found = catalog.quotas.all()
    if as_json:
        print_json([_json(one) for one in found])
        return
    rows = [
        (one.quota.pattern, format_size(one.used.bytes), _bytes(one.quota.max_bytes), _bytes(one.quota.warn_bytes),
         one.used.tags, one.quota.max_tags, one.quota.warn_tags)
        for one in found
    ]  # fmt: skip
    print_table(("PATTERN", "BYTES", "LIMIT", "WARN", "TAGS", "LIMIT", "WARN"), rows)


@group.command("show")
def show_quota(pattern: PatternArgument, *, home: Home = None, as_json: Json = False) -> None:
    """Show one quota and its use.

    Example: entrepot quota show 'team/**'
    """
    with opened(home) as catalog:
        _show(catalog.quotas.get(pattern), as_json=as_json)


@group.command("delete")
def delete_quota(pattern: PatternArgument, *, home: Home = None, as_json: Json = False) -> None:
    """Delete a quota.

    Example: entrepot quota delete 'team/**'
    """
    with opened(home) as catalog:
        drop_quota(catalog, pattern)
    if as_json:
        print_json({"deleted": pattern})
    else:
        print_line(f"deleted the quota of {pattern}")


def write_quota(catalog: "Catalog", quota: "Quota") -> "QuotaUse":
    """Write a quota with its audit event; return it with its use. Raise InvalidInput."""
    from catalog.audit import Event

    catalog.quotas.put(quota, actor=ACTOR)
    use = catalog.quotas.get(quota.pattern)
    catalog.events.record([Event(datetime.now(UTC), ACTOR, "set-quota", quota.pattern, detail=_json(use))])
    return use


def drop_quota(catalog: "Catalog", pattern: str) -> None:
    """Delete a quota with its audit event; raise QuotaUnknown."""
    from catalog.audit import Event

    catalog.quotas.delete(pattern, actor=ACTOR)
    catalog.events.record([Event(datetime.now(UTC), ACTOR, "delete-quota", pattern)])


def _show(use: "QuotaUse", *, as_json: bool) -> None:
    quota, used = use.quota, use.used
    if as_json:
        print_json(_json(use))
        return
    print_fields(
        {
            "pattern": quota.pattern,
            "bytes": f"{format_size(used.bytes)} of {_bytes(quota.max_bytes) or 'any'}",
            "warn above": _bytes(quota.warn_bytes) or "never",
            "tags": f"{used.tags} of {'any' if quota.max_tags is None else quota.max_tags}",
            "warn above (tags)": "never" if quota.warn_tags is None else quota.warn_tags,
        }
    )


def _bytes(size: int | None) -> str:
    return "" if size is None else format_size(size)


def _json(use: "QuotaUse") -> dict[str, object]:
    quota = use.quota
    return {
        "pattern": quota.pattern,
        "max_bytes": quota.max_bytes,
        "max_tags": quota.max_tags,
        "warn_bytes": quota.warn_bytes,
        "warn_tags": quota.warn_tags,
        "used_bytes": use.used.bytes,
        "used_tags": use.used.tags,
    }

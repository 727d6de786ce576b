"""Options of `entrepot distribution` that say what a cache takes and keeps."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.output import Cell, bytes_text

if TYPE_CHECKING:
    from catalog.distributions.cache_rules import CacheRules

OPTIONS = "--include, --exclude, --bring, --max-size, --keep-unused"
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="PATTERN",
        help="Names upstream that a cache takes: library/*, team/**, re:REGEX; may be repeated; '' for all.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude", metavar="PATTERN", help="Names upstream that a cache does not take; stronger; '' for none."
    ),
]
WhoBrings = Annotated[
    Literal["anyone", "users", "rule"] | None,
    typer.Option(
        help="Who may bring into a cache what is not there: whoever may pull, who has logged in, or whom a rule lets push there."
    ),
]
MaxSize = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Evict from a cache what was pulled longest ago above this: 50GB; 0 for no limit."
    ),
]
KeepUnused = Annotated[
    str | None,
    typer.Option(
        "--keep-unused", metavar="DURATION", help="Evict from a cache what was not pulled for so long: 30d; 0: never."
    ),
]


def rules_asked(
    include: list[str] | None,
    exclude: list[str] | None,
    bring: str | None,
    max_size: str | None,
    keep_unused: str | None,
) -> dict[str, Any]:
    """Return the rules of a cache that the command line names; raise InvalidInput."""
    from catalog.units import parse_duration, parse_size

    given: dict[str, Any] = {
        "include": None if include is None else tuple(filter(None, include)),
        "exclude": None if exclude is None else tuple(filter(None, exclude)),
        "bring": bring,
        "max_size": None if max_size is None else parse_size(max_size),
        "keep_unused_days": None if keep_unused is None else parse_duration(keep_unused) / timedelta(days=1),
    }
    return {name: value for name, value in given.items() if value is not None}


def rule_fields(rules: "CacheRules") -> dict[str, Cell]:
    """Return the rules for people."""
    from catalog.units import format_duration

    return {
        "include": " ".join(rules.include) or "all names",
        "exclude": " ".join(rules.exclude),
        "bring": rules.bring,
        "max size": bytes_text(rules.max_size) if rules.max_size else "no limit",
        "keep unused": format_duration(timedelta(days=rules.keep_unused_days))
        if rules.keep_unused_days
        else "for ever",
    }

"""Options of `entrepot distribution` that say what a cache takes and keeps."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.output import Cell, bytes_text

if TYPE_CHECKING:
    from catalog.distributions.cache_rules import CacheRules

OPTIONS = "--include, --exclude, --bring, --max-size, --keep-unused-days"
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="PATTERN",
        help="Names upstream that a cache takes: a glob or re:REGEX; may be repeated; '' for all.",
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
    float | None,
    typer.Option(
        "--keep-unused-days", metavar="N", help="Evict from a cache what was not pulled for N days; 0: never.", min=0
    ),
]


def rules_asked(
    include: list[str] | None,
    exclude: list[str] | None,
    bring: str | None,
    max_size: str | None,
    keep_unused_days: float | None,
) -> dict[str, Any]:
    """The rules of a cache that the command line says something about."""
    given: dict[str, Any] = {
        "include": None if include is None else tuple(filter(None, include)),
        "exclude": None if exclude is None else tuple(filter(None, exclude)),
        "bring": bring,
        "max_size": None if max_size is None else _read_size(max_size),
        "keep_unused_days": keep_unused_days,
    }
    return {name: value for name, value in given.items() if value is not None}


def _read_size(text: str) -> int:
    from pydantic import ByteSize, TypeAdapter, ValidationError

    from oci.errors import InvalidInput

    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        raise InvalidInput(f"--max-size {text[:40]!r} is no size: bytes, or such as 500MB, 50GB, 2TiB") from None


def rule_fields(rules: "CacheRules") -> dict[str, Cell]:
    """The rules for people."""
    return {
        "include": " ".join(rules.include) or "all names",
        "exclude": " ".join(rules.exclude),
        "bring": rules.bring,
        "max size": bytes_text(rules.max_size) if rules.max_size else "no limit",
        "keep unused": f"{rules.keep_unused_days:g} days" if rules.keep_unused_days else "for ever",
    }

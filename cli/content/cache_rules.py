"""What a cache takes and keeps, for people."""

from datetime import timedelta
from typing import TYPE_CHECKING

from catalog.units import format_size
from cli.output import Cell

if TYPE_CHECKING:
    from catalog.distributions.cache_rules import CacheRules

OPTIONS = "--freshness, --include, --exclude, --bring, --max-size, --keep-unused"


def rule_fields(rules: "CacheRules") -> dict[str, Cell]:
    """Return the rules for people."""
    from catalog.units import format_duration

    return {
        "include": " ".join(rules.include) or "all names",
        "exclude": " ".join(rules.exclude),
        "bring": rules.bring,
        "max size": format_size(rules.max_size) if rules.max_size else "no limit",
        "keep unused": format_duration(timedelta(days=rules.keep_unused_days))
        if rules.keep_unused_days
        else "for ever",
    }

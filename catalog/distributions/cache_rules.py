"""What a pull-through cache takes, who may bring something new into it, and when it lets go: values and pure rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from catalog.path_patterns import parse_path_pattern, select_paths
from oci.errors import InvalidInput

Bring = Literal["anyone", "users", "rule"]
"""Who may bring what is not here: whoever may pull; whoever has logged in; whom a rule lets `push` below the cache's path."""


@dataclass(frozen=True, slots=True)
class CacheRules:
    """The rules of one cache. `include` and `exclude` are patterns of names as they are upstream.

    Above `max_size` bytes, layers that were pulled longest ago lose their bytes; what was not pulled for `keep_unused_days` is
    taken away. 0 is no limit.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    bring: Bring = "anyone"
    max_size: int = 0
    keep_unused_days: float = 0.0

    def selects(self, *names: str) -> bool:
        """Return whether something that has these names upstream may be asked for: one of them is included, none is excluded."""
        if not self.include and not self.exclude:
            return True
        return _takes(self.include, self.exclude, names)

    def check(self) -> "CacheRules":
        """Return the rules; raise InvalidInput for a pattern that cannot be read, or a limit below 0."""
        if self.max_size < 0 or self.keep_unused_days < 0:
            raise InvalidInput("limits of a cache cannot be below 0; 0 is no limit")
        for pattern in (*self.include, *self.exclude):
            parse_path_pattern(pattern)
        return self


@lru_cache(maxsize=10_000)
def _takes(include: Sequence[str], exclude: Sequence[str], names: tuple[str, ...]) -> bool:
    return bool(select_paths(names, include=include)) and len(select_paths(names, exclude=exclude)) == len(names)

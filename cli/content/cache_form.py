"""The form of what a cache takes and keeps: options of `entrepot distribution create` and `set`."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from catalog.units import parse_duration
from flows.forms.fields import DurationField, SizeField
from flows.forms.parameters import Metavar

_Names = tuple[Annotated[str, Metavar("PATTERN")], ...] | None


class CacheForm(BaseModel):
    """Say what a cache takes and keeps; None: not said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    freshness: DurationField | None = Field(
        default=None, description="Serve a cached tag this long without asking upstream. Default: 5m."
    )
    include: _Names = Field(
        default=None, description="Cache upstream names that match: library/*, team/**, re:REGEX. Repeatable; '': all."
    )
    exclude: _Names = Field(
        default=None, description="Exclude upstream names that match; takes precedence. Repeatable; '': none."
    )
    bring: Literal["anyone", "users", "rule"] | None = Field(
        default=None, description="Who may bring content into the cache: who may pull, users, or whom a rule lets push."
    )
    max_size: SizeField | None = Field(
        default=None, description="Evict the least recently pulled content above this size: 50GB. 0: no limit."
    )
    keep_unused: DurationField | None = Field(
        default=None, description="Evict content that was not pulled for this time: 30d. 0: never."
    )

    def rules(self) -> dict[str, Any]:
        """Return the rules of the cache that are said, by field of `CacheRules`."""
        said: dict[str, Any] = {
            "include": None if self.include is None else tuple(filter(None, self.include)),
            "exclude": None if self.exclude is None else tuple(filter(None, self.exclude)),
            "bring": self.bring,
            "max_size": self.max_size,
            "keep_unused_days": self.keep_unused and parse_duration(self.keep_unused) / timedelta(days=1),
        }
        return {name: value for name, value in said.items() if value is not None}

    def fresh_seconds(self, default: int) -> int:
        """Return the freshness in seconds; the default where none is said."""
        return default if self.freshness is None else int(parse_duration(self.freshness).total_seconds())

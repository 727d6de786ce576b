"""The form and the result of an eviction."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from catalog.units import format_size
from flows.forms.fields import PathPatternField
from flows.forms.older_parameters import older_names
from flows.forms.parameters import Argument
from flows.forms.shared_fields import CheckUpstream, DryRun, KeepRecent


class EvictRequest(BaseModel):
    """Evict what caches are not to keep any longer by their own limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    _older = model_validator(mode="before")(older_names("evict-cache"))

    caches: Annotated[tuple[PathPatternField, ...], Argument("CACHE")] = Field(
        default=(), title="Caches", description="Evict from caches whose path matches this path pattern. Default: all."
    )
    keep: KeepRecent = "1h"
    check: CheckUpstream = True
    dry_run: DryRun = False


@dataclass(frozen=True, slots=True)
class Evicted:
    """One thing that goes: a tag or a manifest of a repository, or the bytes of a layer; `size` of those, else 0."""

    cache: str
    what: Literal["tag", "manifest", "layer"]
    repository: str
    name: str
    reason: str
    size: int = 0


@dataclass(frozen=True, slots=True)
class CacheState:
    """A cache's bytes in the store before and after, and its limits; 0 for none."""

    path: str
    held_before: int
    held_after: int
    max_size: int
    keep_unused_days: float


@dataclass(frozen=True, slots=True)
class EvictResult:
    """The end of an eviction: what went, in what state the caches are, and why what should have gone did not."""

    evicted: tuple[Evicted, ...]
    caches: tuple[CacheState, ...]
    kept: Mapping[str, str]
    dry_run: bool
    flow_run_id: str

    def count(self, what: str) -> int:
        """Return how many of a kind went."""
        return sum(1 for one in self.evicted if one.what == what)

    @property
    def freed_bytes(self) -> int:
        """Bytes freed."""
        return sum(one.size for one in self.evicted)

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        if not self.caches:
            return "no cache has a limit; `entrepot distribution set CACHE --max-size 50GB --keep-unused 30d` sets them"
        what = "would evict" if self.dry_run else "evicted"
        said = (
            f"{len(self.caches)} cache(s): {what} {self.count('tag')} tags, {self.count('manifest')} manifests, and the bytes of "
            f"{self.count('layer')} layers, {format_size(self.freed_bytes)}"
        )
        return f"{said}; kept {len(self.kept)} layers that upstream does not give" if self.kept else said

    def to_json(self) -> dict[str, object]:
        """Return the same for programs; sizes in bytes."""
        return {
            "dry_run": self.dry_run,
            "evicted": [asdict(one) for one in self.evicted],
            "freed_bytes": self.freed_bytes,
            "caches": [asdict(one) for one in self.caches],
            "kept": dict(self.kept),
            "flow_run_id": self.flow_run_id or None,
        }

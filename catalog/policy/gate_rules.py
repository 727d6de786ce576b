"""Gates by trust policies: at which paths a policy is asked, when, and what a refusal means. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from catalog.path_patterns import PathPattern, matches
from oci.errors import InvalidInput

GatePoint = Literal["pull", "push", "sync", "promote", "export", "import"]
GateMode = Literal["refuse", "warn", "dry-run"]
POINTS: tuple[GatePoint, ...] = ("pull", "push", "sync", "promote", "export", "import")
MODES: tuple[GateMode, ...] = ("refuse", "warn", "dry-run")
MOST_GATES = 200


class PolicyGateRule(BaseModel):
    """A policy is asked below `pattern`, at these points.

    `quarantine` is of pushes: what does not satisfy the policy yet is accepted, and pulled once it does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pattern: PathPattern
    policy: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    at: tuple[GatePoint, ...] = Field(min_length=1, max_length=6)
    mode: GateMode = "refuse"
    quarantine: bool = True
    set_by: str
    set_at: AwareDatetime

    @property
    def is_at_pull(self) -> bool:
        """Return whether pulls ask the policy: content in quarantine is kept back by nothing else."""
        return "pull" in self.at or ("push" in self.at and self.quarantine)

    @property
    def facts(self) -> dict[str, object]:
        """Return what an audit event tells of the rule, besides its pattern."""
        return {"policy": self.policy, "at": list(self.at), "mode": self.mode, "quarantine": self.quarantine}

    @property
    def key(self) -> tuple[str, str]:
        """Return what there is one rule of."""
        return self.pattern, self.policy


@dataclass(frozen=True, slots=True)
class GatedName:
    """The names of content by which a gate is asked: the path, or the repository that the path serves."""

    rule: PolicyGateRule
    names: tuple[str, ...]


def parse_points(text: str) -> tuple[GatePoint, ...]:
    """Read a list such as `pull,push`; raise InvalidInput."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if not all(part in POINTS for part in found):
        raise InvalidInput(f"invalid points {text[:80]!r}: expected some of {', '.join(POINTS)}, with commas between")
    return tuple(point for point in POINTS if point in found)


def parse_mode(text: str) -> GateMode:
    """Read a mode; raise InvalidInput."""
    for mode in MODES:
        if text == mode:
            return mode
    raise InvalidInput(f"invalid mode {text[:80]!r}: expected {', '.join(MODES)}")


def gates_of(rules: Iterable[PolicyGateRule], *names: str) -> tuple[GatedName, ...]:
    """Return the gates about content by its names, a repository's and those of paths; each with the names that its pattern fits.

    Another path of a repository that is gated is no way round.
    """
    all_names = tuple(dict.fromkeys(names))
    found = (GatedName(rule, tuple(name for name in all_names if matches(rule.pattern, name))) for rule in rules)
    return tuple(one for one in found if one.names)

"""Rules of retention as records: which repositories they are for, and what they keep."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from catalog.access.policy import ACCOUNT_PATTERN
from catalog.filters.conditions import PairText
from catalog.filters.tags import Line, TagPattern
from catalog.lake.connection import Lake
from catalog.path_patterns import PathPattern, matches
from catalog.retention.times import Times, read_times
from catalog.unit_fields import Age
from oci.errors import RuleUnknown


class RetentionRule(BaseModel):
    """What is kept of the repositories that fit `pattern`.

    A tag stays when any of `keep` fits it, or it is among the `newest` of its line, or it was set within `set_within`, or pulled
    within `pulled_within`, or what it points to has one of `labels`. A rule that says none of these leaves all tags. Untagged
    manifests go after `untagged_after`, and versions beyond the newest `versions`; without these they stay.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=ACCOUNT_PATTERN, max_length=64)
    pattern: PathPattern
    keep: tuple[TagPattern, ...] = ()
    newest: int | None = Field(default=None, ge=1)
    line: Line = "repository"
    set_within: Age = ""
    pulled_within: Age = ""
    labels: tuple[PairText, ...] = ()
    untagged_after: Age = ""
    versions: int | None = Field(default=None, ge=1)

    @property
    def judges_tags(self) -> bool:
        """Return whether the rule removes tags: labels alone only protect."""
        return bool(self.keep or self.newest or self.set_within or self.pulled_within)

    def fits(self, repository: str) -> bool:
        """Return whether the rule applies to a repository."""
        return matches(self.pattern, repository)


class RetentionRules:
    """Reads and writes the table `retention_rules`; usable from any thread."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def times(self, name: str) -> Times:
        """Return when a repository's tags were set, and its manifests came or lost a tag; one query."""
        return read_times(self._lake, name)

    def all(self) -> Sequence[RetentionRule]:
        """Return every rule by name; one query."""
        rows = self._lake.read("SELECT rule FROM retention_rules ORDER BY name")
        return [RetentionRule.model_validate_json(str(row[0])) for row in rows]

    def get(self, name: str) -> RetentionRule:
        """Return one rule; raise RuleUnknown."""
        for rule in self.all():
            if rule.name == name:
                return rule
        raise RuleUnknown(f"no retention rule {name[:80]!r} here")

    def put(self, rule: RetentionRule, *, actor: str) -> None:
        """Write a rule, in place of the one of its name; durable on return."""
        with self._lake.write() as writer:
            writer.delete("retention_rules", "name", rule.name)
            writer.insert("retention_rules", [(rule.name, rule.model_dump_json())])
            writer.describe(actor, f"retention rule {rule.name}")

    def delete(self, name: str, *, actor: str) -> None:
        """Delete a rule; raise RuleUnknown."""
        self.get(name)
        with self._lake.write() as writer:
            writer.delete("retention_rules", "name", name)
            writer.describe(actor, f"retention rule {name} deleted")

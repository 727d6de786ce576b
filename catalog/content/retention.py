"""What retention rules would remove from one repository, by what the catalogue knows of it."""

from collections.abc import Sequence
from datetime import datetime

from catalog.catalog import Catalog
from catalog.pull_counts import sum_pulls
from catalog.retention.plan import Item, RetentionPlan, plan_retention, plan_versions
from catalog.retention.rules import RetentionRule
from catalog.versions.snapshot import Snapshot


def plan_for(catalog: Catalog, base: Snapshot, rules: Sequence[RetentionRule], now: datetime) -> RetentionPlan:
    """Judge a latest version by what the catalogue knows of it."""
    name = base.repository
    needs_facts = any(rule.labels for rule in rules)
    return plan_retention(
        base,
        rules,
        facts=catalog.history.facts(base, base.manifests.keys()) if needs_facts else {},
        times=catalog.retention_rules.times(name),
        pulls=sum_pulls(catalog.pulls.read_one(name)),
        children=catalog.history.children(name),
        immutable=catalog.distributions.immutable_tags(name),
        now=now,
    )


def plan_versions_of(
    catalog: Catalog, name: str, rules: Sequence[RetentionRule], numbers: Sequence[int]
) -> Sequence[Item]:
    """Judge versions of a repository, the newest first."""
    pinned = {pin.version for pin in catalog.pins.of(name)}
    served = {one.version for one in catalog.distributions.all() if one.repository == name and one.version}
    return plan_versions(numbers, rules, pinned=pinned, served=served)

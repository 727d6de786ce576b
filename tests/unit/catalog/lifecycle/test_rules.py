"""The fields of a rule, as requests, commands and configuration files write them."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta

from catalog.desired_state.entries import LifecycleEntry
from catalog.desired_state.present import lifecycle_entry
from catalog.lifecycle.rules import LifecycleRule, lifecycle_fields

RULE = LifecycleRule(
    "prod/**",
    "1.*",
    "me",
    datetime(2026, 1, 2, tzinfo=UTC),
    end_of_life=datetime(2026, 4, 30, tzinfo=UTC),
    deprecated=True,
    successor="prod/app:2",
    message="move on",
    warn_before=timedelta(days=30),
    published=True,
    refuse=True,
)


def test_no_field_of_a_rule_is_missing_where_it_is_written() -> None:
    found = lifecycle_fields(RULE)
    assert found.keys() == {one.name for one in fields(RULE)} - {"pattern", "tag", "actor", "set_at"}
    assert found.keys() == LifecycleEntry.model_fields.keys()
    assert (found["end_of_life"], found["warn_before"]) == (RULE.end_of_life, "30d")
    assert lifecycle_entry(RULE).model_dump() == {**found, "end_of_life": "2026-04-30"}

"""Rules of other products become ours only where they mean the same; else nothing of the project's retention is taken."""

import pytest

from flows.migrate.foreign_rules import map_immutability, map_retention
from oci.remote.discovery.inventory import TagRule


def test_immutable_tags_are_those_of_the_paths_that_a_rule_is_for() -> None:
    rules = [
        TagRule("team", "immutable_template", "**", "v*"),
        TagRule("team", "immutable_template", "app", "**"),
        TagRule("team", "immutable_template", "{a,b}", "**"),
        TagRule("other", "immutable_template", "**", "**", is_plain=False),
    ]
    found, not_taken = map_immutability(rules, ["team/app", "team/tools/cli", "teams/app", "other/x"])
    assert found == {"team/app": ("v*", "*"), "team/tools/cli": ("v*",)}
    assert len(not_taken) == 2


def test_rules_of_retention_that_mean_the_same_are_taken() -> None:
    rules = [
        TagRule("team", "always", "**", "release-*"),
        TagRule("team", "nDaysSinceLastPush", "**", "**", 7),
        TagRule("team", "nDaysSinceLastPull", "app", "**", 30),
    ]
    made, not_taken = map_retention(rules, lambda name: f"moved/{name}")
    assert not_taken == []
    assert [(one.name, one.pattern) for one in made] == [
        ("team-1", "moved/team/**"),
        ("team-2", "moved/team/**"),
        ("team-3", "moved/team/app"),
    ]
    assert (made[0].keep, made[1].set_within, made[2].pulled_within) == (("release-*",), "7d", "30d")


@pytest.mark.parametrize(
    "foreign",
    [
        TagRule("team", "latestPushedK", "**", "**", 10),
        TagRule("team", "nDaysSinceLastPush", "**", "v*", 7),
        TagRule("team", "nDaysSinceLastPush", "**", "**", 0),
        TagRule("team", "always", "**", "v*", is_plain=False),
        TagRule("team", "always", "**", "{a,b}"),
        TagRule("team", "unheard-of", "**", "**"),
    ],
    ids=str,
)
def test_one_rule_without_a_counterpart_leaves_out_its_project_and_no_other(foreign: TagRule) -> None:
    rules = [TagRule("team", "always", "**", "v*"), foreign, TagRule("other", "always", "**", "v*")]
    made, not_taken = map_retention(rules, str)
    assert [one.name for one in made] == ["other-1"]
    assert len(not_taken) == 1
    assert "team" in not_taken[0]


def test_a_project_whose_name_no_rule_can_have_is_told() -> None:
    made, not_taken = map_retention([TagRule("te__am", "always", "**", "v*")], str)
    assert made == []
    assert "cannot be written" in not_taken[0]

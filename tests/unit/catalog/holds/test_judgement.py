"""Which manifests a hold keeps back, by values alone."""

from datetime import UTC, datetime, timedelta

import pytest

from catalog.gates.repository_facts import ManifestFacts, RepositoryFacts
from catalog.holds.judgement import KnownTimes, age_start, judge_holds
from catalog.holds.rules import HoldDecision, HoldRule, check_decision, check_rule, strictest
from oci.digest import Digest
from oci.errors import InvalidInput

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
RULE = HoldRule("dockerhub/**", WEEK, "admin", NOW - timedelta(days=90))
TRUSTING = HoldRule("dockerhub/**", WEEK, "admin", NOW, trust_created=True)


def named(name: str) -> Digest:
    return Digest.of(name.encode())


A, B, C, D = map(named, "abcd")


def facts_of(**manifests: ManifestFacts) -> RepositoryFacts:
    return RepositoryFacts("dockerhub/app", 9, {named(name): found for name, found in manifests.items()})


def seen(days: float, *, created: str = "", parts: tuple[Digest, ...] = (), companion: bool = False) -> ManifestFacts:
    return ManifestFacts(NOW - timedelta(days=days), created, parts, companion)


def decided(digest: Digest, action: str, days: float | None = None) -> HoldDecision:
    expires = None if days is None else NOW + timedelta(days=days)
    return HoldDecision(digest, action, "**", "because", "admin", NOW, expires_at=expires)  # type: ignore[arg-type]


def refused(facts: RepositoryFacts, *decisions: HoldDecision, rule: HoldRule | None = RULE) -> set[Digest]:
    return set(judge_holds(facts, rule, decisions, NOW).refused)


def test_what_is_younger_than_the_hold_is_held_until_its_week_is_over() -> None:
    found = judge_holds(facts_of(a=seen(7), b=seen(6.5), c=seen(0)), RULE, [], NOW)
    assert {digest: refusal.until for digest, refusal in found.refused.items()} == {
        B: NOW + timedelta(days=0.5),
        C: NOW + WEEK,
    }
    assert found.until == NOW + timedelta(days=0.5)
    assert all(refusal.steps_back for refusal in found.refused.values())
    assert "until 2026-12-01T00:00:00Z" in found.refused[B].reason


@pytest.mark.parametrize(
    ("created", "is_held"),
    [
        ("2016-11-30T00:00:00Z", False),  # ten years old, and first seen now
        ("2026-11-20T00:00:00Z", False),
        ("2026-11-29T00:00:00Z", True),
        ("2099-01-01T00:00:00Z", True),  # a date in the future makes nothing older, and holds nothing for longer
        ("1970-01-01T00:00:00Z", True),  # a reproducible build's date is none
        ("0001-01-01T00:00:00Z", True),
        ("yesterday", True),
        ("", True),
    ],
)
def test_the_date_that_an_image_states_counts_only_where_the_rule_trusts_it(created: str, is_held: bool) -> None:
    facts = facts_of(a=seen(0, created=created))
    assert refused(facts, rule=TRUSTING) == ({A} if is_held else set())
    assert judge_holds(facts, TRUSTING, [], NOW).until == (
        NOW + WEEK if is_held and "29" not in created else NOW + timedelta(days=5.5) if is_held else None
    )
    assert refused(facts) == {A}


def test_an_index_is_as_old_as_its_newest_image_and_of_no_date_without_one_of_them() -> None:
    old, new = "2020-01-01T00:00:00Z", "2026-11-29T00:00:00Z"
    whole = facts_of(a=seen(0, parts=(B, C)), b=seen(0, created=old), c=seen(0, created=old))
    assert refused(whole, rule=TRUSTING) == set()
    newer = facts_of(a=seen(0, parts=(B, C)), b=seen(0, created=old), c=seen(0, created=new))
    assert refused(newer, rule=TRUSTING) == {A, C}
    part_missing = facts_of(a=seen(0, parts=(B, C)), b=seen(0, created=old))
    assert refused(part_missing, rule=TRUSTING) == {A}


def test_the_earliest_of_log_first_sight_and_stated_date_counts() -> None:
    day = timedelta(days=1)
    assert age_start(NOW) == NOW
    assert age_start(NOW, logged=NOW - day) == NOW - day
    assert age_start(NOW, logged=NOW + day) == NOW
    assert age_start(NOW, logged=NOW - day, stated=NOW - 2 * day) == NOW - 2 * day
    facts = facts_of(a=seen(0), b=seen(0))
    times = KnownTimes(logged={A: NOW - WEEK}, elsewhere={B: NOW - WEEK})
    assert judge_holds(facts, RULE, [], NOW, times).refused == {}


def test_parts_of_an_index_that_passes_pass_with_it_and_those_of_one_that_is_held_do_not() -> None:
    facts = facts_of(a=seen(8, parts=(B,)), b=seen(0, parts=(D,)), c=seen(0, parts=(D,)), d=seen(0))
    assert refused(facts) == {C}
    assert refused(facts_of(c=seen(0, parts=(D,)), d=seen(0))) == {C, D}
    assert refused(facts_of(c=seen(0, parts=(D,)), d=seen(0)), decided(C, "release")) == set()
    assert refused(facts_of(c=seen(0, parts=(D,)), d=seen(0)), decided(D, "release")) == {C}


def test_a_release_ends_when_it_says_and_a_block_wins() -> None:
    facts = facts_of(a=seen(0), b=seen(30))
    assert refused(facts, decided(A, "release", 1)) == set()
    assert judge_holds(facts, RULE, [decided(A, "release", 1)], NOW).until == NOW + timedelta(days=1)
    assert refused(facts, decided(A, "release", -1)) == {A}
    assert refused(facts, decided(A, "release"), decided(A, "block")) == {A}
    assert refused(facts, decided(B, "block")) == {A, B}
    assert refused(facts, decided(B, "block", -1)) == {A}


def test_a_block_needs_no_rule_and_reaches_the_parts_that_nothing_else_names() -> None:
    facts = facts_of(a=seen(30, parts=(B, C)), b=seen(30), c=seen(30), d=seen(30, parts=(C,)))
    found = judge_holds(facts, None, [decided(A, "block")], NOW).refused
    assert set(found) == {A, B}
    assert not any(refusal.steps_back for refusal in found.values())
    assert found[B].reason.startswith(f"is a part of {A}, which is blocked")
    assert refused(facts, rule=None) == set()


def test_signatures_pass_at_once_and_so_do_indexes_of_them_alone() -> None:
    facts = facts_of(a=seen(0, companion=True), b=seen(0, parts=(A,)), c=seen(0, parts=(A, D)), d=seen(0))
    assert refused(facts) == {C, D}
    assert refused(facts, decided(A, "block")) == {A, C, D}


def test_what_has_the_config_of_an_image_is_a_signature_by_its_bytes_alone() -> None:
    posing = ManifestFacts(NOW, is_companion=True, has_image_config=True)
    facts = facts_of(a=posing, b=seen(0, parts=(A,)), c=posing)
    assert refused(facts) == {A, B, C}
    assert set(judge_holds(facts, RULE, [], NOW, KnownTimes(is_statement={A}.__contains__)).refused) == {C}


def test_the_rule_that_holds_longest_counts_whichever_path_leads_there() -> None:
    longer = HoldRule("**", timedelta(days=30), "admin", NOW, trust_created=True)
    assert strictest([RULE, longer], "dockerhub/app", "dockerhub/app") == longer
    assert strictest([RULE], "public/app", "dockerhub/app") == RULE
    assert strictest([RULE], "public/app", "public/app") is None
    assert strictest([TRUSTING, RULE], "dockerhub/app", "dockerhub/app") == RULE


@pytest.mark.parametrize(
    "fields", [{"reason": " "}, {"reason": "x" * 501}, {"owner": "x" * 101}, {"expires_at": NOW}, {"pattern": "A B"}]
)
def test_decisions_that_say_nothing_are_refused(fields: dict[str, object]) -> None:
    values = {"digest": A, "action": "block", "pattern": "**", "reason": "x", "actor": "a", "decided_at": NOW}
    with pytest.raises(InvalidInput):
        check_decision(HoldDecision(**{**values, **fields}))  # type: ignore[arg-type]


@pytest.mark.parametrize("duration", [timedelta(), timedelta(days=-1), timedelta(days=3651)])
def test_a_hold_has_an_end(duration: timedelta) -> None:
    with pytest.raises(InvalidInput):
        check_rule(HoldRule("**", duration, "a", NOW))

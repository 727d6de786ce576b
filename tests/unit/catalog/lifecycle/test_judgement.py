"""Warnings and refusals about the end of content's life, by values alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from catalog.gates.repository_facts import ManifestFacts, RepositoryFacts
from catalog.gates.verdicts import Verdicts
from catalog.lifecycle.judgement import judge_lifecycles, text_of
from catalog.lifecycle.published import LIFECYCLE_TYPE, dates_of
from catalog.lifecycle.rules import LifecycleRule, check_lifecycle, parse_lifecycle_scope
from catalog.versions.snapshot import ManifestEntry, Snapshot
from oci.digest import Digest
from oci.errors import InvalidInput

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DAY = timedelta(days=1)
A, B, C, D = (Digest.of(name) for name in (b"a", b"b", b"c", b"d"))
RULE = LifecycleRule("team/**", "1.*", "admin", NOW)
SNAPSHOT = Snapshot("team/app", 3, {"1.0": A, "2.0": B}, {digest: ManifestEntry("x", 1) for digest in (A, B, C, D)})
FACTS = RepositoryFacts(
    "team/app", 3, {A: ManifestFacts(NOW, parts=(C, D)), B: ManifestFacts(NOW, parts=(D,)), C: ManifestFacts(NOW),
                    D: ManifestFacts(NOW)}
)  # fmt: skip


def judge(rule: LifecycleRule, published: dict[Digest, datetime] | None = None) -> Verdicts:
    return judge_lifecycles("team/app", SNAPSHOT, FACTS, [rule], published or {}, NOW)


@pytest.mark.parametrize(
    ("days", "text", "until"),
    [
        (-1, "team/app:1.* reached its end of life on 2026-11-29", None),
        (0, "team/app:1.* reached its end of life on 2026-11-30", None),
        (90, "team/app:1.* reaches its end of life on 2027-02-28", 90),
        (91, "", 1),
    ],
)
def test_content_is_warned_of_shortly_before_its_end_and_after_it(days: int, text: str, until: int | None) -> None:
    found = judge(replace(RULE, end_of_life=NOW + days * DAY))
    assert found.warnings == ({A: (text,)} if text else {})
    assert found.until == (None if until is None else NOW + until * DAY)
    assert found.refused == {}


def test_what_is_deprecated_says_so_and_what_to_use_and_why() -> None:
    rule = replace(RULE, deprecated=True, successor="team/app:2", message="1.x has no fixes")
    assert judge(rule).warnings == {A: ("team/app:1.* is deprecated; use team/app:2; 1.x has no fixes",)}
    assert text_of("team/app", replace(RULE, message="moved"), None, NOW) == "team/app; moved"
    assert text_of("x", replace(rule, deprecated=False, end_of_life=NOW + 900 * DAY), NOW + 900 * DAY, NOW) == ""
    assert set(judge(replace(rule, tag="")).warnings) == {A, B, C, D}


def test_pulls_after_the_end_are_refused_with_the_parts_that_nothing_else_names() -> None:
    rule = replace(RULE, end_of_life=NOW, refuse=True, successor="team/app:2")
    found = judge(rule)
    assert set(found.refused) == {A, C}
    assert found.warnings == {}
    assert not found.refused[A].steps_back
    assert "reached its end of life on 2026-11-30; use team/app:2" in found.refused[A].reason
    assert judge(replace(rule, end_of_life=NOW + DAY)).refused == {}


def test_published_dates_count_where_the_rule_has_none_and_heeds_them() -> None:
    heeding = replace(RULE, published=True)
    past = NOW - DAY
    assert judge(RULE.__class__("team/**", "", "a", NOW, published=True), {B: past}).warnings == {
        B: ("team/app reached its end of life on 2026-11-29",)
    }
    assert judge(replace(RULE, deprecated=True), {A: past}).warnings == {A: ("team/app:1.* is deprecated",)}
    assert judge(heeding, {C: past, D: past - DAY}).warnings == {
        A: ("team/app:1.* reached its end of life on 2026-11-29",)
    }
    assert judge(heeding, {C: past}).warnings == {}
    assert judge(replace(heeding, end_of_life=NOW + 900 * DAY), {A: past}).warnings == {}


def test_the_date_that_came_last_counts_and_a_text_that_is_none_spoils_no_other() -> None:
    facts = RepositoryFacts("x", 1, {C: ManifestFacts(NOW), D: ManifestFacts(NOW + DAY), B: ManifestFacts(NOW)})
    stated = [
        (C, A, LIFECYCLE_TYPE, "2030-01-01"),
        (D, A, LIFECYCLE_TYPE, "2027-01-01"),
        (B, A, "application/other", "2026-01-01"),
        (C, B, LIFECYCLE_TYPE, '2026-01-01\r\nSet-Cookie: a="b"'),
        (C, C, LIFECYCLE_TYPE, "9" * 10_000),
    ]
    assert dates_of(stated, facts) == {A: datetime(2027, 1, 1, tzinfo=UTC), B: datetime(2026, 1, 1, tzinfo=UTC)}


def test_scopes_are_read() -> None:
    assert parse_lifecycle_scope("team/app:1.*") == ("team/app", "1.*")
    assert parse_lifecycle_scope("team/**:semver:<2") == ("team/**", "semver:<2")
    assert parse_lifecycle_scope("team/app") == ("team/app", "")
    assert parse_lifecycle_scope("re:team/.*:x") == ("re:team/.*:x", "")


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"deprecated": True, "tag": "re:("}, {"message": "x" * 301}, {"deprecated": True, "refuse": True},
        {"deprecated": True, "warn_before": timedelta(days=-1)}, {"deprecated": True, "pattern": "A"},
    ],
)  # fmt: skip
def test_rules_that_are_no_rules_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        check_lifecycle(replace(RULE, **fields))  # type: ignore[arg-type]


def test_a_rule_that_says_nothing_is_refused_by_its_whole_name() -> None:
    with pytest.raises(InvalidInput, match=r"the lifecycle of team/\*\*:1\.\* says nothing"):
        check_lifecycle(RULE)

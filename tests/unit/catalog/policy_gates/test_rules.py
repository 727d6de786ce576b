"""Gates by trust policies, by values alone: which are about a path, and what is reported of them."""

from datetime import UTC, datetime, timedelta

import pytest

from catalog.audit import Event
from catalog.policy.gate_rules import PolicyGateRule, gates_of, parse_mode, parse_points
from catalog.policy_gates.reports import sum_up_refusals
from oci.errors import InvalidInput

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def rule(pattern: str, **fields: object) -> PolicyGateRule:
    values = {"pattern": pattern, "policy": "release", "at": ("pull",), "set_by": "a", "set_at": NOW, **fields}
    return PolicyGateRule.model_validate(values)


def test_a_gate_is_about_the_path_and_about_the_repository_behind_it() -> None:
    rules = [rule("team/**"), rule("public/*"), rule("**"), rule("other")]
    found = {one.rule.pattern: one.names for one in gates_of(rules, "public/app", "team/app")}
    assert found == {"team/**": ("team/app",), "public/*": ("public/app",), "**": ("public/app", "team/app")}
    assert gates_of(rules[:1], "team/app", "team/app")[0].names == ("team/app",)
    assert gates_of(rules[3:], "public/app", "team/app") == ()


def test_content_in_quarantine_is_kept_back_by_the_gate_of_pulls() -> None:
    assert rule("**", at=("push",)).is_at_pull
    assert not rule("**", at=("push",), quarantine=False).is_at_pull
    assert not rule("**", at=("sync",)).is_at_pull
    assert rule("**", at=("pull",), quarantine=False).is_at_pull


def test_points_and_modes_are_read_strictly() -> None:
    assert parse_points("sync, pull,pull") == ("pull", "sync")
    for text in ("", "pull,", "delete", "Pull"):
        with pytest.raises(InvalidInput):
            parse_points(text)
    assert parse_mode("dry-run") == "dry-run"
    with pytest.raises(InvalidInput):
        parse_mode("dryrun")


def test_a_report_sums_up_events_by_path_and_digest() -> None:
    def event(path: str, digest: str, requests: object, hours: int, reason: str = "no") -> Event:
        detail = {"digest": digest, "policy": "release", "mode": "refuse", "at": "pull", "requests": requests}
        return Event(NOW + timedelta(hours=hours), "", "policy-refuse", path, "refused", reason, detail=detail)

    events = [event("a", "1", 4, 2, "later"), event("a", "1", 1, 0), event("a", "2", "x", 0), event("b", "1", 9, 1)]
    found = sum_up_refusals([*events, Event(NOW, "", "pull", "a")])
    assert [(one.path, one.digest, one.requests) for one in found] == [("b", "1", 9), ("a", "1", 5), ("a", "2", 1)]
    assert (found[1].reason, found[1].first, found[1].last) == ("later", NOW, NOW + timedelta(hours=2))

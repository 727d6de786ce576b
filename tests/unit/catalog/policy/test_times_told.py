"""Times that decisions tell are written as everywhere: RFC 3339 in UTC."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from catalog.policy.document import TimeBounds
from catalog.policy.explanation import PolicyDecision, SignatureVerdict
from catalog.policy.requirements import time_fault
from catalog.policy.signature_checks import CheckedSignature

HERE = timezone(timedelta(hours=2))
NOW = datetime(2026, 1, 31, 14, tzinfo=HERE)


def test_a_decision_tells_its_times_in_utc() -> None:
    signature = SignatureVerdict(
        "cosign", "o", "signature", "", True, ("a",), ("b",), "", NOW, "signer", 4, "it counts"
    )
    decision = PolicyDecision("team/app", "sha256:0", "allowed", "", "p", "d", "e", (), (signature,), NOW)
    told = decision.to_json()
    assert told["holds_until"] == "2026-01-31T12:00:00Z"
    assert signature.to_json()["made_at"] == "2026-01-31T12:00:00Z"


def test_a_fault_of_a_time_tells_it_in_utc() -> None:
    made = CheckedSignature("cosign", "o", "x", made_at=datetime(2026, 1, 30, 12, tzinfo=UTC))
    bounds = TimeBounds(not_before=NOW)
    assert time_fault(bounds, made, NOW) == "it was made at 2026-01-30T12:00:00Z, before 2026-01-31T12:00:00Z"
    late = replace(made, made_at=datetime(2026, 2, 1, tzinfo=UTC))
    assert time_fault(TimeBounds(), late, NOW) == "it was made in the future, at 2026-02-01T00:00:00Z"

"""The form of an approval is for one plan; what a person says is kept as one plain line."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from catalog.content.promotion import Verdict
from catalog.settings import read_settings
from catalog.versions.snapshot import Delta
from flows.promote.approval import PromotionAnswer, approval_event, approval_form, plan_report
from flows.runs.operation import OperationResult
from oci.digest import Digest

PLAN = str(Digest.of(b"plan"))
OLD, NEW = Digest.of(b"old"), Digest.of(b"new")


def planned() -> OperationResult:
    delta = Delta(tags_added={"v1": NEW}, tags_removed={"v1": OLD})
    verdicts = (Verdict("age", "v1", True, "3 days | old"),)
    return OperationResult("prod/app", "promote", 4, 4, False, True, delta, plan=PLAN, verdicts=verdicts)


def test_an_answer_is_for_its_plan_alone() -> None:
    form = approval_form(planned())
    assert form.model_validate({"decision": "approve"}).plan == PLAN
    assert form.model_json_schema()["properties"]["plan"]["enum"] == [PLAN]
    with pytest.raises(ValidationError):
        form.model_validate({"decision": "approve", "plan": str(Digest.of(b"another"))})
    with pytest.raises(ValidationError):
        form.model_validate({"decision": "maybe"})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"decision": "approve"}, "approved by somebody who gave no name"),
        ({"decision": "reject", "approver": "Ada", "comment": "no\n\x1b[1m; twice"}, "rejected by Ada: no [1m; twice"),
    ],
)
def test_what_is_said_is_one_plain_line(fields: dict[str, str], said: str) -> None:
    assert PromotionAnswer.model_validate({"plan": PLAN, **fields}).said == said


def test_the_audit_log_does_not_take_a_name_for_an_account() -> None:
    answer = PromotionAnswer(decision="reject", approver="admin", plan=PLAN)
    event = approval_event(answer, planned(), source="dev/app", run_id="run", now=datetime(2026, 1, 2, tzinfo=UTC))
    assert (event.actor, event.outcome, event.detail["name_given"]) == ("promote-content", "refused", "admin")


def test_the_plan_is_shown_whole(tmp_path: Path) -> None:
    settings = read_settings(home=tmp_path, public_url="https://registry.example/")
    shown = plan_report(settings, planned(), source="dev/app")
    assert "[dev/app](https://registry.example/repository/dev/app)" in shown
    assert f"| v1 | moved | `{str(OLD)[:19]}` | `{NEW}` |" in shown
    assert "| v1 | age | allowed | 3 days \\| old |" in shown
    assert f"Plan `{PLAN}`" in shown

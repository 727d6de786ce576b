"""A person's approval of a promotion: the plan is shown, the run waits for an answer, and the answer is for that plan alone.

A run of a worker is suspended: no process waits for the answer, and the run starts anew with it. A command's run pauses.
"""

from datetime import datetime, timedelta
from typing import Any, Literal

from prefect.context import FlowRunContext
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import apause_flow_run, asuspend_flow_run
from prefect.input import RunInput
from pydantic import Field, ValidationError, create_model

from catalog.audit import Event
from catalog.catalog import Catalog
from catalog.settings import Settings
from catalog.units import format_duration
from flows.console.charts import link, plain_cell, table
from flows.console.links import repository_page
from flows.runs.artifacts import report_artifact
from flows.runs.operation import OperationResult, PlanChanged
from flows.runs.plan_tables import important_first
from flows.runs.progress import watched
from oci.errors import Denied

KEY = "approval"
_SHOWN = 200


class ApprovalRefused(Denied):
    """A person has rejected the plan of a promotion, or nobody has answered in time."""


class PromotionAnswer(RunInput):
    """What a person says to a plan. Prefect knows no persons: the name is as they give it."""

    decision: Literal["approve", "reject"] = Field(title="Decision", description="Promote this plan, or refuse it.")
    approver: str = Field(default="", max_length=200, title="Your name", description="It is kept with the version.")
    comment: str = Field(default="", max_length=500, title="Comment", description="It is kept with the version.")
    plan: str = Field(title="Plan", description="The plan that this answer is for.")

    @property
    def said(self) -> str:
        """Return the answer in one line, for the version's record."""
        who = _clean(self.approver) or "somebody who gave no name"
        comment = _clean(self.comment)
        return f"{'approved' if self.decision == 'approve' else 'rejected'} by {who}{f': {comment}' if comment else ''}"


async def ask_approval(catalog: Catalog, plan: OperationResult, *, source: str, patience: timedelta) -> PromotionAnswer:
    """Show a plan, and return what a person says to it.

    Raises ApprovalRefused where nobody does in time, and PlanChanged where the answer is for another plan. A worker's run ends
    here with Prefect's own signal, and comes back with the answer.
    """
    await report_artifact("plan", plan.repository, plan.summary(), plan_report(catalog.settings, plan, source=source))
    try:
        answer = await _wait(approval_form(plan), patience)
    except FlowPauseTimeout:
        raise ApprovalRefused(
            f"nobody has approved the promotion to {plan.repository} within {format_duration(patience)}"
        ) from None
    except ValidationError:  # the plan of the form is the one of now
        raise PlanChanged(
            f"{plan.repository}, its source or a gate has changed since the plan was approved; nothing was done: "
            "start the promotion again"
        ) from None
    return answer


def approval_event(answer: PromotionAnswer, plan: OperationResult, *, source: str, run_id: str, now: datetime) -> Event:
    """Return the entry of the audit log; `actor` is the flow, for nobody has proved the name."""
    return Event(
        now,
        "promote-content",
        "answer-promotion",
        plan.repository,
        "done" if answer.decision == "approve" else "refused",
        answer.said,
        detail={"source": source, "plan": plan.plan, "flow_run_id": run_id, "name_given": _clean(answer.approver)},
    )


async def _wait(form: type[PromotionAnswer], patience: timedelta) -> PromotionAnswer:
    """Wait for the answer: without a process where a worker will start the run again, else in this one."""
    run = FlowRunContext.get()
    seconds = max(1, int(patience.total_seconds()))
    if run is not None and run.flow_run is not None and run.flow_run.deployment_id is not None:
        return await asuspend_flow_run(wait_for_input=form, timeout=seconds, key=KEY)
    if (shown := watched.get()) is not None:
        shown.tell("waiting for a person to approve the plan in Prefect")
    return await apause_flow_run(wait_for_input=form, timeout=seconds, poll_interval=2, key=KEY)


def approval_form(plan: OperationResult) -> type[PromotionAnswer]:
    """Return the form of the answer to one plan, and to no other."""
    only: Any = (
        Literal[plan.plan],
        Field(
            default=plan.plan,
            title="Plan",
            description="Only this plan is promoted.",
            json_schema_extra={"enum": [plan.plan]},
        ),
    )
    form = create_model("PromotionApproval", __base__=PromotionAnswer, plan=only)
    form._description = f"{plan.summary()}. The artifact `plan` of this run shows it whole."  # noqa: SLF001  # what Prefect shows above a form
    return form


def plan_report(settings: Settings, plan: OperationResult, *, source: str) -> str:
    """Return what a person has to see before approving: every tag, every gate, and the plan's id. Pure."""
    rows = [
        (
            plain_cell(item.tag),
            item.action,
            f"`{str(item.previous or '')[:19]}`" if item.previous else "",
            f"`{item.digest or ''}`",
        )
        for item in important_first(plan.items)[:_SHOWN]
    ]
    gates = [
        (plain_cell(one.name), one.gate, "allowed" if one.allowed else "refused", plain_cell(one.reason))
        for one in plan.verdicts
    ]
    left = len(plan.items) - len(rows)
    return "\n\n".join(
        filter(
            None,
            [
                f"From {link(source, repository_page(settings, source))} to "
                f"{link(plan.repository, repository_page(settings, plan.repository))}, on its version {plan.base}.",
                table(("tag", "what", "from", "to"), rows),
                f"{left} more tags are not shown." if left > 0 else "",
                table(("tag", "gate", "verdict", "reason"), gates[:_SHOWN]) if gates else "No gate was asked.",
                f"Plan `{plan.plan}`",
            ],
        )
    )


def _clean(text: str) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())

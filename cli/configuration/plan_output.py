"""Shows a plan and what became of its steps; a secret is named, never shown."""

import json
from typing import TYPE_CHECKING, Any

from cli.output import print_line

if TYPE_CHECKING:
    from catalog.desired_state.plan import ApplyPlan, FieldChange, PlanStep
    from cli.configuration.execution import StepResult

_SIGNS = {"create": "+", "change": "~", "remove": "-", "keep": "!", "unchanged": "="}
_DONE = {"create": "created", "change": "changed", "remove": "removed"}
_LONGEST = 200


def show_plan(found: "ApplyPlan", *, is_dry: bool) -> None:
    """Print what would change, field by field, what is kept, and the counts."""
    for step in found.steps:
        if step.action == "unchanged":
            continue
        print_line(
            _clean(f"{_SIGNS[step.action]} {step.kind} {step.key}" + (f": {step.reason}" if step.reason else ""))
        )
        for change in step.changes:
            print_line(_clean(f"    {_change_text(step, change)}"))
    counts = [
        f"{found.count('create')} to create",
        f"{found.count('change')} to change",
        f"{found.count('remove')} to remove",
        f"{found.count('unchanged')} unchanged",
    ]
    print_line(
        ", ".join(counts) if is_dry or found.effective else f"nothing to do: {found.count('unchanged')} unchanged"
    )


def show_step_result(result: "StepResult") -> None:
    """Print what became of a step."""
    step = result.step
    if result.error:
        print_line(_clean(f"failed: {step.kind} {step.key}: {result.error}"))
    else:
        print_line(_clean(f"{_DONE[step.action]}: {step.kind} {step.key}"))


def step_json(step: "PlanStep") -> dict[str, Any]:
    """Return a step for programs; of a secret it says only that it changes."""
    changes = [
        {"field": one.name, "before": _shown(step, one.name, one.before), "after": _shown(step, one.name, one.after)}
        for one in step.changes
    ]
    return {"kind": step.kind, "key": step.key, "action": step.action, "reason": step.reason, "changes": changes}


def _change_text(step: "PlanStep", change: "FieldChange") -> str:
    if change.name == "secret" and change.before is None and change.after is None:
        return "secret: changes"
    after = _text(_shown(step, change.name, change.after))
    if step.action == "create":
        return f"{change.name}: {after}"
    return f"{change.name}: {_text(_shown(step, change.name, change.before))} → {after}"


def _shown(step: "PlanStep", name: str, value: Any) -> Any:
    """Return a value without what may be a secret in it: the query of a subscriber's URL."""
    if step.kind == "subscriptions" and name == "url" and isinstance(value, str):
        from catalog.webhooks.records import without_query

        return without_query(value) + ("?…" if "?" in value else "")
    return value


def _text(value: Any) -> str:
    if value in (None, "", [], {}):
        return "none"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        text = " ".join(value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _clean(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text)

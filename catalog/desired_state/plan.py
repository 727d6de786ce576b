"""The plan of an apply: what is created, changed, removed, kept and unchanged; pure, over items as fields.

1. What is wished and not there is created.
2. What is there and differs in a field that the file decides is changed.
3. What an earlier apply created and the file no longer has is removed where pruning was asked for, else kept.
4. Everything else is left alone: nobody guesses whose it is.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

StepAction = Literal["create", "change", "remove", "keep", "unchanged"]
Address = tuple[str, str]
"""The kind of a thing, which is its section of the file, and its key there."""

KINDS = (
    "remotes", "repositories", "distributions", "caches", "users", "groups", "access", "trusts", "quotas", "retention",
    "holds", "policies", "gates", "lifecycle", "hooks", "subscriptions", "deployments",
)  # fmt: skip
"""In the order in which things are made, each after what it names; they are removed the other way round."""


@dataclass(frozen=True, slots=True)
class DesiredItem:
    """A thing of the file. `fields` are those that the file decides, in plain values.

    `secret` says whether its secret is another than the one that is kept; it is never a field.
    """

    kind: str
    key: str
    fields: Mapping[str, object]
    secret_differs: bool = False

    @property
    def address(self) -> Address:
        """Return kind and key."""
        return self.kind, self.key


@dataclass(frozen=True, slots=True)
class PresentItem:
    """A thing that is there. `identity` tells it from another one of its key: an id, or when it was made.

    `kept_because` says why it is not to be removed, whoever made it.
    """

    kind: str
    key: str
    fields: Mapping[str, object]
    identity: str = ""
    kept_because: str = ""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of a thing before and after; a secret shows neither."""

    name: str
    before: object = None
    after: object = None


@dataclass(frozen=True, slots=True)
class PlanStep:
    """What is to be done with one thing, and why where that is not plain."""

    kind: str
    key: str
    action: StepAction
    changes: tuple[FieldChange, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ApplyPlan:
    """All steps: removals first, then what is created and changed, then the rest."""

    steps: tuple[PlanStep, ...] = field(default=())

    @property
    def effective(self) -> tuple[PlanStep, ...]:
        """Return the steps that change something."""
        return tuple(step for step in self.steps if step.action in {"create", "change", "remove"})

    def count(self, action: StepAction) -> int:
        """Return how many steps are of one action."""
        return sum(step.action == action for step in self.steps)


def plan_apply(
    wished: Sequence[DesiredItem],
    present: Mapping[Address, PresentItem],
    owned: Collection[Address],
    *,
    prune: bool,
) -> ApplyPlan:
    """Return the plan that brings what is present to what is wished; `owned` are the things that an earlier apply created."""
    made = [_step_of(item, present.get(item.address)) for item in wished]
    named = {item.address for item in wished}
    left = [
        _step_of_left(present[address], prune=prune) for address in owned if address in present and address not in named
    ]
    order = {kind: place for place, kind in enumerate(KINDS)}
    removed = sorted((s for s in left if s.action == "remove"), key=lambda step: (-order[step.kind], step.key))
    done = sorted((s for s in made if s.action != "unchanged"), key=lambda step: order[step.kind])
    rest = [*(s for s in left if s.action == "keep"), *(s for s in made if s.action == "unchanged")]
    return ApplyPlan((*removed, *done, *sorted(rest, key=lambda step: (order[step.kind], step.key))))


def _step_of(item: DesiredItem, found: PresentItem | None) -> PlanStep:
    if found is None:
        changes = tuple(FieldChange(name, None, value) for name, value in item.fields.items() if value not in _NOTHING)
        return PlanStep(item.kind, item.key, "create", changes)
    changes = tuple(
        FieldChange(name, found.fields.get(name), value)
        for name, value in item.fields.items()
        if found.fields.get(name) != value
    )
    if item.secret_differs:
        changes += (FieldChange("secret"),)
    return PlanStep(item.kind, item.key, "change" if changes else "unchanged", changes)


_NOTHING: tuple[object, ...] = (None, "", [], {}, False)


def _step_of_left(found: PresentItem, *, prune: bool) -> PlanStep:
    if found.kept_because:
        return PlanStep(found.kind, found.key, "keep", reason=found.kept_because)
    if not prune:
        return PlanStep(found.kind, found.key, "keep", reason="created by an earlier apply; --prune removes it")
    return PlanStep(found.kind, found.key, "remove", reason="created by an earlier apply and no longer in the file")

"""The gate of promotions by trust policies: what the target's paths require, and a policy that the request names.

1. Candidates are judged by the signatures that are promoted with them. One that is refused ends the promotion, as with each gate.
2. Companions that are refused are left out: a report that somebody attaches to an image must not keep it from being promoted.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from catalog.catalog import Catalog
from catalog.content.curation import Curation
from catalog.content.promotion import PromotionPlan, Verdict
from catalog.policy.gate_rules import GatedName
from catalog.policy_gates.decisions import PolicyGates
from catalog.policy_gates.operations import (
    JudgedContent,
    gates_at,
    judge_content,
    judged_items,
    leave_out,
    record_findings,
)
from catalog.versions.snapshot import Snapshot
from flows.promote.request import PromoteRequest
from oci.errors import Conflict


class TrustGate:
    """Judges one promotion, once; raises PolicyUnknown when it is made. Usable from one thread."""

    def __init__(
        self, catalog: Catalog, request: PromoteRequest, source: Snapshot, chosen: Curation, *, now: datetime
    ) -> None:
        self._catalog, self._request, self._now = catalog, request, now
        self._source, self._chosen = replace(source, tags=chosen.tags, manifests=chosen.manifests), chosen
        self._gates = gates_of_promotion(catalog, request, now=now)
        self._wanted = chosen.as_snapshot(request.repository)
        self._children = catalog.history.children(source.repository, chosen.manifests) if self._gates else {}
        self._judged: JudgedContent | None = None
        self._base = Snapshot(request.repository, 0)

    def __bool__(self) -> bool:
        return bool(self._gates)

    def __call__(self, plan: PromotionPlan) -> Sequence[Verdict]:
        """Return the verdict on each candidate."""
        judged = self.judge(plan.base)
        names = ", ".join(dict.fromkeys(one.rule.policy for one in self._gates))
        warned = {note.partition(" ")[0]: note.partition(" ")[2] for note in judged.notes}
        return [
            Verdict(
                "policy",
                one.name,
                one.name not in judged.refused,
                judged.refused.get(one.name) or warned.get(one.name) or f"allowed by {names}",
            )
            for one in plan.candidates
        ]

    def judge(self, base: Snapshot) -> JudgedContent:
        """Return what gates say of all that would come to the target's version `base`."""
        if self._judged is None:
            catalog, request, self._base = self._catalog, self._request, base
            self._judged = judge_content(
                PolicyGates(catalog.policies, catalog.history.children),
                self._gates,
                catalog.policies.source(self._source),
                self._wanted,
                judged_items(self._wanted, self._children, base),
                self._now,
            )
            if not request.dry_run:
                record_findings(
                    catalog.events,
                    "promote",
                    request.repository,
                    self._judged.findings,
                    actor="promote-content",
                    now=self._now,
                )
        return self._judged

    def passing(self, base: Snapshot) -> tuple[Curation, tuple[str, ...]]:
        """Return what is chosen without companions that are refused, and remarks."""
        if not self._gates:
            return self._chosen, ()
        judged = self.judge(base)
        left = leave_out(self._wanted, judged.refused, self._children)
        chosen = replace(self._chosen, tags=dict(left.tags), manifests=dict(left.manifests))
        return chosen, (*judged.notes, *(f"{name} is left out: {why}" for name, why in judged.refused.items()))

    def check_still(self, latest: Snapshot) -> None:
        """Raise Conflict where something would come that was not judged, since the target has changed."""
        if not self._gates or latest.version == self._base.version:
            return
        judged = judged_items(self._wanted, self._children, self._base)
        if judged_items(self._wanted, self._children, latest).keys() - judged.keys():
            raise Conflict(f"{latest.repository} is at version {latest.version}; the policies were asked about another")


def gates_of_promotion(catalog: Catalog, request: PromoteRequest, *, now: datetime) -> tuple[GatedName, ...]:
    """Return what is asked about a promotion; raise PolicyUnknown."""
    paths = [one.path for one in catalog.distributions.serving(request.repository)]
    return gates_at(catalog.policies, "promote", request.repository, paths, policy=request.signed_by, now=now)

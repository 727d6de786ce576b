"""Promoting tags to another repository: the plan, and the start of the flow that asks the gates and makes the version.

The flow is that of `entrepot promote`, and does the plan that was shown or nothing. The rights are those of a pull from the
source and of a push to the target; a target that is not there yet takes `admin`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from catalog.content.curation import Curation
from catalog.content.promotion import immutable_gate, plan_promotion, select_promoted
from catalog.content.restore import plan_towards
from catalog.settings import Settings
from catalog.versions.changes import Commit
from catalog.versions.snapshot import Snapshot
from oci.errors import EntrepotError, InvalidInput, NameInvalid, RemoteError, RemoteUnavailable, Unauthorized
from oci.reference import parse_name
from registry_api.http.errors import is_ours
from registry_api.pages.changes.flow_runs import start_flow_run
from registry_api.pages.changes.plans import (
    ChangePlan,
    PlannedCommit,
    check_writable,
    confirmation_id,
    new_nonce,
    read_plan,
    shell_command,
)
from registry_api.pages.changes.tag_deletion import SelectedTags, parse_selected
from registry_api.pages.framework.formats import link_to
from registry_api.pages.framework.own_forms import read_session_form
from registry_api.pages.framework.responses import redirect_response
from registry_api.pages.framework.visible_paths import VisiblePath, read_visible_paths
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit
from registry_api.path_changes import check_changeable

log = logging.getLogger("registry_api")
_DEPLOYMENT = "promote-content/promote-content"
_SUGGESTED = 100
_MAY_WAIT = timedelta(minutes=10)
"""How long a promotion may wait for a worker: the rights that were asked are those of the moment of the click."""


class GateVerdict(BaseModel):
    """What a gate says of a tag."""

    gate: str
    tag: str
    is_allowed: bool
    reason: str


class PromotionPage(ChangePlan):
    """The plan to promote tags of a version of a repository; `target` is empty as long as none was chosen.

    `verdicts` are those of the gates that can be asked here; `policy_service` is the host that the flow asks besides.
    `targets` are repositories that the visitor may push to, some at most.
    """

    tags: list[str]
    source: str
    source_version: int
    target: str
    targets: list[str]
    verdicts: list[GateVerdict]
    policy_service: str


@dataclass(frozen=True, slots=True)
class _Promotion:
    source: Snapshot
    base: Snapshot
    chosen: Curation


router = APIRouter(route_class=PageRoute, include_in_schema=False)
TargetName = Annotated[str, Query(max_length=300)]


@router.get("/promote/{name:path}")
@router.get("/promote.json/{name:path}")
async def show_promotion(visit: CurrentVisit, name: str, tag: SelectedTags, target: TargetName = "") -> Response:
    """Ask for the target, and show what the promotion would change there."""
    return await _respond(visit, name, parse_selected(tag), target.strip())


@router.post("/promote/{name:path}")
async def post_promotion(request: Request, visit: CurrentVisit, name: str) -> Response:
    """Start the flow that promotes by the plan that was shown."""
    form = await read_session_form(request, visit)
    check_writable(visit)
    tags, target = parse_selected(form.all("tag")), form.get("target").strip()
    visit.paths = await read_visible_paths(visit)
    path = _find(visit, name)
    check_target(visit, path, target)
    promotion = await visit.threads.run(_select, visit, path, tags, target)
    planned = _planned(visit, promotion)
    if planned.id != form.get("plan"):
        return await _respond(visit, name, tags, target, is_outdated=True)
    parameters = {
        "source": path.repository,
        "repository": target,
        "version": promotion.source.version,
        "tags": tags,
        "expect": planned.id,
        "not_after": (visit.registry.now() + _MAY_WAIT).isoformat(),
    }
    key = confirmation_id(visit, form)
    try:
        run_id = await start_flow_run(visit, _DEPLOYMENT, parameters, key=key)
    except RemoteError as error:
        log.warning("a promotion could not be started error=%s", error)
        is_away = isinstance(error, RemoteUnavailable)
        fault = f"Prefect {'does not answer' if is_away else 'refused to start the flow'}; nothing was started"
        return await _respond(visit, name, tags, target, fault=fault)
    visit.note("promote", target, detail={"source": path.repository, "tags": len(tags), "flow_run_id": run_id})
    return redirect_response(link_to("flow-run", run_id))


def may_promote(visit: Visit, path: VisiblePath) -> bool:
    """Return whether the visitor has a button that promotes tags of a path."""
    return path.has_history and visit.may_change("pull", path.repository) and visit.may_push_somewhere()


def check_target(visit: Visit, path: VisiblePath, target: str) -> None:
    """Raise InvalidInput for a name that cannot be a target, Unauthorized or Denied for one that the visitor may not change.

    A path that takes no push takes no promotion by a button either.
    """
    try:
        parse_name(target)
    except NameInvalid as error:
        raise InvalidInput(error.message) from None
    for action in ("pull", "push"):
        visit.check(action, target)
    distributions = visit.catalog.distributions
    served = distributions.find(target)
    if target == path.repository:
        raise InvalidInput(f"{target} is the source; choose another repository")
    if distributions.find_cache(target) is not None or (served is not None and served.remote):
        raise InvalidInput(f"{target} belongs to a cache, which gets its content from upstream alone")
    if served is not None and served.repository != target:
        raise InvalidInput(f"{target} is a path that serves another repository; choose that repository")
    if not visit.catalog.snapshots.has(target):
        visit.check("admin", target)
    check_changeable(visit.registry, "push", target, served, distributions.find_cache(target))


async def _respond(
    visit: Visit, name: str, tags: list[str], target: str, *, is_outdated: bool = False, fault: str = ""
) -> Response:
    def read(visit: Visit) -> PromotionPage:
        return _read_page(visit, _find(visit, name), tags, target, is_outdated=is_outdated)

    status = 409 if is_outdated else 503 if fault else 200
    return await visit.respond("promote.html", read, status=status, variables={"nonce": new_nonce(), "fault": fault})


def _read_page(visit: Visit, path: VisiblePath, tags: list[str], target: str, *, is_outdated: bool) -> PromotionPage:
    page = PromotionPage(
        name=path.name,
        repository=target,
        tags=tags,
        source=path.repository,
        source_version=visit.snapshot_of(path).version,
        target=target,
        targets=_list_targets(visit, path),
        verdicts=[],
        is_outdated=is_outdated,
        policy_service=policy_host(visit.catalog.settings),
    )
    if not target:
        return page
    try:
        check_target(visit, path, target)
        promotion = _select(visit, path, tags, target)
    except EntrepotError as error:
        if is_ours(error) or isinstance(error, Unauthorized):
            raise
        return page.model_copy(update={"refusal": error.message})
    options = [part for tag in tags for part in ("--tag", tag)]
    version = ["--version", str(promotion.source.version)]
    verdicts = _ask_gates(visit, promotion)
    refused = next((one for one in verdicts if not one.is_allowed), None)
    fields = read_plan(visit, lambda visit: _planned(visit, promotion))
    if refused is not None:
        fields["refusal"] = f"the gate {refused.gate} refuses {refused.tag}: {refused.reason}"
    command = shell_command(["promote", path.repository, target, *options, *version])
    return page.model_copy(update={**fields, "verdicts": verdicts, "command": command})


def _find(visit: Visit, name: str) -> VisiblePath:
    """Return the place; raise NameUnknown, Unauthorized or Denied."""
    path = visit.paths.find(name)
    visit.check_history(path)
    visit.check("pull", path.repository)
    return path


def _list_targets(visit: Visit, path: VisiblePath) -> list[str]:
    """Return repositories that the visitor may see and push to."""
    names = (
        name
        for name in visit.paths.by_repository
        if name != path.repository and visit.may("push", name) and visit.may("pull", name)
    )
    return sorted(islice(names, _SUGGESTED))


def _select(visit: Visit, path: VisiblePath, tags: Sequence[str], target: str) -> _Promotion:
    """Choose the content; a query. Raise what `curate` raises."""
    catalog = visit.catalog
    source, chosen = select_promoted(catalog, path.repository, path.version, tags, now=visit.registry.now())
    return _Promotion(source, catalog.snapshots.find(target) or Snapshot(target, 0), chosen)


def _planned(visit: Visit, promotion: _Promotion) -> PlannedCommit:
    """Return the commit that the flow would make."""
    base = promotion.base
    commit = Commit(
        repository=base.repository,
        operation="promote",
        changes=plan_towards(base, promotion.chosen.as_snapshot(base.repository), additive=True),
        operation_id=visit.registry.make_id(),
        actor=visit.account,
        created_at=visit.registry.now(),
        allow_sparse=True,
        donors=(promotion.source.repository,),
    )
    return PlannedCommit(base, commit)


def _ask_gates(visit: Visit, promotion: _Promotion) -> list[GateVerdict]:
    patterns = visit.catalog.distributions.immutable_tags(promotion.base.repository)
    plan = plan_promotion(promotion.source, promotion.base, promotion.chosen, additive=True)
    if not patterns or plan.is_empty:
        return []
    return [
        GateVerdict(gate=one.gate, tag=one.name, is_allowed=one.allowed, reason=one.reason)
        for one in immutable_gate(patterns)(plan)
    ]


def policy_host(settings: Settings) -> str:
    """Return the host of the policy service that every promotion asks, empty without one. Pure."""
    try:
        return urlsplit(settings.promotion_hook).hostname or ""
    except ValueError:
        return ""

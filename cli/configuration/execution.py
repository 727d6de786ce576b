"""Does the steps of a plan, one by one, through the functions that other commands call; one that fails spoils no other."""

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from catalog.desired_state.plan import Address, ApplyPlan, PlanStep, PresentItem
from catalog.lifecycle.rules import parse_lifecycle_scope
from cli.administration import policy, policy_gate, quota, remote
from cli.administrator import ACTOR
from cli.configuration.apply_context import ApplyContext
from cli.configuration.desired_entries import DesiredEntry
from cli.configuration.records import (
    cache_record,
    distribution_record,
    gate_rule,
    grant_of,
    hold_rule,
    hook_fields,
    lifecycle_rule,
    quota_of,
    remote_record,
    retention_rule,
    subscription_fields,
    trust_of,
)
from cli.content import distribution
from oci.errors import AccountUnknown, EntrepotError, LocalError

if TYPE_CHECKING:
    from catalog.catalog import Catalog


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of a step; `error` is empty where it was done."""

    step: PlanStep
    error: str = ""


def act(
    plan: ApplyPlan, desired: Mapping[Address, DesiredEntry], context: ApplyContext, seen: Mapping[Address, PresentItem]
) -> Iterator[StepResult]:
    """Do every step that changes something; yield what became of each, in order.

    The ledger is written before the first step, with what is about to be created, and after the last: a killed apply leaves
    the next one to see what was created.
    """
    steps = plan.effective
    creating = [(step.kind, step.key) for step in steps if step.action == "create"]
    if creating:
        context.ledger.update(lambda ledger: ledger.intend(creating, datetime.now(UTC)))
    gone: list[Address] = []
    try:
        for step in steps:
            address = (step.kind, step.key)
            try:
                _do(step, desired.get(address), context, seen.get(address))
            except EntrepotError as error:
                gone += [address] if step.action == "create" else []
                yield StepResult(step, error.message)
            else:
                gone += [address] if step.action == "remove" else []
                yield StepResult(step)
    finally:
        settle_ledger(context, context.look().items, gone)


def settle_ledger(context: ApplyContext, items: Mapping[Address, PresentItem], gone: Collection[Address] = ()) -> None:
    """Write down what of the things that applies have created is there, if that is news."""
    looked_at = set(_CREATE) - ({"deployments"} if context.prefect is None else set())
    settled = context.ledger.value.without(gone).settle(items, looked_at=looked_at)
    if settled != context.ledger.value:
        context.ledger.update(lambda ledger: ledger.without(gone).settle(items, looked_at=looked_at))


def _do(step: PlanStep, wanted: DesiredEntry | None, context: ApplyContext, found: PresentItem | None) -> None:
    if step.action == "remove":
        assert found is not None
        _REMOVE[step.kind](context, found)
        return
    assert wanted is not None
    (_CREATE if step.action == "create" else _CHANGE)[step.kind](context, wanted, step)


# --- what is made and changed ----------------------------------------------------------------------------------

_Doing = Callable[[ApplyContext, DesiredEntry, PlanStep], None]
_Removing = Callable[[ApplyContext, PresentItem], None]


def _put_remote(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    catalog, entry = context.catalog, _entry(wanted)
    remote.write_remote(catalog, remote_record(wanted.key, entry, catalog.remotes.find(wanted.key), datetime.now(UTC)))


def found_repository(catalog: "Catalog", name: str, *, serve: str) -> None:
    """Make a repository that holds nothing yet, by a first version of it; one that is there stays as it is."""
    from catalog.versions.changes import Commit

    now = datetime.now(UTC)
    catalog.commits.commit(
        Commit(name, "create", (), uuid.uuid4().hex, ACTOR, now, serve=serve, founds=True)  # type: ignore[arg-type]
    )


def _create_repository(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    found_repository(
        context.catalog, wanted.key, serve="nobody" if wanted.has_path else context.catalog.settings.new_repositories
    )


def _put_distribution(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    catalog, entry = context.catalog, _entry(wanted)
    made = distribution_record(wanted.key, entry, catalog.distributions.find(wanted.key), datetime.now(UTC))
    distribution.write_distribution(catalog, made, entry.history_from)


def _put_cache(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    catalog, entry = context.catalog, _entry(wanted)
    login = distribution.login_of_cache(catalog, entry.remote) if entry.private is None else ""
    distribution.check_cache_path(wanted.key, [one.path for one in catalog.distributions.all()])
    made = cache_record(wanted.key, entry, catalog.distributions.find(wanted.key), datetime.now(UTC), login=login)
    distribution.write_distribution(catalog, made, None)


def _create_user(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    entry = _entry(wanted)
    password = None if entry.robot else wanted.secret
    context.accounts.add_account(wanted.key, password=password, certificate=entry.certificate, disabled=entry.disabled)


def _change_user(context: ApplyContext, wanted: DesiredEntry, step: PlanStep) -> None:
    changed = {change.name for change in step.changes}
    entry = _entry(wanted)
    context.accounts.change_account(
        wanted.key,
        password=wanted.secret if "secret" in changed else None,
        certificate=entry.certificate if "certificate" in changed else None,
        disabled=entry.disabled if "disabled" in changed else None,
    )


def _put_group(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    context.accounts.set_group(wanted.key, _entry(wanted).members)


def _create_rule(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    entry = _entry(wanted)
    context.accounts.add_rule(entry.subjects, grant_of(entry), rule_id=wanted.key)


def _change_rule(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    entry = _entry(wanted)
    context.accounts.change_rule(wanted.key, entry.subjects, grant_of(entry))


def _create_trust(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    context.accounts.add_trust(trust_of(wanted.key, _entry(wanted)))


def _change_trust(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    context.accounts.change_trust(trust_of(wanted.key, _entry(wanted)))


def _put_quota(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    quota.write_quota(context.catalog, quota_of(wanted.key, _entry(wanted)))


def _put_retention(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    context.catalog.retention_rules.put(retention_rule(wanted.key, _entry(wanted)), actor=ACTOR)


def _put_hold(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    context.catalog.holds.put_rule(hold_rule(wanted.key, _entry(wanted), datetime.now(UTC)))


def _put_policy(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    policy.write_policy(context.catalog, wanted.key, _entry(wanted))


def _put_gate(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    policy_gate.write_gate(context.catalog, gate_rule(wanted.key, _entry(wanted), datetime.now(UTC)))


def _put_lifecycle(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    context.catalog.lifecycles.put(lifecycle_rule(wanted.key, _entry(wanted), datetime.now(UTC)))


def _create_hook(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    context.webhooks.add_hook(secret=wanted.secret, **hook_fields(wanted.key, _entry(wanted)))


def _change_hook(context: ApplyContext, wanted: DesiredEntry, step: PlanStep) -> None:
    changed = {change.name for change in step.changes}
    secret = wanted.secret if changed & {"secret", "proof"} else ""
    fields = hook_fields(wanted.key, _entry(wanted))
    del fields["name"]
    context.webhooks.change_hook(wanted.key, secret=secret, **fields)


def _create_subscription(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    position = context.catalog.commits.log().last_position()
    context.webhooks.add_subscription(position=position, key=wanted.key, **subscription_fields(_entry(wanted)))


def _change_subscription(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    context.webhooks.change_subscription(wanted.key, **subscription_fields(_entry(wanted)))


def _put_deployment(context: ApplyContext, wanted: DesiredEntry, _step: PlanStep) -> None:
    if context.prefect is None:
        raise LocalError("no Prefect server was asked; run the command again")
    context.prefect.deployments.put(str(wanted.place[-1]), _entry(wanted), own_server=context.prefect.is_own)


def _entry(wanted: DesiredEntry) -> Any:
    """Return the entry as that of its section, which its kind says."""
    return wanted.entry


_CREATE: Mapping[str, _Doing] = {
    "remotes": _put_remote,
    "repositories": _create_repository,
    "distributions": _put_distribution,
    "caches": _put_cache,
    "users": _create_user,
    "groups": _put_group,
    "access": _create_rule,
    "trusts": _create_trust,
    "quotas": _put_quota,
    "retention": _put_retention,
    "holds": _put_hold,
    "policies": _put_policy,
    "gates": _put_gate,
    "lifecycle": _put_lifecycle,
    "hooks": _create_hook,
    "subscriptions": _create_subscription,
    "deployments": _put_deployment,
}
_CHANGE: Mapping[str, _Doing] = {
    **_CREATE,
    "users": _change_user,
    "access": _change_rule,
    "trusts": _change_trust,
    "hooks": _change_hook,
    "subscriptions": _change_subscription,
}

# --- what is removed -------------------------------------------------------------------------------------------


def _remove_repository(context: ApplyContext, found: PresentItem) -> None:
    row = context.catalog.history.repository(found.key)
    if row.updated_at != row.created_at:
        raise LocalError(f"{found.key} has had content since; `entrepot repository delete` deletes it")
    context.catalog.deletion.delete_repository(found.key, actor=ACTOR, now=datetime.now(UTC), latest=row.version)


def _remove_rule(context: ApplyContext, found: PresentItem) -> None:
    try:
        context.accounts.remove_rule(found.key)
    except AccountUnknown:  # it went with the last account that it named
        return


def _remove_gate(context: ApplyContext, found: PresentItem) -> None:
    name = str(found.fields["policy"])
    policy_gate.drop_gate(context.catalog, found.key.removesuffix(f" {name}"), name)


def _remove_lifecycle(context: ApplyContext, found: PresentItem) -> None:
    scope = parse_lifecycle_scope(found.key)
    context.catalog.lifecycles.delete(*scope, actor=ACTOR, now=datetime.now(UTC))


def _remove_deployment(context: ApplyContext, found: PresentItem) -> None:
    if context.prefect is None:
        raise LocalError("no Prefect server was asked; run the command again")
    context.prefect.deployments.delete(found.identity)


_REMOVE: Mapping[str, _Removing] = {
    "remotes": lambda context, found: remote.drop_remote(context.catalog, found.key),
    "repositories": _remove_repository,
    "distributions": lambda context, found: distribution.drop_distribution(context.catalog, found.key),
    "caches": lambda context, found: distribution.drop_distribution(context.catalog, found.key),
    "users": lambda context, found: context.accounts.remove_account(found.key),
    "groups": lambda context, found: context.accounts.remove_group(found.key),
    "access": _remove_rule,
    "trusts": lambda context, found: context.accounts.remove_trust(found.key),
    "quotas": lambda context, found: quota.drop_quota(context.catalog, found.key),
    "retention": lambda context, found: context.catalog.retention_rules.delete(found.key, actor=ACTOR),
    "holds": lambda context, found: context.catalog.holds.delete_rule(found.key, actor=ACTOR, now=datetime.now(UTC)),
    "policies": lambda context, found: policy.drop_policy(context.catalog, found.key),
    "gates": _remove_gate,
    "lifecycle": _remove_lifecycle,
    "hooks": lambda context, found: context.webhooks.remove_hook(found.key),
    "subscriptions": lambda context, found: context.webhooks.remove_subscription(found.key),
    "deployments": _remove_deployment,
}

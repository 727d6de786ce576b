"""Does the steps of a plan, one by one, through the functions that other commands call; one that fails spoils no other."""

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from catalog.wished_state.plan import Address, PlanStep, PresentItem, WishPlan
from cli.administration import quota, remote
from cli.administrator import ACTOR
from cli.configuration.records import (
    cache_record,
    distribution_record,
    grant_of,
    hook_fields,
    quota_of,
    remote_record,
    retention_rule,
    subscription_fields,
    trust_of,
)
from cli.configuration.wishes import Wish
from cli.configuration.world import World
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
    plan: WishPlan, wishes: Mapping[Address, Wish], world: World, seen: Mapping[Address, PresentItem]
) -> Iterator[StepResult]:
    """Do every step that changes something; yield what became of each, in order.

    The ledger is written before the first step, with what is about to be created, and after the last: a killed apply leaves
    the next one to see what was created.
    """
    steps = plan.effective
    creating = [(step.kind, step.key) for step in steps if step.action == "create"]
    if creating:
        world.ledger.update(lambda ledger: ledger.intend(creating, datetime.now(UTC)))
    gone: list[Address] = []
    try:
        for step in steps:
            address = (step.kind, step.key)
            try:
                _do(step, wishes.get(address), world, seen.get(address))
            except EntrepotError as error:
                gone += [address] if step.action == "create" else []
                yield StepResult(step, error.message)
            else:
                gone += [address] if step.action == "remove" else []
                yield StepResult(step)
    finally:
        settle_ledger(world, world.look().items, gone)


def settle_ledger(world: World, items: Mapping[Address, PresentItem], gone: Collection[Address] = ()) -> None:
    """Write down what of the things that applies have created is there, if that is news."""
    looked_at = set(_CREATE) - ({"deployments"} if world.prefect is None else set())
    settled = world.ledger.value.without(gone).settle(items, looked_at=looked_at)
    if settled != world.ledger.value:
        world.ledger.update(lambda ledger: ledger.without(gone).settle(items, looked_at=looked_at))


def _do(step: PlanStep, wish: Wish | None, world: World, found: PresentItem | None) -> None:
    if step.action == "remove":
        assert found is not None
        _REMOVE[step.kind](world, found)
        return
    assert wish is not None
    (_CREATE if step.action == "create" else _CHANGE)[step.kind](world, wish, step)


# --- what is made and changed ----------------------------------------------------------------------------------

_Doing = Callable[[World, Wish, PlanStep], None]
_Removing = Callable[[World, PresentItem], None]


def _put_remote(world: World, wish: Wish, _step: PlanStep) -> None:
    catalog, entry = world.catalog, _entry(wish)
    remote.write_remote(catalog, remote_record(wish.key, entry, catalog.remotes.find(wish.key), datetime.now(UTC)))


def found_repository(catalog: "Catalog", name: str, *, serve: str) -> None:
    """Make a repository that holds nothing yet, by a first version of it; one that is there stays as it is."""
    from catalog.versions.changes import Commit

    now = datetime.now(UTC)
    catalog.commits.commit(
        Commit(name, "create", (), uuid.uuid4().hex, ACTOR, now, serve=serve, founds=True)  # type: ignore[arg-type]
    )


def _create_repository(world: World, wish: Wish, _step: PlanStep) -> None:
    found_repository(
        world.catalog, wish.key, serve="nobody" if wish.has_path else world.catalog.settings.new_repositories
    )


def _put_distribution(world: World, wish: Wish, _step: PlanStep) -> None:
    catalog, entry = world.catalog, _entry(wish)
    made = distribution_record(wish.key, entry, catalog.distributions.find(wish.key), datetime.now(UTC))
    distribution.write_distribution(catalog, made, entry.history_from)


def _put_cache(world: World, wish: Wish, _step: PlanStep) -> None:
    catalog, entry = world.catalog, _entry(wish)
    login = distribution.login_of_cache(catalog, entry.remote) if entry.private is None else ""
    distribution.check_cache_path(wish.key, [one.path for one in catalog.distributions.all()])
    made = cache_record(wish.key, entry, catalog.distributions.find(wish.key), datetime.now(UTC), login=login)
    distribution.write_distribution(catalog, made, None)


def _create_user(world: World, wish: Wish, _step: PlanStep) -> None:
    entry = _entry(wish)
    password = None if entry.robot else wish.secret
    world.accounts.add_account(wish.key, password=password, certificate=entry.certificate, disabled=entry.disabled)


def _change_user(world: World, wish: Wish, step: PlanStep) -> None:
    changed = {change.name for change in step.changes}
    entry = _entry(wish)
    world.accounts.change_account(
        wish.key,
        password=wish.secret if "secret" in changed else None,
        certificate=entry.certificate if "certificate" in changed else None,
        disabled=entry.disabled if "disabled" in changed else None,
    )


def _put_group(world: World, wish: Wish, _step: PlanStep) -> None:
    world.accounts.set_group(wish.key, _entry(wish).members)


def _create_rule(world: World, wish: Wish, _step: PlanStep) -> None:
    entry = _entry(wish)
    world.accounts.add_rule(entry.subjects, grant_of(entry), rule_id=wish.key)


def _change_rule(world: World, wish: Wish, _step: PlanStep) -> None:
    entry = _entry(wish)
    world.accounts.change_rule(wish.key, entry.subjects, grant_of(entry))


def _create_trust(world: World, wish: Wish, _step: PlanStep) -> None:
    world.accounts.add_trust(trust_of(wish.key, _entry(wish)))


def _change_trust(world: World, wish: Wish, _step: PlanStep) -> None:
    world.accounts.change_trust(trust_of(wish.key, _entry(wish)))


def _put_quota(world: World, wish: Wish, _step: PlanStep) -> None:
    quota.write_quota(world.catalog, quota_of(wish.key, _entry(wish)))


def _put_retention(world: World, wish: Wish, _step: PlanStep) -> None:
    world.catalog.retention_rules.put(retention_rule(wish.key, _entry(wish)), actor=ACTOR)


def _create_hook(world: World, wish: Wish, _step: PlanStep) -> None:
    world.webhooks.add_hook(secret=wish.secret, **hook_fields(wish.key, _entry(wish)))


def _change_hook(world: World, wish: Wish, step: PlanStep) -> None:
    changed = {change.name for change in step.changes}
    secret = wish.secret if changed & {"secret", "proof"} else ""
    fields = hook_fields(wish.key, _entry(wish))
    del fields["name"]
    world.webhooks.change_hook(wish.key, secret=secret, **fields)


def _create_subscription(world: World, wish: Wish, _step: PlanStep) -> None:
    position = world.catalog.commits.log().last_position()
    world.webhooks.add_subscription(position=position, key=wish.key, **subscription_fields(_entry(wish)))


def _change_subscription(world: World, wish: Wish, _step: PlanStep) -> None:
    world.webhooks.change_subscription(wish.key, **subscription_fields(_entry(wish)))


def _put_deployment(world: World, wish: Wish, _step: PlanStep) -> None:
    if world.prefect is None:
        raise LocalError("no Prefect server was asked; run the command again")
    world.prefect.deployments.put(str(wish.place[-1]), _entry(wish), own_server=world.prefect.is_own)


def _entry(wish: Wish) -> Any:
    """Return the entry as that of its section, which its kind says."""
    return wish.entry


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


def _remove_repository(world: World, found: PresentItem) -> None:
    row = world.catalog.history.repository(found.key)
    if row.updated_at != row.created_at:
        raise LocalError(f"{found.key} has had content since; `entrepot repository delete` deletes it")
    world.catalog.deletion.delete_repository(found.key, actor=ACTOR, now=datetime.now(UTC), latest=row.version)


def _remove_rule(world: World, found: PresentItem) -> None:
    try:
        world.accounts.remove_rule(found.key)
    except AccountUnknown:  # it went with the last account that it named
        return


def _remove_deployment(world: World, found: PresentItem) -> None:
    if world.prefect is None:
        raise LocalError("no Prefect server was asked; run the command again")
    world.prefect.deployments.delete(found.identity)


_REMOVE: Mapping[str, _Removing] = {
    "remotes": lambda world, found: remote.drop_remote(world.catalog, found.key),
    "repositories": _remove_repository,
    "distributions": lambda world, found: distribution.drop_distribution(world.catalog, found.key),
    "caches": lambda world, found: distribution.drop_distribution(world.catalog, found.key),
    "users": lambda world, found: world.accounts.remove_account(found.key),
    "groups": lambda world, found: world.accounts.remove_group(found.key),
    "access": _remove_rule,
    "trusts": lambda world, found: world.accounts.remove_trust(found.key),
    "quotas": lambda world, found: quota.drop_quota(world.catalog, found.key),
    "retention": lambda world, found: world.catalog.retention_rules.delete(found.key, actor=ACTOR),
    "hooks": lambda world, found: world.webhooks.remove_hook(found.key),
    "subscriptions": lambda world, found: world.webhooks.remove_subscription(found.key),
    "deployments": _remove_deployment,
}

"""What a file is compared with and applied to: the open catalogue, its accounts and webhooks, and Prefect where it is needed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.desired_state.plan import Address, PresentItem
from cli.administrator import ACTOR, administering
from cli.configuration.model import plain_fields
from cli.output import say

if TYPE_CHECKING:
    from catalog.access.administration import Administration
    from catalog.catalog import Catalog
    from catalog.desired_state.ledger import Ledger
    from catalog.desired_state.present import PresentState
    from catalog.state.documents import StateDocument
    from catalog.webhooks.administration import WebhookAdministration
    from flows.schedules.registered import DeclaredDeployment, ScheduledDeployments


@dataclass(frozen=True, slots=True)
class PrefectAccess:
    """Prefect's deployments, and whether the server is this home's own."""

    deployments: "ScheduledDeployments"
    is_own: bool


@dataclass(frozen=True, slots=True)
class ApplyContext:
    """Everything that an apply reads and writes; `prefect` is None where no deployment is concerned."""

    catalog: "Catalog"
    accounts: "Administration"
    webhooks: "WebhookAdministration"
    ledger: "StateDocument[Ledger]"
    prefect: PrefectAccess | None = None

    def look(self) -> "CurrentState":
        """Return all that is there now."""
        from catalog.desired_state.present import PresentState

        self.catalog.snapshots.refresh()
        state = PresentState(
            tuple(self.catalog.remotes.all()),
            tuple(self.catalog.history.repositories()),
            tuple(self.catalog.distributions.all()),
            self.accounts.policy,
            tuple(use.quota for use in self.catalog.quotas.all()),
            tuple(self.catalog.retention_rules.all()),
            self.webhooks.records,
            tuple(self.catalog.holds.rules()),
            self.catalog.policies.records,
            tuple(self.catalog.lifecycles.all()),
        )
        deployments = self.prefect.deployments.all() if self.prefect else []
        return CurrentState(state, tuple(deployments))


@dataclass(frozen=True, slots=True)
class CurrentState:
    """What was there at one moment."""

    state: "PresentState"
    deployments: "tuple[DeclaredDeployment, ...]" = ()
    items: dict[Address, PresentItem] = field(init=False)

    def __post_init__(self) -> None:
        found = [
            PresentItem(one.kind, one.key, plain_fields(one.entry), one.identity, one.kept_because)
            for one in self.state.entries()
        ]
        found += [
            PresentItem("deployments", deployment_key(one.flow, one.name), plain_fields(one.entry), one.id)
            for one in self.deployments
        ]
        object.__setattr__(self, "items", {(one.kind, one.key): one for one in found})


def deployment_key(flow: str, name: str) -> str:
    """Return what Prefect calls a deployment: names are one for each flow."""
    return f"{flow}/{name}"


@contextmanager
def open_apply_context(
    home: Path | None, *, needs_prefect: "Callable[[Ledger], bool]", debug: bool
) -> Iterator[ApplyContext]:
    """Open the catalogue, and find or start a Prefect server where deployments are concerned."""
    from catalog.desired_state.ledger import open_ledger
    from catalog.webhooks.administration import WebhookAdministration
    from catalog.webhooks.queue import open_queue
    from catalog.webhooks.records import open_event_records

    with administering(home) as (accounts, catalog), ExitStack() as opened:
        queue = opened.enter_context(open_queue(catalog.settings, catalog.state))
        records = open_event_records(catalog.settings, catalog.state)
        webhooks = WebhookAdministration(records, queue, catalog.events, actor=ACTOR, now=lambda: datetime.now(UTC))
        ledger = open_ledger(catalog.settings, catalog.state)
        prefect = None
        if needs_prefect(ledger.value):
            prefect = opened.enter_context(_prefect(catalog, debug=debug))
        yield ApplyContext(catalog, accounts, webhooks, ledger, prefect)


@contextmanager
def _prefect(catalog: "Catalog", *, debug: bool) -> Iterator[PrefectAccess]:
    from catalog.running_instance import find_running
    from flows.orchestration.ad_hoc.server import prefect_api

    with prefect_api(catalog.settings, say=say, debug=debug) as api:
        api.wait()
        from flows.schedules.registered import open_deployments  # imports Prefect, which reads the environment

        running = find_running(catalog.settings)
        with open_deployments() as deployments:
            yield PrefectAccess(deployments, api.server is not None or bool(running and running.prefect_is_ours))

"""Hooks and subscriptions under /api/v1, for administrators."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from catalog.access.policy import ACCOUNT_PATTERN
from catalog.webhooks.delivery import check_receiver
from catalog.webhooks.records import (
    DISTRIBUTION_CHANGED,
    EVENT_TYPES,
    SYNC,
    VERSION_CREATED,
    Format,
    Hook,
    Kind,
    Proof,
    Subscription,
    describe_hook,
)
from registry_api.context import Registry
from registry_api.management.dependencies import FAILURES, Asker, ToldErrors, asker_of
from registry_api.management.named_files import check_named
from registry_api.webhooks.context import Eventing

HookPath = Annotated[str, Path(json_schema_extra={"pattern": ACCOUNT_PATTERN, "maxLength": 64})]


class HookIn(BaseModel):
    """What an upstream may start by its events; what `request` must be, the deployment's form says."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=64, pattern=ACCOUNT_PATTERN)
    upstream: str = Field(max_length=1000, description="`registry.example`, or with the first parts of names there.")
    kind: Kind = "auto"
    target: str = Field("", max_length=255, description="What stands in the upstream's place in names here.")
    deployment: str = Field(SYNC, max_length=500)
    request: dict[str, Any] = Field(default_factory=dict, description="Further fields of the deployment's request.")
    repositories: tuple[str, ...] = Field((), description="Patterns of repositories upstream; none: all.")
    tags: tuple[str, ...] = Field((), description="Patterns of tags; none: all.")
    whole: bool = Field(default=False, description="Sync the repository instead of the tags pushed.")
    quiet_seconds: float = Field(3.0, ge=0, le=3600)
    proof: Proof = "token"


class HookOut(BaseModel):
    """A hook; `secret` is told once, when it is made. `waiting_events` and `waiting_runs` are not yet with Prefect."""

    name: str
    upstream: str
    kind: Kind
    target: str
    deployment: str
    request: dict[str, Any]
    repositories: list[str]
    tags: list[str]
    whole: bool
    quiet_seconds: float
    proof: Proof
    created_at: datetime
    waiting_events: int = 0
    waiting_runs: int = 0
    secret: str | None = None


class SubscriptionIn(BaseModel):
    """Whom to tell, and of what; `secret_file` and `secret_env` name the secret that signs, on the registry's machine."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=2000)
    events: tuple[str, ...] = Field(
        (VERSION_CREATED, DISTRIBUTION_CHANGED), min_length=1, description=f"Globs of {', '.join(EVENT_TYPES)}."
    )
    repositories: tuple[str, ...] = Field(("**",), min_length=1)
    format: Format = "cloudevents"
    secret_file: str = Field("", max_length=1000)
    secret_env: str = Field("", max_length=200)
    give_up_hours: float = Field(72.0, gt=0, le=8760)


class SubscriptionOut(BaseModel):
    """A subscription and how it goes: `failures` in turn, with the last one's `error`."""

    id: str
    url: str
    events: list[str]
    repositories: list[str]
    format: Format
    secret_file: str
    secret_env: str
    give_up_hours: float
    created_at: datetime
    delivered: int = 0
    failures: int = 0
    error: str = ""


def event_routes(registry: Registry, eventing: Eventing) -> APIRouter:
    """Hooks and subscriptions: made, listed, shown, deleted."""
    router = APIRouter(prefix="/api/v1", tags=["events"], route_class=ToldErrors, responses=FAILURES)
    asking = Depends(asker_of(registry))
    run, commit = registry.threads.run, registry.threads.commit

    async def hook_out(hook: Hook) -> HookOut:
        events, runs = await run(eventing.queue.backlog, hook.name)
        return HookOut(**describe_hook(hook), waiting_events=events, waiting_runs=runs)

    async def subscription_out(one: Subscription) -> SubscriptionOut:
        cursor = await run(eventing.queue.cursor, one.id)
        how = {} if cursor is None else {key: getattr(cursor, key) for key in ("delivered", "failures", "error")}
        return SubscriptionOut(**one.model_dump(), **how)

    @router.get("/hooks", response_model=list[HookOut])
    async def list_hooks(asker: Asker = asking) -> list[HookOut]:
        """All hooks, by name."""
        return [await hook_out(one) for _, one in sorted(eventing.desk(asker).records.hooks.items())]

    @router.post("/hooks", response_model=HookOut, status_code=201)
    async def add_hook(wanted: HookIn, asker: Asker = asking) -> HookOut:
        """Make a hook; its secret is in this answer and nowhere else."""
        made = await commit(lambda: eventing.desk(asker).add_hook(**wanted.model_dump()))
        return (await hook_out(made.hook)).model_copy(update={"secret": made.secret})

    @router.get("/hooks/{name}", response_model=HookOut)
    async def show_hook(name: HookPath, asker: Asker = asking) -> HookOut:
        """One hook, and what it has waiting."""
        return await hook_out(eventing.desk(asker).hook(name))

    @router.delete("/hooks/{name}", status_code=204)
    async def delete_hook(name: HookPath, asker: Asker = asking) -> None:
        """Take no more events by it; those that wait are forgotten."""
        await commit(eventing.desk(asker).remove_hook, name)

    @router.get("/subscriptions", response_model=list[SubscriptionOut])
    async def list_subscriptions(asker: Asker = asking) -> list[SubscriptionOut]:
        """All subscriptions, by id."""
        found = eventing.desk(asker).records.subscriptions
        return [await subscription_out(one) for _, one in sorted(found.items())]

    @router.post("/subscriptions", response_model=SubscriptionOut, status_code=201)
    async def add_subscription(wanted: SubscriptionIn, asker: Asker = asking) -> SubscriptionOut:
        """Tell a URL of what is committed from now on."""
        desk = eventing.desk(asker)
        check_named(registry.catalog.settings, "secret_file", wanted.secret_file)
        position = await run(lambda: registry.catalog.commits.log().last_position())
        check_receiver(wanted.url, registry.catalog.settings)
        made = await commit(lambda: desk.add_subscription(position=position, internal=False, **wanted.model_dump()))
        return await subscription_out(made)

    @router.get("/subscriptions/{key}", response_model=SubscriptionOut)
    async def show_subscription(key: str, asker: Asker = asking) -> SubscriptionOut:
        """One subscription, and how its deliveries go."""
        return await subscription_out(eventing.desk(asker).subscription(key))

    @router.delete("/subscriptions/{key}", status_code=204)
    async def delete_subscription(key: str, asker: Asker = asking) -> None:
        """Tell it no more."""
        await commit(eventing.desk(asker).remove_subscription, key)

    return router

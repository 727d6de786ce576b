"""Hooks and subscriptions under /api/v1, for administrators."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from catalog.access.policy import ACCOUNT_PATTERN
from catalog.unit_fields import Hours, Seconds
from catalog.webhooks.receiver_addresses import check_receiver
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
from registry_api.management.dependencies import FAILURES, Context, ManagementRoute, RequestContext
from registry_api.management.named_files import check_named
from registry_api.webhooks.context import CurrentWebhooks, Webhooks

HookPath = Annotated[str, Path(json_schema_extra={"pattern": ACCOUNT_PATTERN, "maxLength": 64})]


class HookIn(BaseModel):
    """The flow run that an upstream's events may start; the deployment's form defines `request`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=64, pattern=ACCOUNT_PATTERN)
    upstream: str = Field(max_length=1000, description="`registry.example`, or with the first parts of names there.")
    kind: Kind = "auto"
    target: str = Field("", max_length=255, description="Replaces the upstream in names here.")
    deployment: str = Field(SYNC, max_length=500)
    request: dict[str, Any] = Field(default_factory=dict, description="Further fields of the deployment's request.")
    repositories: tuple[str, ...] = Field((), description="Patterns of repositories upstream; none: all.")
    tags: tuple[str, ...] = Field((), description="Patterns of tags; none: all.")
    whole: bool = Field(default=False, description="Sync the repository instead of the tags pushed.")
    quiet_seconds: Seconds = Field(3.0, ge=0, le=3600)
    proof: Proof = "token"


class HookOut(BaseModel):
    """A hook; `secret` is returned once, on creation. `waiting_events` and `waiting_runs` have not reached Prefect yet."""

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
    """Whom to notify, and of which events; `secret_file` and `secret_env` name the signing secret, on the registry's machine."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=2000)
    events: tuple[str, ...] = Field(
        (VERSION_CREATED, DISTRIBUTION_CHANGED), min_length=1, description=f"Globs of {', '.join(EVENT_TYPES)}."
    )
    repositories: tuple[str, ...] = Field(("**",), min_length=1)
    format: Format = "cloudevents"
    secret_file: str = Field("", max_length=1000)
    secret_env: str = Field("", max_length=200)
    give_up_hours: Hours = Field(72.0, gt=0, le=8760)


class SubscriptionOut(BaseModel):
    """A subscription and its progress: consecutive `failures`, and the `error` of the last one."""

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


router = APIRouter(prefix="/api/v1", tags=["events"], route_class=ManagementRoute, responses=FAILURES)


async def _hook_out(context: RequestContext, webhooks: Webhooks, hook: Hook) -> HookOut:
    events, runs = await context.threads.run(webhooks.queue.backlog, hook.name)
    return HookOut(**describe_hook(hook), waiting_events=events, waiting_runs=runs)


async def _subscription_out(context: RequestContext, webhooks: Webhooks, subscription: Subscription) -> SubscriptionOut:
    cursor = await context.threads.run(webhooks.queue.cursor, subscription.id)
    progress = {} if cursor is None else {name: getattr(cursor, name) for name in ("delivered", "failures", "error")}
    return SubscriptionOut(**subscription.model_dump(), **progress)


@router.get("/hooks", response_model=list[HookOut])
async def list_hooks(context: Context, webhooks: CurrentWebhooks) -> list[HookOut]:
    """List all hooks, by name."""
    hooks = webhooks.administration(context).records.hooks
    return [await _hook_out(context, webhooks, hook) for _, hook in sorted(hooks.items())]


@router.post("/hooks", response_model=HookOut, status_code=201)
async def add_hook(context: Context, webhooks: CurrentWebhooks, body: HookIn) -> HookOut:
    """Create a hook; only this response contains its secret."""
    created = await context.threads.commit(lambda: webhooks.administration(context).add_hook(**body.model_dump()))
    return (await _hook_out(context, webhooks, created.hook)).model_copy(update={"secret": created.secret})


@router.get("/hooks/{name}", response_model=HookOut)
async def show_hook(context: Context, webhooks: CurrentWebhooks, name: HookPath) -> HookOut:
    """Show one hook, and what waits for Prefect."""
    return await _hook_out(context, webhooks, webhooks.administration(context).hook(name))


@router.delete("/hooks/{name}", status_code=204)
async def delete_hook(context: Context, webhooks: CurrentWebhooks, name: HookPath) -> None:
    """Delete a hook, with its waiting events."""
    await context.threads.commit(webhooks.administration(context).remove_hook, name)


@router.get("/subscriptions", response_model=list[SubscriptionOut])
async def list_subscriptions(context: Context, webhooks: CurrentWebhooks) -> list[SubscriptionOut]:
    """List all subscriptions, by id."""
    subscriptions = webhooks.administration(context).records.subscriptions
    return [
        await _subscription_out(context, webhooks, subscription) for _, subscription in sorted(subscriptions.items())
    ]


@router.post("/subscriptions", response_model=SubscriptionOut, status_code=201)
async def add_subscription(context: Context, webhooks: CurrentWebhooks, body: SubscriptionIn) -> SubscriptionOut:
    """Notify a URL of what is committed from now on."""
    administration, settings = webhooks.administration(context), context.catalog.settings
    check_named(settings, "secret_file", body.secret_file)
    position = await context.threads.run(lambda: context.catalog.commits.log().last_position())
    check_receiver(body.url, settings)
    subscription = await context.threads.commit(
        lambda: administration.add_subscription(position=position, internal=False, **body.model_dump())
    )
    return await _subscription_out(context, webhooks, subscription)


@router.get("/subscriptions/{key}", response_model=SubscriptionOut)
async def show_subscription(context: Context, webhooks: CurrentWebhooks, key: str) -> SubscriptionOut:
    """Show one subscription, and how its deliveries go."""
    return await _subscription_out(context, webhooks, webhooks.administration(context).subscription(key))


@router.delete("/subscriptions/{key}", status_code=204)
async def delete_subscription(context: Context, webhooks: CurrentWebhooks, key: str) -> None:
    """Delete a subscription; its URL is notified no more."""
    await context.threads.commit(webhooks.administration(context).remove_subscription, key)

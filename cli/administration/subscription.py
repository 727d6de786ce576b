"""`entrepot subscription`: webhook subscribers of commits."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.administrator import administering_webhooks
from cli.options import Home, Json, new_group
from cli.output import print_fields, print_json, print_line, print_table, time_text

if TYPE_CHECKING:
    from catalog.settings import Settings
    from catalog.webhooks.queue import Cursor
    from catalog.webhooks.records import Subscription

group = new_group("Manage URLs that receive CloudEvents of commits.")
Id = Annotated[str, typer.Argument(metavar="ID", help="The subscription's id.")]


@group.command("create")
def create_subscription(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent by POST.")],
    *,
    events: Annotated[
        list[str] | None,
        typer.Option(
            "--event",
            metavar="TYPE",
            help="version.created, distribution.changed, act.done, act.refused or a glob of them; may be repeated. "
            "Default: the first two.",
        ),
    ] = None,
    repositories: Annotated[
        list[str] | None,
        typer.Option(
            "--repository", metavar="PATTERN", help="Send events of these repositories. Default: all. Repeatable."
        ),
    ] = None,
    form: Annotated[
        Literal["cloudevents", "distribution"],
        typer.Option("--format", help="CloudEvents, or the envelope of docker-registry's notifications."),
    ] = "cloudevents",
    secret_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Sign with the secret in this file; it is read each time.")
    ] = None,
    secret_env: Annotated[
        str, typer.Option(metavar="NAME", help="Sign with the secret in this variable of the registry's environment.")
    ] = "",
    give_up: Annotated[
        str, typer.Option(metavar="DURATION", help="Retry an event for this time; at most a year.")
    ] = "3d",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Subscribe a URL to commits from now on.

    The registry sends the events while it runs.

    Example: entrepot subscription create https://receiver.example/events
    """
    from catalog.units import parse_duration

    fields: dict[str, Any] = {
        "url": url, "format": form, "secret_file": str(secret_file.absolute()) if secret_file else "",
        "secret_env": secret_env, "give_up_hours": parse_duration(give_up) / timedelta(hours=1),
    }  # fmt: skip
    fields |= {"events": tuple(events)} if events else {}
    fields |= {"repositories": tuple(repositories)} if repositories else {}
    with administering_webhooks(home) as (admin, catalog):
        made = admin.add_subscription(position=catalog.commits.log().last_position(), **fields)
    print_json(made.model_dump()) if as_json else print_line(f"created: {made.id} tells {_shown(made)}")


@group.command("list")
def list_subscriptions(*, home: Home = None, as_json: Json = False) -> None:
    """List all subscriptions and their deliveries.

    Example: entrepot subscription list
    """
    with administering_webhooks(home) as (admin, _):
        found = [(one, admin.cursor(key)) for key, one in sorted(admin.records.subscriptions.items())]
    if as_json:
        print_json([_json(one, cursor) for one, cursor in found])
        return
    print_table(
        ("ID", "URL", "EVENTS", "REPOSITORIES", "DELIVERED", "FAILURES"),
        [
            (one.id, _shown(one), " ".join(one.events), " ".join(one.repositories), *_counts(cursor))
            for one, cursor in found
        ],
    )


@group.command("show")
def show_subscription(key: Id, *, home: Home = None, as_json: Json = False) -> None:
    """Show one subscription and its last failure.

    Example: entrepot subscription show SUBSCRIPTION_ID
    """
    from catalog.units import format_duration

    with administering_webhooks(home) as (admin, _):
        found, cursor = admin.subscription(key), admin.cursor(key)
    if as_json:
        print_json(_json(found, cursor))
        return
    delivered, failures = _counts(cursor)
    print_fields(
        {
            "id": found.id,
            "url": _shown(found),
            "format": found.format,
            "events": " ".join(found.events),
            "repositories": " ".join(found.repositories),
            "signed with": found.secret_file or found.secret_env or "nothing",
            "given up after": format_duration(timedelta(hours=found.give_up_hours)),
            "created": time_text(found.created_at),
            "delivered": delivered,
            "failures in turn": failures,
            "last failure": cursor.error if cursor else "",
        }
    )


@group.command("delete")
def delete_subscription(key: Id, *, home: Home = None, as_json: Json = False) -> None:
    """Delete a subscription.

    Example: entrepot subscription delete SUBSCRIPTION_ID
    """
    with administering_webhooks(home) as (admin, _):
        admin.remove_subscription(key)
    print_json({"deleted": key}) if as_json else print_line(f"deleted: {key}")


@group.command("test")
def send_test(key: Id, *, home: Home = None, as_json: Json = False) -> None:
    """Send a test event and show the receiver's answer.

    The CloudEvent, of type entrepot.test, is sent from here.

    Example: entrepot subscription test SUBSCRIPTION_ID
    """
    with administering_webhooks(home) as (admin, catalog):
        found, settings = admin.subscription(key), catalog.settings
    status = asyncio.run(_send_test(found, settings))
    print_json({"id": key, "status": status}) if as_json else print_line(f"{_shown(found)} answered {status}")


async def _send_test(found: "Subscription", settings: "Settings") -> int:
    from catalog.webhooks.cloud_events import body_of, event_source, trial_notification
    from catalog.webhooks.delivery import open_receivers

    receivers = open_receivers(settings)
    try:
        told = trial_notification(found.id, f"test@{uuid.uuid4().hex}", datetime.now(UTC))
        body = body_of(told, found.format, event_source(settings))
        assert body is not None
        return await receivers.deliver(found, body)
    finally:
        await receivers.close()


def _shown(found: "Subscription") -> str:
    """Return the URL without its query, which may hold a secret."""
    from catalog.webhooks.records import without_query

    return without_query(found.url)


def _counts(cursor: "Cursor | None") -> tuple[int, int]:
    return (cursor.delivered, cursor.failures) if cursor else (0, 0)


def _json(found: "Subscription", cursor: "Cursor | None") -> dict[str, object]:
    delivered, failures = _counts(cursor)
    error = cursor.error if cursor else ""
    return {**found.model_dump(), "delivered": delivered, "failures": failures, "error": error}

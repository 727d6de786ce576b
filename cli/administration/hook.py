"""`entrepot hook`: webhooks of upstreams and the deployments they start."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.administrator import administering_webhooks
from cli.options import Home, Json, new_group
from cli.output import print_fields, print_json, print_line, print_table, say, time_text

if TYPE_CHECKING:
    from catalog.webhooks.records import Hook

group = new_group("Manage webhooks that start a sync on an upstream's push.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The hook's name, the last part of its URL.")]


@group.command("create")
def create_hook(
    name: Name,
    upstream: Annotated[
        str,
        typer.Argument(metavar="UPSTREAM", help="Registry that sends the events: `registry.example[/prefix]`."),
    ],
    *,
    kind: Annotated[
        Literal["auto", "docker-distribution", "docker-hub", "harbor", "quay", "github", "cloudevents"],
        typer.Option("--kind", help="Format of the upstream's events."),
    ] = "auto",
    target: Annotated[
        str,
        typer.Option(metavar="NAME", help="Replace UPSTREAM in names by this. Default: keep the upstream's names."),
    ] = "",
    deployment: Annotated[
        str, typer.Option(metavar="FLOW/DEPLOYMENT", help="Deployment to start; its flow takes a sync's request.")
    ] = "sync-repository/sync-repository",
    request: Annotated[
        str, typer.Option(metavar="JSON", help='Further fields of the request: {"policy": "on_demand"}.')
    ] = "",
    repositories: Annotated[
        list[str] | None,
        typer.Option("--repository", metavar="PATTERN", help="Only these upstream: team/**; may be repeated."),
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option(
            "--tag", metavar="PATTERN", help="Only these tags: a glob, re:REGEX, semver:RANGE; may be repeated."
        ),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Sync the repository as the request selects it, not the tags pushed alone.")
    ] = False,
    quiet: Annotated[
        str, typer.Option(metavar="DURATION", help="Wait so long for further pushes of a repository; an hour at most.")
    ] = "3s",
    proof: Annotated[
        Literal["token", "hmac", "url"],
        typer.Option(
            "--proof",
            help="Expect the secret in a header, in a signature, or (weakest) in the URL.",
        ),
    ] = "token",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Create a hook and show its secret once.

    Example: entrepot hook create harbor registry.example --kind harbor
    """
    from catalog.units import parse_duration
    from catalog.webhooks.records import describe_hook
    from flows.runs.pull_command import registry_url

    fields: dict[str, Any] = {
        "name": name, "upstream": upstream, "kind": kind, "target": target, "deployment": deployment,
        "request": _read_request(request), "repositories": tuple(repositories or ()), "tags": tuple(tags or ()),
        "whole": whole, "quiet_seconds": parse_duration(quiet).total_seconds(), "proof": proof,
    }  # fmt: skip
    check_hook_request(deployment, fields["request"])
    with administering_webhooks(home) as (admin, catalog):
        made = admin.add_hook(**fields)
        settings = catalog.settings
    url = f"{settings.public_url.rstrip('/') or registry_url(settings)}/api/v1/hooks/{name}"
    url += f"?token={made.secret}" if proof == "url" else ""
    if as_json:
        print_json({**describe_hook(made.hook), "url": url, "secret": made.secret})
        return
    print_fields({"url": url, "secret": made.secret, "upstream": upstream, "starts": deployment})
    say("keep the secret now: it cannot be shown again")


@group.command("list")
def list_hooks(*, home: Home = None, as_json: Json = False) -> None:
    """List all hooks by name.

    Example: entrepot hook list
    """
    from catalog.webhooks.records import describe_hook

    with administering_webhooks(home) as (admin, _):
        found = [one for _, one in sorted(admin.records.hooks.items())]
    if as_json:
        print_json([describe_hook(one) for one in found])
        return
    print_table(
        ("NAME", "KIND", "UPSTREAM", "TARGET", "SELECTS", "STARTS"),
        [(one.name, one.kind, one.upstream, one.target, _selected_text(one), one.deployment) for one in found],
    )


@group.command("show")
def show_hook(name: Name, *, home: Home = None, as_json: Json = False) -> None:
    """Show one hook and its events that wait for Prefect.

    Example: entrepot hook show upstream
    """
    from catalog.units import format_duration
    from catalog.webhooks.records import describe_hook

    with administering_webhooks(home) as (admin, _):
        found = admin.hook(name)
        events, runs = admin.backlog(name)
    if as_json:
        print_json({**describe_hook(found), "waiting_events": events, "waiting_runs": runs})
        return
    print_fields(
        {
            "name": found.name,
            "kind": found.kind,
            "upstream": found.upstream,
            "target": found.target,
            "starts": found.deployment,
            "request": json.dumps(dict(found.request)) if found.request else "",
            "selects": _selected_text(found),
            "repositories": " ".join(found.repositories),
            "quiet": format_duration(timedelta(seconds=found.quiet_seconds)),
            "secret": {"token": "in a header", "hmac": "signs", "url": "in the URL"}[found.proof],
            "created": time_text(found.created_at),
            "waiting": f"{events} events, {runs} runs",
        }
    )


@group.command("delete")
def delete_hook(name: Name, *, home: Home = None, as_json: Json = False) -> None:
    """Delete a hook and its waiting events.

    Example: entrepot hook delete upstream
    """
    with administering_webhooks(home) as (admin, _):
        admin.remove_hook(name)
    print_json({"deleted": name}) if as_json else print_line(f"deleted: {name}")


def _selected_text(hook: "Hook") -> str:
    if hook.whole:
        return "the whole repository"
    return f"tags {' '.join(hook.tags)}" if hook.tags else "the tags pushed"


def _read_request(text: str) -> dict[str, Any]:
    from oci.errors import InvalidInput

    try:
        document = json.loads(text or "{}")
    except ValueError as error:
        raise InvalidInput(f"--request is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput('--request is not a JSON object, such as {"policy": "on_demand"}')
    return document


def check_hook_request(deployment: str, request: Mapping[str, Any]) -> None:
    """Raise InvalidInput for a request that the sync would refuse; other deployments judge for themselves."""
    from pydantic import ValidationError

    from catalog.parsed_text import describe_faults
    from catalog.webhooks.records import RESERVED, SYNC
    from flows.sync.request import SyncRequest
    from oci.errors import InvalidInput

    if deployment != SYNC or RESERVED & request.keys():
        return
    try:
        SyncRequest(remote="registry.example/name", **request)
    except ValidationError as error:
        raise InvalidInput(f"--request: {describe_faults(error)}") from None

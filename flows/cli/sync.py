"""`entrepot sync`: run the sync flow from here and say what came of it."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.cli.opening import settings_of
from flows.cli.options import Home, Json
from flows.cli.output import print_fields, print_json, print_line, print_table, say
from oci.errors import InvalidInput

if TYPE_CHECKING:
    from flows.adhoc import Show
    from flows.sync_report import SyncResult
    from flows.sync_request import SyncRequest

MAX_SHOWN = 50
"""How many changed tags a terminal is shown; --json has all."""


def sync(
    context: typer.Context,
    remote: Annotated[str, typer.Argument(metavar="REMOTE", help="registry.example/team/app[:tag][@digest]")],
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Repository here; default: the upstream's name.")] = "",
    *,
    mirror: Annotated[
        bool, typer.Option("--mirror/--additive", help="Remove what upstream does not have, or leave it (default).")
    ] = False,
    include: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Tags to take; repeatable.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Tags to leave out; repeatable.")] = None,
    on_error: Annotated[
        Literal["fail", "skip"],
        typer.Option(help="When a tag cannot be copied: change nothing, or make a version of the others."),
    ] = "fail",
    dry_run: Annotated[bool, typer.Option(help="Say what would be done, and do nothing.")] = False,
    batch_size: Annotated[int, typer.Option(help="Tags that one task of the flow works on.", min=1, max=10_000)] = 200,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Copy the tags of an upstream repository into one new version of a repository here.

    The run is recorded in Prefect: on the server that answers at ENTREPOT_PREFECT_API_URL, else on one that is started for it.
    """
    from flows.adhoc import prefect_api, run_sync_flow

    request = read_request(
        remote=remote,
        repository=name,
        mode="mirror" if mirror else "additive",
        include=include or (),
        exclude=exclude or (),
        on_error=on_error,
        dry_run=dry_run,
        batch_size=batch_size,
    )
    settings = settings_of(home)
    with prefect_api(settings, debug=bool(context.obj)) as wait_for_api:
        import flows.sync  # noqa: F401  # a second of imports while the server starts

        wait_for_api()
        result = asyncio.run(run_sync_flow(request, _show()))
    show_result(result, as_json=as_json)


def read_request(**values: object) -> "SyncRequest":
    """Check what was asked; raise InvalidInput that names each wrong value and repeats none."""
    from pydantic import ValidationError

    from flows.sync_request import SyncRequest

    try:
        return SyncRequest.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise InvalidInput(faults) from None


def _show() -> "Show | None":
    if not sys.stderr.isatty():
        return None
    from flows.cli.progress_bar import show_progress

    return show_progress


def show_result(result: "SyncResult", *, as_json: bool) -> None:
    """Print the result; what failed or was remarkable goes to standard error too."""
    if as_json:
        print_json(result.to_json())
    else:
        _print_result(result)
    for note in result.notes:
        say(f"note: {note}")
    if result.failed:
        say(f"warning: {len(result.failed)} tags are missing:")
        for tag, reason in result.failed.items():
            say(f"  {tag}: {reason}")


def _print_result(result: "SyncResult") -> None:
    from flows.sync_report import important_first

    changed = [item for item in important_first(result.items) if item.action != "unchanged"]
    if changed:
        print_table(
            ("TAG", "ACTION", "DIGEST", "BYTES", "REASON"),
            [
                (item.tag, item.action, item.digest or item.previous, item.size, item.reason)
                for item in changed[:MAX_SHOWN]
            ],
        )
        if len(changed) > MAX_SHOWN:
            print_line(f"… and {len(changed) - MAX_SHOWN} more (--json has all)")
        print_line("")
    print_line(result.summary())
    if result.flow_run_id:
        print_fields({"flow run": result.flow_run_id})

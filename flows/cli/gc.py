"""`entrepot gc` and `entrepot usage`: what the store holds, and freeing what nothing needs."""

from typing import Annotated

import typer

from flows.cli.flow_runs import read_form, run_here, show_summary
from flows.cli.opening import opened
from flows.cli.options import DryRun, Home, Json
from flows.cli.output import bytes_text, print_fields, print_json, print_line, print_table


def gc(
    context: typer.Context,
    *,
    grace_hours: Annotated[
        float,
        typer.Option("--grace-hours", help="Keep what was uploaded, mounted or copied within so many hours.", min=0),
    ] = 24.0,
    dry_run: DryRun = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Free the blobs that no version of any repository holds; pushes and pulls may go on."""
    from flows.gc_request import GcRequest

    request = read_form(GcRequest, grace_hours=grace_hours, dry_run=dry_run)
    show_summary(run_here(context, home, "flows.gc", "collect_garbage", request), as_json=as_json)


def usage(*, home: Home = None, as_json: Json = False) -> None:
    """Show what is held, what repositories share, and what holding it once saves."""
    with opened(home) as catalog:
        found = catalog.usage()
    if as_json:
        print_json(
            {
                "held": {"blobs": found.blobs, "bytes": found.held},
                "used_bytes": found.used,
                "upstream_bytes": found.upstream,
                "loose_bytes": found.loose,
                "saved_bytes": found.saved,
                "repositories": [
                    {"name": one.name, "bytes": one.bytes, "shared": one.shared, "own": one.own}
                    for one in found.repositories
                ],
            }
        )
        return
    rows = [
        (one.name, bytes_text(one.bytes), bytes_text(one.shared), bytes_text(one.own)) for one in found.repositories
    ]
    print_table(("REPOSITORY", "SIZE", "SHARED", "OWN"), rows)
    print_line("")
    print_fields(
        {
            "held": f"{bytes_text(found.held)} in {found.blobs} blobs",
            "used by versions": bytes_text(found.used),
            "left upstream": f"{bytes_text(found.upstream)} (fetched when asked for)",
            "held by none": f"{bytes_text(found.loose)} (`entrepot gc` frees what is older than its grace period)",
            "saved by sharing": bytes_text(found.saved),
        }
    )

"""`entrepot gc` and `entrepot usage`: what the store holds, and freeing what nothing needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.units import format_size
from cli.catalog import opened
from cli.flow_runs import run_here, show_summary
from cli.forms.command import from_form
from cli.options import Home, Json
from cli.output import MAX_SHOWN, print_fields, print_json, print_line, print_table
from flows.all_flows import COLLECT_GARBAGE
from oci.digest import Digest

if TYPE_CHECKING:
    from flows.storage.gc_request import GcRequest


ExplainDigest = Annotated[
    str | None, typer.Option("--explain", metavar="DIGEST", help="Say why this blob stays or goes, and change nothing.")
]


@from_form(COLLECT_GARBAGE.form)
def gc(
    context: typer.Context,
    request: "GcRequest",
    *,
    explain: ExplainDigest = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Delete blobs that no version of any repository holds.

    Pushes and pulls may go on meanwhile.

    Example: entrepot gc --dry-run
    """
    if explain is not None:
        _explain(explain, home, request.grace, as_json=as_json)
        return
    result = run_here(context, home, COLLECT_GARBAGE, request)
    if request.dry_run and not as_json and result.rows():
        rows = [(digest, "" if size is None else format_size(size), why) for digest, size, why in result.rows()]
        print_table(("DIGEST", "SIZE", "WHY"), rows[:MAX_SHOWN])
        if len(rows) > MAX_SHOWN:
            print_line(f"… and {len(rows) - MAX_SHOWN} more (--json has up to 10,000)")
        print_line("")
    show_summary(result, as_json=as_json)


def _explain(text: str, home: Path | None, grace: str, *, as_json: bool) -> None:
    from catalog.units import parse_duration

    with opened(home) as catalog:
        explanation = catalog.maintenance.explain(Digest.parse(text), grace=parse_duration(grace).total_seconds())
    if as_json:
        document = {
            "digest": explanation.digest,
            "size": explanation.size,
            "freed": explanation.is_freed,
            "reasons": explanation.reasons(),
        }
        print_json({**document, "hits": [impact.to_json() for impact in explanation.impacts]})
        return
    print_fields(
        {
            "digest": explanation.digest,
            "size": "not held" if explanation.size is None else format_size(explanation.size),
        }
    )
    for reason in explanation.reasons():
        print_line(reason)
    for impact in explanation.impacts:
        print_line(f"tags of {impact.repository}: {', '.join(impact.tags) or 'none'}")


def usage(*, home: Home = None, as_json: Json = False) -> None:
    """Show storage use, sharing and bytes saved.

    It counts what is held, what repositories share, and what holding it once saves.

    Example: entrepot usage
    """
    with opened(home) as catalog:
        found = catalog.maintenance.usage()
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
        (one.name, format_size(one.bytes), format_size(one.shared), format_size(one.own)) for one in found.repositories
    ]
    print_table(("REPOSITORY", "SIZE", "SHARED", "OWN"), rows)
    print_line("")
    print_fields(
        {
            "held": f"{format_size(found.held)} in {found.blobs} blobs",
            "used by versions": format_size(found.used),
            "left upstream": f"{format_size(found.upstream)} (fetched when asked for)",
            "held by none": f"{format_size(found.loose)} (`entrepot gc` frees what is older than its grace period)",
            "saved by sharing": format_size(found.saved),
        }
    )

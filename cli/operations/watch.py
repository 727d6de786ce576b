"""`entrepot watch`: report what has changed in an upstream repository since the last watch."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import exit_codes
from cli.administrator import ACTOR
from cli.catalog import opened
from cli.flow_runs import run_here, show_summary
from cli.forms.command import from_form
from cli.options import Home, Json
from cli.output import MAX_SHOWN, print_json, print_line, print_table, say
from flows.all_flows import WATCH
from oci.errors import InvalidInput

if TYPE_CHECKING:
    from flows.watch.request import WatchRequest, WatchResult

FailOn = Annotated[
    str,
    typer.Option(
        "--fail-on",
        metavar="KINDS",
        help="Exit with 1 on these changes, comma between: new, moved, vanished, returned, signature-lost, signer-changed.",
    ),
]


@from_form(WATCH.form)
def watch(
    context: typer.Context,
    request: "WatchRequest",
    *,
    fail_on: FailOn = "",
    forget: Annotated[
        bool, typer.Option("--forget", help="Forget what is known of the upstream; the next watch is a first one.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Report tags that moved or vanished upstream.

    The first watch records what is there. Signers are those that signatures claim; no signature is verified.

    Example: entrepot watch registry.example/team/app --fail-on moved
    """
    failing = _kinds(fail_on)
    if forget:
        _forget(request.source, home, as_json=as_json)
        return
    result = run_here(context, home, WATCH, request)
    if not as_json:
        _print_changes(result)
    show_summary(result, as_json=as_json)
    for upstream in result.upstreams:
        for remark in upstream.remarks:
            say(f"note: {upstream.remote}: {remark}")
        for tag, reason in list(upstream.unknown.items())[:MAX_SHOWN]:
            say(f"note: {tag} is unknown: {reason}")
    if failing & result.kinds():
        raise typer.Exit(exit_codes.FAILED)


def _forget(source: str, home: Path | None, *, as_json: bool) -> None:
    from flows.watch.sources import find_upstreams, watched_name

    with opened(home) as catalog:
        names = [watched_name(remote) for remote in find_upstreams(catalog, source)]
        for name in names:
            catalog.watches.forget(name, actor=ACTOR, now=datetime.now(UTC))
    if as_json:
        print_json({"forgotten": names})
    else:
        print_line(f"forgot {', '.join(names)}")


def _kinds(text: str) -> frozenset[str]:
    """Read kinds of changes; raise InvalidInput for an unknown one."""
    from catalog.watch.sightings import CHANGE_KINDS

    kinds = frozenset(filter(None, (one.strip() for one in text.split(","))))
    for kind in sorted(kinds.difference(CHANGE_KINDS)):
        raise InvalidInput(f"invalid kind of change {kind[:80]!r}: expected {', '.join(CHANGE_KINDS)}")
    return kinds


def _print_changes(result: "WatchResult") -> None:
    changes = [(upstream.remote, one) for upstream in result.upstreams for one in upstream.changes]
    if not changes:
        return
    print_table(
        ("REMOTE", "TAG", "CHANGE", "SEVERITY", "BEFORE", "NOW"),
        [
            (
                remote, one.tag, one.kind, one.severity, ", ".join(one.signers_before) or one.previous or "",
                ", ".join(one.signers) if one.signers_before else one.digest or "",
            )
            for remote, one in changes[:MAX_SHOWN]
        ],
    )  # fmt: skip
    if len(changes) > MAX_SHOWN:
        print_line(f"… and {len(changes) - MAX_SHOWN} more (--json has all)")
    print_line("")

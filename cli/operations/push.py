"""`entrepot push`: make another registry hold what is here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.filter_options import with_filters
from cli.flow_runs import read_form, run_here
from cli.options import CompanionTypes, DryRun, Home, Json, NoCompanions
from cli.output import MAX_SHOWN, print_fields, print_json, print_line, print_table, say_remarks

if TYPE_CHECKING:
    from flows.push.report import PushResult


@with_filters
def push(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="[SOURCE]", help="One path here, NAME[:TAG][@DIGEST]; without it, --path chooses.")
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="registry.example/team/app[:tag] for one path, registry.example[/prefix] for many."
        ),
    ] = "",
    *,
    path: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Push paths that match: team/*, team/**, re:REGEX; repeatable."),
    ] = None,
    exclude_path: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Leave these paths out; stronger than --path.")
    ] = None,
    path_label: Annotated[
        list[str] | None, typer.Option(metavar="KEY[=VALUE]", help="Push paths that have this label; repeatable: all.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Push private paths too.")] = False,
    mirror: Annotated[
        bool, typer.Option("--mirror/--additive", help="Delete tags there that are not here, or leave them (default).")
    ] = False,
    filters: Mapping[str, object],
    companions: CompanionTypes = None,
    no_companions: NoCompanions = False,
    on_error: Annotated[
        Literal["fail", "skip"],
        typer.Option(help="When content cannot be pushed: set no tag at all, or set those of the others."),
    ] = "fail",
    dry_run: DryRun = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Push tags, images and companions to another registry.

    With one argument, that is the target: every path that is selected keeps its name below it.

    Example: entrepot push team/app registry.example/team/app --dry-run
    """
    from flows.push.request import PushRequest

    request = read_form(
        PushRequest,
        target=target or source,
        source=source if target else "",
        paths=path or (),
        exclude_paths=exclude_path or (),
        path_labels=path_label or (),
        private=private,
        mode="mirror" if mirror else "additive",
        **filters,
        companions=() if no_companions else tuple(companions or ("*",)),
        on_error=on_error,
        dry_run=dry_run,
    )
    show_pushed(run_here(context, home, "flows.push.flow", "push_repositories", request), as_json=as_json)


def show_pushed(result: "PushResult", *, as_json: bool) -> None:
    """Print the result; what failed or was remarkable goes to standard error too."""
    if as_json:
        print_json(result.to_json())
    else:
        _print_pushed(result)
    say_remarks(result.notes, result.failed)


def _print_pushed(result: "PushResult") -> None:
    changed = [(path, item) for path, item in result.important() if item.action != "unchanged"]
    if changed:
        print_table(
            ("PATH", "TAG", "ACTION", "DIGEST", "BYTES", "REASON"),
            [
                (path, item.tag, item.action, item.digest or item.previous, item.size, item.reason)
                for path, item in changed[:MAX_SHOWN]
            ],
        )
        if len(changed) > MAX_SHOWN:
            print_line(f"… and {len(changed) - MAX_SHOWN} more (--json has all)")
        print_line("")
    print_line(result.summary())
    if result.flow_run_id:
        print_fields({"flow run": result.flow_run_id})

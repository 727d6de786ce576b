"""`entrepot push`: make another registry hold what is here."""

from typing import TYPE_CHECKING, Any

import typer

from cli.flow_runs import run_here
from cli.forms.command import from_form
from cli.options import Home, Json
from cli.output import MAX_SHOWN, print_fields, print_json, print_line, print_table, say_remarks
from flows.all_flows import PUSH

if TYPE_CHECKING:
    from flows.push.report import PushResult
    from flows.push.request import PushRequest


def _target_last(said: dict[str, Any]) -> dict[str, Any]:
    """Return what is said with the only argument, where there is one, as the target."""
    if "source" in said and "target" not in said:
        said["target"] = said.pop("source")
    return said


@from_form(PUSH.form, adapt=_target_last)
def push(context: typer.Context, request: "PushRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Push tags, images and companions to another registry.

    With one argument, that is the target: each selected path keeps its name below it.

    Example: entrepot push team/app registry.example/team/app --dry-run
    """
    show_pushed(run_here(context, home, PUSH, request), as_json=as_json)


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

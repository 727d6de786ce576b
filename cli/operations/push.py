"""`entrepot push`: make another registry hold what is here."""

from typing import TYPE_CHECKING, Any

import typer

from cli.flow_runs import run_here
from cli.forms.command import from_form
from cli.options import Home, Json
from cli.output import print_changes, print_json, say_remarks
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
    from flows.runs.plan_tables import CHANGE_HEADS, change_row

    changed = [(path, *change_row(item)) for path, item in result.important() if item.action != "unchanged"]
    print_changes(("PATH", *CHANGE_HEADS), changed, result.summary(), flow_run=result.flow_run_id)

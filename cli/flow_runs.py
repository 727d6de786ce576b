"""Runs a flow for a command: reads its form, finds or starts a Prefect server, shows progress."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import typer

from cli import exit_codes
from cli.catalog import settings_of
from cli.output import MAX_SHOWN, print_fields, print_json, print_line, print_table, say
from oci.errors import InvalidInput

if TYPE_CHECKING:
    from pydantic import BaseModel

    from catalog.settings import Settings
    from flows.orchestration.ad_hoc import UsedApi
    from flows.orchestration.ad_hoc_run import Show
    from flows.runs.operation import OperationResult

_Form = TypeVar("_Form", bound="BaseModel")


def read_form(form: type[_Form], **values: object) -> _Form:
    """Fill a flow's form; raise InvalidInput that names each wrong value and repeats none."""
    from pydantic import ValidationError

    try:
        return form.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(
            ": ".join(filter(None, (".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, "))))
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise InvalidInput(faults) from None


def run_here(context: typer.Context, home: Path | None, module: str, flow: str, request: "BaseModel") -> Any:
    """Run `flow` of `module` in this process; its import, a second of work, goes on while a server starts."""
    from flows.orchestration.ad_hoc import prefect_api

    settings = settings_of(home)
    with prefect_api(settings, say=say, debug=bool(context.obj)) as api:
        found = getattr(import_module(module), flow)
        api.wait()
        return _run(lambda: run_flow_here(found, request, settings, api), api)


def _run(make: "Callable[[], Coroutine[Any, Any, Any]]", api: "UsedApi") -> Any:
    """Run to the end; where Prefect's server is lost, leave behind what waits for it."""
    from flows.orchestration.termination import TerminationSignal

    runner = asyncio.Runner()
    try:
        return runner.run(make())
    except TerminationSignal:  # Prefect's own answer to SIGTERM, within flows of flows
        exit_codes.note_termination()
        raise KeyboardInterrupt from None
    finally:
        if api.answers:
            runner.close()
        else:
            exit_codes.leave_behind()


async def run_flow_here(flow: Any, request: "BaseModel", settings: "Settings", api: "UsedApi") -> Any:
    """Run a flow with what a terminal shows of it; Prefect's handler of SIGTERM is replaced by ours."""
    from flows.orchestration.ad_hoc_run import run_flow

    return await run_flow(
        flow, request, settings=settings, api=api, say=say, show=_show(), on_begin=exit_codes.end_on_sigterm
    )


def _show() -> "Show":
    from cli.progress_bar import show_progress, tell_waits

    return show_progress if sys.stderr.isatty() else tell_waits


class Result(Protocol):
    """What a flow's result can say of itself."""

    flow_run_id: str

    def summary(self) -> str:
        """One line for a terminal."""
        ...

    def to_json(self) -> Mapping[str, object]:
        """The same for programs."""
        ...


def show_summary(result: Result, *, as_json: bool) -> None:
    """Print a result's one line and its flow run."""
    if as_json:
        print_json(result.to_json())
        return
    print_line(result.summary())
    if result.flow_run_id:
        print_fields({"flow run": result.flow_run_id})


def show_operation(result: "OperationResult", *, as_json: bool) -> None:
    """Print what an operation did to a repository; remarks go to standard error too."""
    if as_json:
        print_json(result.to_json())
    else:
        if result.dry_run:
            for tag, reason in result.not_selected.items():
                print_line(f"not selected: {tag}: {reason}")
        if result.items:
            rows = [(item.tag, item.action, item.digest or item.previous) for item in result.items[:MAX_SHOWN]]
            print_table(("TAG", "ACTION", "DIGEST"), rows)
            if len(result.items) > MAX_SHOWN:
                print_line(f"… and {len(result.items) - MAX_SHOWN} more (--json has all)")
            print_line("")
        print_line(result.summary())
        if result.dry_run and result.plan:
            print_fields({"plan": result.plan})
        if result.flow_run_id:
            print_fields({"flow run": result.flow_run_id})
    for note in result.notes:
        say(f"note: {note}")

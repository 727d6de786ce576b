"""Runs a flow for a command: finds or starts a Prefect server, shows progress, prints the result."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from cli import exit_codes
from cli.catalog import settings_of
from cli.output import MAX_SHOWN, print_fields, print_json, print_line, print_table, say

if TYPE_CHECKING:
    from catalog.settings import Settings
    from flows.orchestration.ad_hoc import UsedApi
    from flows.orchestration.ad_hoc_run import Show
    from flows.runs.lazy_flow import FormFlow, FormT, LazyFlow, ResultT
    from flows.runs.operation import OperationResult


def run_here(
    context: typer.Context, home: Path | None, lazy: "LazyFlow[FormT, ResultT]", request: "FormT"
) -> "ResultT":
    """Run a flow in this process; its import, a second of work, goes on while a server starts and the catalogue is opened."""
    from flows.orchestration.ad_hoc import prefect_api
    from flows.runs.catalog import catalog_ahead

    settings = settings_of(home)
    with prefect_api(settings, say=say, debug=bool(context.obj)) as api, catalog_ahead(settings):
        flow = lazy.flow()
        api.wait()
        return _run(lambda: run_flow_here(flow, request, settings, api), api)


def _run(make: "Callable[[], Coroutine[None, None, ResultT]]", api: "UsedApi") -> "ResultT":
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


async def run_flow_here(
    flow: "FormFlow[FormT, ResultT]", request: "FormT", settings: "Settings", api: "UsedApi"
) -> "ResultT":
    """Run a flow with what a terminal shows of it; Prefect's handler of SIGTERM is replaced by ours."""
    from flows.orchestration.ad_hoc_run import run_flow

    return await run_flow(
        flow, request, settings=settings, api=api, say=say, show=_show(), on_begin=exit_codes.end_on_sigterm
    )


def _show() -> "Show":
    from cli.progress_bar import show_progress, tell_progress

    return show_progress if sys.stderr.isatty() else tell_progress


class Result(Protocol):
    """The result of a flow, as commands print it."""

    @property
    def flow_run_id(self) -> str:
        """Return the id of its flow run; empty: it had none."""
        ...

    def summary(self) -> str:
        """Return one line for a terminal."""
        ...

    def to_json(self) -> Mapping[str, object]:
        """Return the same for programs."""
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

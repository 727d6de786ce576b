"""Runs a flow for a command: in this process, with a record at the Prefect server where there is one."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from cli import exit_codes
from cli.catalog import settings_of
from cli.output import MAX_SHOWN, print_fields, print_json, print_line, print_table, say
from oci.traces.start import start_tracing, stop_tracing

if TYPE_CHECKING:
    from catalog.settings import Settings
    from flows.direct.run import Show
    from flows.engine.endings import ResultT
    from flows.engine.flows import FormT
    from flows.orchestration.ad_hoc.used_api import UsedApi
    from flows.runs.lazy_flow import LazyFlow
    from flows.runs.operation import OperationResult


def run_here(
    context: typer.Context, home: Path | None, lazy: "LazyFlow[FormT, ResultT]", request: "FormT"
) -> "ResultT":
    """Run a flow in this process; the catalogue is opened meanwhile. Prefect is imported only for runs that need its engine."""
    from flows.direct.find_server import find_api
    from flows.runs.catalog import catalog_ahead

    settings, debug = settings_of(home), bool(context.obj)
    with catalog_ahead(settings):
        api = find_api(settings)
        if api is not None and lazy.needs_engine(request):
            return _run_by_prefect(lazy, request, settings, debug=debug)
        if api is None:
            _tell_unrecorded(settings)
        from flows.direct.run import Terminal, run_directly

        flow = lazy.flow()
        terminal = Terminal(say, _show(), debug)
        if fault := start_tracing(os.environ, "entrepot"):
            say(f"warning: {fault}")
        try:
            with asyncio.Runner() as runner:
                return runner.run(run_directly(flow, request, settings=settings, api=api, terminal=terminal))
        finally:
            stop_tracing()


def _tell_unrecorded(settings: "Settings") -> None:
    """Say that a server which should be there is not."""
    from catalog.prefect.address import known_addresses

    for address in known_addresses(settings)[:1]:
        say(f"note: Prefect at {address.url} does not answer, so it has no record of this run")


def _run_by_prefect(
    lazy: "LazyFlow[FormT, ResultT]", request: "FormT", settings: "Settings", *, debug: bool
) -> "ResultT":
    """Run a flow by Prefect's engine: only that can have workers share the work, and wait for a person."""
    from flows.orchestration.ad_hoc.run import run_flow
    from flows.orchestration.ad_hoc.server import prefect_api

    with prefect_api(settings, say=say, debug=debug) as api:
        api.wait()
        from flows.orchestration.ad_hoc.termination import (
            TerminationSignal,  # imports Prefect: flows that come later are Prefect's
        )

        flow = lazy.flow()

        def make() -> "Coroutine[None, None, ResultT]":
            # Prefect's handler of SIGTERM is replaced by ours.
            return run_flow(
                flow, request, settings=settings, api=api, say=say, show=_show(), on_begin=exit_codes.end_on_sigterm
            )

        return _run(make, api, TerminationSignal)


def _run(
    make: "Callable[[], Coroutine[None, None, ResultT]]", api: "UsedApi", termination: type[BaseException]
) -> "ResultT":
    """Run to the end; where Prefect's server is lost, leave behind what waits for it."""
    runner = asyncio.Runner()
    try:
        return runner.run(make())
    except termination:  # Prefect's own answer to SIGTERM, within flows of flows
        exit_codes.note_termination()
        raise KeyboardInterrupt from None
    finally:
        if api.answers:
            runner.close()
        else:
            exit_codes.leave_behind()


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

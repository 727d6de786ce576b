"""`entrepot up`: everything on this machine, until Ctrl-C."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from cli import exit_codes
from cli.catalog import settings_of
from cli.forms.command import from_form
from cli.forms.reading import read_form
from cli.options import Home, Json
from cli.output import Cell, print_fields, print_json, print_line, say

if TYPE_CHECKING:
    from pydantic import BaseModel

    from catalog.settings import Settings
    from flows.orchestration.deployment_run import Ended, Followed
    from flows.orchestration.up import Up
    from flows.sync.request import FirstSync, SyncRequest

SYNC, PIPELINE = "sync-repository/sync-repository", "run-pipeline/run-pipeline"
_QUIET_SECONDS = 5.0


def first_sync_form() -> "type[FirstSync]":
    """Return the form of what is synced at the start."""
    from flows.sync.request import FirstSync

    return FirstSync


@from_form(first_sync_form)
def up(
    _context: typer.Context,
    first: "FirstSync",
    *,
    demo: Annotated[
        bool, typer.Option("--demo", help="Without --upstream: start a small upstream, and sync it.")
    ] = False,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="The registry; default: ENTREPOT_LISTEN.")
    ] = None,
    prefect_port: Annotated[int | None, typer.Option(help="Port of Prefect's server and UI.", min=1, max=65535)] = None,
    demo_port: Annotated[int, typer.Option(help="Port of the demo upstream.", min=1, max=65535)] = 5081,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM file of the certificate chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM file of its private key.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Start Prefect, a worker and the registry until Ctrl-C.

    With --upstream one repository is synced first, as a flow run that is to be seen in the UI. With --demo the whole pipeline
    runs on a small upstream: sync, filter, build, sign, attest, export, and a pull of the result.

    Example: entrepot up --demo
    """
    from flows.orchestration.processes.children import Processes
    from flows.orchestration.processes.single_instance import hold_home
    from flows.orchestration.up import Up, check_ports, make_plan
    from flows.sync.request import SyncRequest

    wanted = None
    if first.upstream:
        said = {"remote": first.upstream, "include": first.include, "exclude": first.exclude}
        wanted = read_form(SyncRequest, said, {("remote",): "--upstream"})
    settings = settings_of(home, listen=listen, tls_cert=tls_cert, tls_key=tls_key)
    plan = make_plan(settings, prefect_port=prefect_port, demo_port=demo_port if demo and not wanted else None)
    _stop_on_signals()
    with hold_home(settings, os.getpid()):
        check_ports(plan)
        with Processes(settings.root / "logs") as processes:
            running = Up(plan, processes, say)
            remote = running.start()
            names, ended = _run_main_job(running, wanted, remote)
            _introduce(running, names, ended, as_json=as_json)
            try:
                running.watch()
            except KeyboardInterrupt:
                say("stopping")
    if ended is not None and not ended.is_completed:
        raise typer.Exit(exit_codes.FAILED)


def _stop_on_signals() -> None:
    """Let SIGTERM and a closed terminal end this as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def _run_main_job(running: "Up", wanted: "SyncRequest | None", remote: str) -> "tuple[tuple[str, ...], Ended | None]":
    """Run the sync that was asked for, or the pipeline on the demo; say what to pull, the best first, and how it ended."""
    if wanted:
        say(f"syncing {wanted.reference} …")
        return (wanted.target,), _run(running, SYNC, wanted)
    if not remote:
        return (), None
    from flows.demo.request import BUILT, demo_request
    from flows.demo.upstream import NAME

    say(f"running the pipeline on {remote} …")
    return (BUILT, NAME), _run(running, PIPELINE, demo_request(running.plan.settings, remote))


def _run(running: "Up", deployment: str, request: "BaseModel") -> "Ended":
    from flows.orchestration.deployment_run import run_deployment

    with _progress() as show:
        return run_deployment(
            deployment,
            request.model_dump(mode="json", exclude_unset=True),
            on_start=lambda run_id: say(f"flow run     {running.flow_run_url(run_id)}"),
            on_change=show,
            check=running.check,
        )


@contextmanager
def _progress() -> "Iterator[Callable[[Followed], None]]":
    """Show states and progress: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _line_by_line()
        return
    from cli.progress_bar import make_percent_bar

    with make_percent_bar() as bar:
        task = bar.add_task("waiting for the worker", total=100.0)
        yield lambda now: bar.update(task, description=now.progress or now.state, completed=now.percent)


def _line_by_line() -> "Callable[[Followed], None]":
    last_state, last_time = "", 0.0

    def show(now: "Followed") -> None:
        nonlocal last_state, last_time
        if now.state != last_state or time.monotonic() - last_time > _QUIET_SECONDS:
            last_state, last_time = now.state, time.monotonic()
            say(f"  {now.state.lower()}{': ' + now.progress if now.progress else ''}")

    return show


def _introduce(running: "Up", names: "Sequence[str]", ended: "Ended | None", *, as_json: bool) -> None:
    """Print where everything is, and a line to paste."""
    from catalog.access.store import ADMINISTRATOR, password_file
    from flows.runs.pull_command import registry_url

    plan = running.plan
    name, line = _pull_line(plan.settings, names) if names else ("", None)
    if as_json:
        print_json(
            {
                "registry": registry_url(plan.settings),
                "prefect_ui": plan.ui_url,
                "prefect_login_file": str(plan.settings.prefect_login_file) if plan.prefect_port else None,
                "password_file": str(kept) if (kept := password_file(plan.settings)).exists() else None,
                "repository": name or None,
                "flow_run": _flow_run_json(running, ended) if ended else None,
                "pull": line,
            }
        )
        sys.stdout.flush()
        return
    if ended is not None and not ended.is_completed:
        say(f"error: the flow run ended as {ended.state}: {ended.message}")
    fields: dict[str, Cell] = {
        "Registry": registry_url(plan.settings),
        "Prefect UI": plan.ui_url,
        "Prefect login": running.prefect_login_text(),
        "Administrator": f"{ADMINISTRATOR}, password {running.password_text()}",
    }
    if ended is not None:
        fields |= {"Flow run": running.flow_run_url(ended.id)}
    print_line("")
    print_fields(fields)
    if ended is not None:
        print_line(f"\n{ended.message}")
    if line:
        print_line(f"\n{line}\n")
    print_line("Serving until Ctrl-C.")
    sys.stdout.flush()


def _flow_run_json(running: "Up", ended: "Ended") -> dict[str, object]:
    return {
        "id": ended.id,
        "url": running.flow_run_url(ended.id),
        "state": ended.state,
        "completed": ended.is_completed,
        "message": ended.message,
    }


def _pull_line(settings: "Settings", names: "Sequence[str]") -> "tuple[str, str | None]":
    """Return the first repository that podman can pull something from, and the line to paste; None without one."""
    from catalog.catalog import open_catalog
    from flows.runs.pull_command import pick_tag, pull_line

    with open_catalog(settings) as catalog:
        for name in names:
            snapshot = catalog.snapshots.find(name)
            tag = pick_tag(snapshot) if snapshot else None
            if tag:
                return name, pull_line(settings, name, tag)
    return names[-1], None

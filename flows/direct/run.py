"""One flow run of a command: begun, shown, recorded and ended, all in this process."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from catalog.settings import Settings
from flows.direct.home_slots import HomeSlots
from flows.engine.current import DirectRun, within_run
from flows.engine.endings import FlowEnd, ResultT
from flows.engine.flows import FormFlow, FormT
from flows.engine.record import RecordedState
from flows.forms.run_tags import run_tags
from flows.forms.written_fields import name_run, written_fields
from flows.recovery.run_locks import TAG, forget_run, hold_run, locks_folder
from flows.runs.progress import Progress, watched
from oci.traces.spans import traced

if TYPE_CHECKING:
    from catalog.prefect.address import PrefectAddress
    from flows.direct.server_record import ServerRecord

_T = TypeVar("_T")

Show = Callable[[Progress], Coroutine[None, None, None]]
"""Shows a progress until it is cancelled."""

INTERRUPTED_SECONDS = 2.0
"""How long a command that is interrupted goes on telling Prefect."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """What people see of a run: `say` writes one line, `show` a progress; with `debug` they see its log."""

    say: Callable[[str], None]
    show: Show | None = None
    debug: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    @property
    def handlers(self) -> tuple[logging.Handler, ...]:
        """Return where the log goes besides the record."""
        if not self.debug:
            return ()
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s | %(levelname)-7s | %(message)s", "%H:%M:%S"))
        return (handler,)


async def run_directly(
    flow: FormFlow[FormT, ResultT],
    request: FormT,
    *,
    settings: Settings,
    api: "PrefectAddress | None",
    terminal: Terminal,
) -> ResultT:
    """Run a flow in this process; return its result, raise what it raises.

    A Prefect server is handed the record. Where it does not take the begin of the run, nothing is done: raise PrefectLost or
    LocalError. Where it goes away later, the run goes on, and the terminal is told that its record is incomplete.
    """
    progress = Progress(on_word=terminal.say)
    async with AsyncExitStack() as stack:
        if api is None:
            run = DirectRun(HomeSlots.of(settings), handlers=terminal.handlers)
            return (await _shown(_body(flow, request, run, progress), progress, terminal.show)).data
        record = await _begin(stack, flow, request, settings, api, terminal)
        run = _recorded(record, terminal)
        url = run_url(api, record.flow_run_id, terminal.environment)
        terminal.say(f"flow run {url or record.flow_run_id}")
        locks = locks_folder(settings)
        hold_run(locks, record.flow_run_id)
        ending = await _end_of(_shown(_body(flow, request, run, progress), progress, terminal.show))
        is_interrupted = not isinstance(ending, FlowEnd | Exception)
        await record.close(_state_of(ending), INTERRUPTED_SECONDS if is_interrupted else settings.prefect_timeout)
        if not record.fault:  # else a reaper ends the run that the server believes to go on
            forget_run(locks, record.flow_run_id)
        if record.fault and not is_interrupted:
            terminal.say(f"note: Prefect's record of this run is incomplete: {record.fault}")
        if isinstance(ending, FlowEnd):
            return ending.data
        if url and not is_interrupted and not record.fault:
            terminal.say(f"its log: {url}")
        raise ending


async def _begin(
    stack: AsyncExitStack,
    flow: FormFlow[FormT, Any],
    request: FormT,
    settings: Settings,
    api: "PrefectAddress",
    terminal: Terminal,
) -> "ServerRecord":
    from flows.direct.api_client import ApiClient
    from flows.direct.server_record import begin_record

    client = await stack.enter_async_context(ApiClient(settings, api, terminal.environment))
    fields = written_fields(request)
    name = name_run(flow.run_name, type(request), fields) if flow.run_name else ""
    return await begin_record(client, flow.name, name, fields, (TAG, *run_tags(fields)))


def _recorded(record: "ServerRecord", terminal: Terminal) -> DirectRun:
    from flows.direct.server_slots import ServerSlots

    return DirectRun(ServerSlots(record.client, record.flow_run_id), record, terminal.handlers)


async def _body(flow: FormFlow[FormT, ResultT], request: FormT, run: DirectRun, progress: Progress) -> FlowEnd[ResultT]:
    """Run the function of a flow within its run."""
    watched.set(progress)
    told = {"entrepot.flow_run": run.record.flow_run_id} if run.record.flow_run_id else {}
    with within_run(run), traced(f"flow {flow.name}", attributes=told, is_current=True):
        return await flow.body(request)


async def _shown(work: Coroutine[Any, Any, _T], progress: Progress, show: Show | None) -> _T:
    """Do the work in a context of its own, while its progress is shown."""
    shown = asyncio.create_task(show(progress)) if show else None
    try:
        return await asyncio.create_task(work)
    finally:
        if shown is not None:
            shown.cancel()
            await asyncio.gather(shown, return_exceptions=True)


async def _end_of(work: Coroutine[Any, Any, FlowEnd[ResultT]]) -> FlowEnd[ResultT] | BaseException:
    """Return how work has ended."""
    try:
        return await work
    except BaseException as error:  # noqa: BLE001  # the caller raises it again, once it has told of it
        return error


def _state_of(ending: FlowEnd[Any] | BaseException) -> RecordedState:
    if isinstance(ending, FlowEnd):
        return RecordedState("COMPLETED", ending.message)
    if isinstance(ending, Exception):
        return RecordedState("FAILED", f"Flow run encountered an exception: {type(ending).__name__}: {ending}")
    return RecordedState("CRASHED", "The command was interrupted; what was done until then is kept.")


def run_url(api: "PrefectAddress", run_id: str, environment: Mapping[str, str]) -> str:
    """Return where people see a run; empty where that cannot be told from the API's address."""
    ui = environment.get("PREFECT_UI_URL", "").rstrip("/")
    if not ui and api.url.endswith("/api"):
        ui = api.url.removesuffix("/api")
    return f"{ui}/runs/flow-run/{run_id}" if ui else ""

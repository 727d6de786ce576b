"""The flow runs of chunks, at Prefect's API: started, found again, read, and given up."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import get_client
from prefect.client.schemas.objects import State
from prefect.deployments import arun_deployment
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Crashed

from catalog.prefect.run_parameters import flat_parameters
from flows.recovery.orphans import MAX_ATTEMPTS
from flows.sync.request import SyncRequest
from flows.sync_many.chunk_watch import read_state
from flows.sync_many.report import RepositoryOutcome
from flows.sync_many.request import SyncChunkRequest
from flows.sync_many.slots import CHUNK_DEPLOYMENT

CHUNK_TABLE = "sync-chunk"
"""What the key of the table begins with by which a chunk tells its outcomes."""
TAKEN_OVER = "TakenOver"
"""Name of the state of a run whose chunk the run that has started it did itself."""
_PAGE = 200
_WORKING = ("PENDING", "RUNNING", "CANCELLING")
_ENDED = ("COMPLETED", "CANCELLED")
_BROKEN = ("CRASHED", "FAILED")


@dataclass(frozen=True, slots=True)
class ChunkRun:
    """One flow run of a chunk, as Prefect has it: its state, since when, and how often its process was started."""

    id: str
    name: str
    state: str
    state_name: str
    message: str
    since: datetime
    attempts: int
    number: int
    syncs: tuple[SyncRequest, ...]

    @property
    def targets(self) -> list[str]:
        """Return the repositories of its chunk."""
        return [one.target for one in self.syncs]

    @property
    def is_working(self) -> bool:
        """Return whether a worker has it."""
        return self.state in _WORKING

    @property
    def has_ended(self) -> bool:
        """Return whether it has come to its end. One that is broken may be started again."""
        return self.state in _ENDED

    @property
    def is_broken(self) -> bool:
        """Return whether its process has ended without doing its chunk; repositories that fail are no reason for that."""
        return self.state in _BROKEN

    @property
    def is_given_up(self) -> bool:
        """Return whether it is started no more: what kills a worker's process, or fails there, would do so here."""
        return self.is_broken and self.attempts >= MAX_ATTEMPTS

    @property
    def is_taken_over(self) -> bool:
        """Return whether its chunk was to be done elsewhere."""
        return self.state_name == TAKEN_OVER


@dataclass(frozen=True, slots=True)
class Beat:
    """The progress that a run has shown last: when, by the clock of Prefect's server, and how far, 0 to 100."""

    updated: str
    percent: float


def read_run(found: Mapping[str, Any], syncs: tuple[SyncRequest, ...]) -> ChunkRun:
    """Read a flow run of Prefect's API, whose parameters are read already."""
    state = found.get("state") or {}
    return ChunkRun(
        id=str(found["id"]),
        name=str(found["name"]),
        state=str(state.get("type") or "SCHEDULED"),
        state_name=str(state.get("name") or ""),
        message=str(state.get("message") or ""),
        since=datetime.fromisoformat(str(state.get("timestamp") or found["created"])),
        attempts=int(found.get("run_count") or 0),
        number=int(flat_parameters(found["parameters"]).get("number", 1)),
        syncs=syncs,
    )


class ChunkRuns:
    """The chunk runs of one run, by its id."""

    def __init__(self, parent: str) -> None:
        self._parent = parent
        self._syncs: dict[str, tuple[SyncRequest, ...]] = {}

    async def find(self) -> list[ChunkRun]:
        """Return all, by their numbers."""
        which = {"parent_flow_run_id": {"any_": [self._parent]}, "tags": {"all_": ["entrepot"]}}
        found = await self._pages("/flow_runs/filter", {"flow_runs": which, "sort": "ID_DESC"})
        chunks = [one for one in found if one.get("deployment_id")]
        runs = [read_run(one, self._syncs_of(one)) for one in chunks]
        return sorted(runs, key=lambda run: (run.number, run.id))

    def _syncs_of(self, found: Mapping[str, Any]) -> tuple[SyncRequest, ...]:
        """Return the syncs of a run, which are read once."""
        run_id = str(found["id"])
        if run_id not in self._syncs:
            self._syncs[run_id] = SyncChunkRequest.model_validate(flat_parameters(found["parameters"])).syncs
        return self._syncs[run_id]

    async def start(self, request: SyncChunkRequest, key: str) -> None:
        """Start a run; one that was started with this key is the same."""
        await arun_deployment(
            CHUNK_DEPLOYMENT,
            parameters=request.model_dump(mode="json", exclude_unset=True),
            idempotency_key=key,
            timeout=0,
            tags=["entrepot"],
        )

    async def read_beats(self, runs: Iterable[ChunkRun]) -> dict[str, Beat]:
        """Return the last beat of each run that has shown one."""
        ids = [run.id for run in runs]
        if not ids:
            return {}
        which = {"flow_run_id": {"any_": ids}, "type": {"any_": ["progress"]}}
        found = await self._pages("/artifacts/filter", {"artifacts": which, "sort": "ID_DESC"})
        beats = [(str(one["flow_run_id"]), Beat(str(one["updated"]), float(one.get("data") or 0))) for one in found]
        return dict(sorted(beats, key=lambda beat: beat[1].updated))

    async def read_outcomes(self, runs: Iterable[ChunkRun]) -> dict[str, RepositoryOutcome]:
        """Return what the tables of runs say of repositories; the newest of each run counts."""
        ids = [run.id for run in runs]
        if not ids:
            return {}
        which = {"flow_run_id": {"any_": ids}, "type": {"any_": ["table"]}}
        tables = await self._pages("/artifacts/filter", {"artifacts": which, "sort": "CREATED_DESC"})
        outcomes: dict[str, RepositoryOutcome] = {}
        for table in reversed([one for one in tables if str(one.get("key")).startswith(f"{CHUNK_TABLE}-")]):
            outcomes |= {one.repository: one for one in read_table(table.get("data"))}
        return outcomes

    async def take_over(self, run: ChunkRun) -> None:
        """Let nobody begin a run that nobody works on; should one begin all the same, the same versions are made once."""
        await self._set(
            run.id, Cancelled(name=TAKEN_OVER, message="no worker did this chunk; the run that started it does")
        )

    async def start_again(self, run: ChunkRun, *, after: timedelta) -> bool:
        """Have a worker start a run again whose process is dead; return False where its state is another one by now."""
        text = f"the process of attempt {max(run.attempts, 1)} ended before its chunk was done"
        if run.state == "CANCELLING":
            return await self._replace(run, Cancelled(message=text))
        crashed: State[Any] = Crashed(message=text)
        if run.attempts >= MAX_ATTEMPTS:
            return await self._replace(run, crashed)
        if not run.is_broken and not await self._replace(run, crashed):
            return False
        await self._set(
            run.id, AwaitingRetry(scheduled_time=datetime.now(UTC) + after, message=f"{text}; it is started again")
        )
        return True

    async def _replace(self, run: ChunkRun, state: Any) -> bool:
        """Give a run a state unless it has got another since it was read."""
        now = await read_state(run.id)
        if now is None or now.since != run.since:
            return False
        await self._set(run.id, state)
        return True

    async def cancel(self, runs: Iterable[ChunkRun]) -> None:
        """End runs whose result nobody waits for any longer."""
        for run in runs:
            if not run.has_ended and not run.is_given_up:
                message = "the run that this chunk belongs to was ended"
                await self._set(run.id, Cancelling(message=message) if run.is_working else Cancelled(message=message))

    async def _set(self, run_id: str, state: Any) -> None:
        async with get_client() as client:
            await client.set_flow_run_state(run_id, state, force=True)

    async def _pages(self, path: str, wanted: Mapping[str, object]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with get_client() as client:
            while True:
                body = {**wanted, "limit": _PAGE, "offset": len(found)}
                page = (await client.request("POST", path, json=body)).json()  # type: ignore[arg-type]  # an enumeration
                found += page
                if len(page) < _PAGE:
                    return found


def read_table(data: object) -> Sequence[RepositoryOutcome]:
    """Read the table by which a chunk tells its outcomes."""
    rows = json.loads(data) if isinstance(data, str) else data
    return [RepositoryOutcome.from_json(row) for row in rows] if isinstance(rows, list) else []

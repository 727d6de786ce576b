"""Slots: how many flow runs do something at a time, over all processes; who counts them is the run's choice."""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

DEFAULT_LIMIT = 4
"""Slots of a limit that is made here; operators change it in Prefect, and it stays as they leave it."""

LEASE = 60.0
"""Seconds after which the slot of a killed process is free again; the shortest that Prefect allows."""

ASK_AGAIN = 5.0
"""Seconds before a server that failed is asked for a slot again; its client has tried for longer before."""

_MAX_NAMED = 5

Ask = Callable[[str, str, Mapping[str, object] | None], Awaitable[Any]]
"""Sends a request to Prefect's API (method, path, body), and returns the document that it answers."""


class SlotTimeout(Exception):  # a fact that the caller turns into an error that says what was waited for
    """No slot came free in time."""


class RunSlots(Protocol):
    """Gives out slots of limits, each of which is made with DEFAULT_LIMIT slots where there is none."""

    def hold(self, limit: str, patience: float) -> AbstractAsyncContextManager[None]:
        """Hold one slot while the context is open; raise SlotTimeout after `patience` seconds of waiting."""
        ...

    async def describe(self, limit: str, registry: str) -> str:
        """Return who holds the slots of a registry's limit, as `4 of 4 are taken; …`; raise LookupError where nobody says."""
        ...


async def tell_holders(ask: Ask, limit: str, registry: str, *, own: str) -> str:
    """Ask Prefect who holds the slots of a registry's limit, besides the run `own`."""
    found = await ask("GET", f"/v2/concurrency_limits/{limit}", None)
    wanted = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "CANCELLING"]}}}, "limit": 200}
    runs = await ask("POST", "/flow_runs/filter", wanted)
    holders = [run["name"] for run in runs if _talks_to(run, registry) and run["id"] != own]
    more = f" and {len(holders) - _MAX_NAMED} more" if len(holders) > _MAX_NAMED else ""
    by = (
        f"runs with {registry}: {', '.join(holders[:_MAX_NAMED])}{more}"
        if holders
        else "no run that is under way is known"
    )
    return f"{found['active_slots']} of {found['limit']} are taken; {by}"


def _talks_to(run: Mapping[str, Any], registry: str) -> bool:
    """Return whether a run's parameters name a registry."""
    text = json.dumps(run.get("parameters"))
    return f'"{registry}/' in text or f'"{registry}"' in text

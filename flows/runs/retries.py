"""How a task that talks to an upstream is tried again."""

from collections.abc import Mapping
from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff

from oci.errors import EntrepotError

RETRIES = 2
"""How often a task is tried again; each request to upstream has its own tries below that."""


def is_retryable(_task: "Task[..., Any]", _run: TaskRun, state: "State[Any]") -> bool:
    """Return whether what a task failed with says that trying again may mend it."""
    return isinstance(state.data, EntrepotError) and state.data.retryable


RETRIED: Mapping[str, Any] = {
    "retries": RETRIES,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_retryable,
    "cache_policy": NO_CACHE,
}
"""Options of a task that talks to an upstream."""

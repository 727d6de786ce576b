"""How a task that talks to an upstream is tried again, whoever runs it."""

import random

from oci.errors import EntrepotError

RETRIES = 2
"""How often a task is tried again; each request to upstream has its own tries below that."""

BACKOFF_SECONDS = 2
"""The pause before the second try; it doubles with each."""

JITTER = 0.5
"""How much longer a pause may be than planned, as a share of it; and as much shorter."""


def is_worth_a_retry(error: object) -> bool:
    """Return whether what a task failed with says that trying again may mend it."""
    return isinstance(error, EntrepotError) and error.retryable


def task_retry_pause(failures: int) -> float:
    """Return the seconds before another try after so many failures, the first of which counts 1; at random, within JITTER."""
    planned = BACKOFF_SECONDS * 2.0 ** (failures - 1)
    return random.uniform(planned / (1 + JITTER), planned * (1 + JITTER))  # noqa: S311  # no secret

"""Prefect's own answer to SIGTERM, for those that import no Prefect."""

from prefect.exceptions import TerminationSignal

__all__ = ["TerminationSignal"]

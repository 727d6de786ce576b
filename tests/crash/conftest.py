"""Processes that tests kill."""

from multiprocessing.context import ForkServerContext

import pytest

from tests.crash.killing import fork_server


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Starts functions in processes that have all imported."""
    return fork_server(["tests.crash.syncing", "tests.crash.acts"])

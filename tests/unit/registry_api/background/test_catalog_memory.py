"""The catalogue is asked to give back memory again and again, whatever one time said."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import duckdb
import pytest

from oci.errors import CatalogUnavailable
from registry_api.background import catalog_memory
from registry_api.context import Registry


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class _Registry:
    """A registry whose catalogue fails at first; `asked_twice` is set with the second time."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure
        self.catalog, self.threads, self.asked_twice, self._asked = self, self, asyncio.Event(), 0

    async def run(self, step: Callable[[], Any]) -> Any:
        return step()

    def give_back_memory(self) -> bool:
        self._asked += 1
        if self._asked == 1:
            raise self._failure
        self.asked_twice.set()
        return True


@pytest.mark.anyio
@pytest.mark.parametrize("failure", [CatalogUnavailable("no answer"), duckdb.OutOfMemoryException("no answer")])
async def test_a_failure_does_not_end_it(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(catalog_memory, "_EVERY", 0.001)
    registry = _Registry(failure)
    task = asyncio.create_task(catalog_memory.give_back_memory(cast("Registry", registry)))
    async with asyncio.timeout(30):
        await registry.asked_twice.wait()
    task.cancel()
    assert "giving back memory of the catalogue failed error=no answer" in caplog.text

"""The question for the newest snapshot, which one thread asks for all that wait."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from catalog.lake.metadata.position import Confirmer, SnapshotPosition
from oci.errors import CatalogUnusable
from tests.servers import wait_until


@pytest.mark.parametrize("error", [CatalogUnusable("wrong password"), ValueError("anything")])
def test_who_waits_for_a_question_that_failed_is_not_told_that_all_is_known(error: Exception) -> None:
    asked, may_fail = [0], threading.Event()

    def ask() -> int:
        asked[0] += 1
        if asked[0] > 1:
            may_fail.wait(10)
            raise error
        may_fail.wait(10)
        return 1

    confirmer = Confirmer(ask, SnapshotPosition())
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(confirmer.confirm)
        wait_until(lambda: asked[0] == 1, 10, "the first asks")
        waiting = [threads.submit(confirmer.confirm) for _ in range(2)]  # one asks for both
        may_fail.set()
        first.result(10)
        failures = [one.exception(10) for one in waiting]
    assert all(failures), failures

"""The question for the newest snapshot, which one thread asks for all that wait."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from catalog.lake.metadata.position import Confirmer, SnapshotPosition
from oci.errors import CatalogUnusable, CatalogWentBack
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

    confirmer = Confirmer(ask)
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(confirmer.confirm)
        wait_until(lambda: asked[0] == 1, 10, "the first asks")
        waiting = [threads.submit(confirmer.confirm) for _ in range(2)]  # one asks for both
        may_fail.set()
        first.result(10)
        failures = [one.exception(10) for one in waiting]
    assert all(failures), failures


def test_a_database_that_went_back_is_not_believed_and_one_that_was_notified_too_much_is() -> None:
    position = SnapshotPosition()
    position.learn(7, position.certain, "here")
    position.believe(900)  # whoever may connect may notify
    position.learn(8, position.certain, "here")
    assert (position.value, position.certain) == (1800, 8)
    with pytest.raises(CatalogWentBack, match="here went back from snapshot 8 to 5"):
        position.learn(5, position.certain, "here")
    with pytest.raises(CatalogWentBack, match="from snapshot 8 to 5"):
        position.learn(9, position.certain, "here")  # of others: it is not what was known as 9 before
    assert position.certain == 8


def test_an_answer_that_a_commit_of_ours_overtakes_is_no_way_back() -> None:
    position = SnapshotPosition()
    known = position.certain
    position.advance(3)  # committed while the question was on its way
    position.learn(2, known, "here")
    assert position.certain == 3

"""The trust configuration that a process keeps: looked at by requests, read by threads."""

import threading

import pytest

from catalog.policy import trust_roots
from catalog.policy.trust_roots import TrustCache
from oci.errors import EntrepotError
from oci.signing.keys import KeyInvalid


def test_who_looks_at_the_configuration_does_not_wait_for_who_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read may ask a server for long; requests look on the event loop."""
    monkeypatch.setattr(trust_roots, "_LOOKED", 0.0)
    reading, go_on, looked, stamps = threading.Event(), threading.Event(), threading.Event(), [1]

    def read() -> object:
        reading.set()
        assert go_on.wait(20)
        raise KeyInvalid("there is none")

    trust = TrustCache(read, stamp=lambda: stamps[0])  # type: ignore[arg-type]  # it returns nothing

    def ask() -> None:
        with pytest.raises(EntrepotError):
            trust()

    def look() -> None:
        stamps[0] = 2
        assert trust.generation == 1
        looked.set()

    threads = [threading.Thread(target=ask), threading.Thread(target=look)]
    threads[0].start()
    assert reading.wait(20)
    threads[1].start()
    try:
        assert looked.wait(5)
    finally:
        go_on.set()
        for thread in threads:
            thread.join(20)
    reading.clear()
    ask()  # what was read is of the former configuration
    assert reading.is_set()

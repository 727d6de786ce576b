"""A bound on the time of what another machine or library answers: past it, the caller goes on, with an error."""

import threading
from collections.abc import Callable
from typing import TypeVar

from oci.signing.keys import SignerFailed

_T = TypeVar("_T")


def run_within(seconds: float, what: str, function: Callable[[], _T]) -> _T:
    """Return what the function returns; raise what it raises, or SignerFailed when it has not ended in time.

    It runs on a thread that no exit waits for, since clients of key services, and libraries of tokens, cannot be interrupted.
    """
    outcome: list[_T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001  # raised again by the caller
            failure.append(error)

    thread = threading.Thread(target=run, name="signer", daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not outcome:
        raise SignerFailed(f"the signer {what} did not answer within {seconds:g} s (ENTREPOT_SIGNER_TIMEOUT)")
    return outcome[0]

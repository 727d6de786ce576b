"""A signer outside of this process: it ends in time, and what it makes is not believed unseen."""

import threading
import time

import pytest

from oci.signing.deadlines import run_within
from oci.signing.keys import KeyInvalid, SignerFailed
from oci.signing.signers.outside import OutsideSigner
from tests.unit.oci.signing.signers.keys import signer_of


def test_one_that_hangs_ends_in_time_and_is_asked_no_more() -> None:
    held, calls = threading.Event(), list[bytes]()

    def hang(data: bytes) -> bytes:
        calls.append(data)
        held.wait(20)
        return b""

    signer = OutsideSigner("awskms:///k", signer_of("p256").key.public_key(), hang, timeout=0.05)
    started = time.monotonic()
    for _ in range(1000):
        with pytest.raises(SignerFailed, match=r"awskms:///k did not answer within 0.05 s"):
            signer.sign(b"data")
    held.set()
    assert len(calls) == 1
    assert time.monotonic() - started < 5


def test_a_signature_by_another_key_is_refused() -> None:
    signer = OutsideSigner("exec:/s", signer_of("p256").key.public_key(), signer_of("p384").sign, timeout=5)
    with pytest.raises(SignerFailed, match="its public key does not verify"):
        signer.sign(b"data")
    good = OutsideSigner("exec:/s", signer_of("p384").key.public_key(), signer_of("p384").sign, timeout=5)
    assert good.verifier.verifies(good.sign(b"data"), b"data")


def test_the_reason_is_told_on_one_line() -> None:
    def fail(_: bytes) -> bytes:
        raise ConnectionError("no\nroute " + "x" * 1000)

    signer = OutsideSigner("awskms:///k", signer_of("p256").key.public_key(), fail, timeout=5)
    with pytest.raises(SignerFailed, match="failed: ConnectionError: no route x") as caught:
        signer.sign(b"data")
    assert len(str(caught.value)) < 400


def test_errors_of_ours_come_through() -> None:
    def fail() -> None:
        raise KeyInvalid("mine")

    with pytest.raises(KeyInvalid, match="mine"):
        run_within(5, "x", fail)
    assert run_within(5, "x", lambda: None) is None

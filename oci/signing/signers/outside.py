"""A signer outside of this process: bounded in time, and its signatures checked before they are used."""

from collections.abc import Callable

from oci.signing.deadlines import run_within
from oci.signing.keys import KeyInvalid, PublicKey, Signer, SignerFailed, Verifier

_LONGEST_REASON = 300


class OutsideSigner(Signer):
    """Signs by a function that asks a key service, a token or a command.

    Once it has not answered in time it is asked no more: a run with 1,000 images ends after one wait.
    """

    def __init__(self, name: str, key: PublicKey, sign: Callable[[bytes], bytes], *, timeout: float) -> None:
        self._name, self._verifier, self._sign, self._timeout = name, Verifier(key), sign, timeout
        self._failed: SignerFailed | None = None

    @property
    def verifier(self) -> Verifier:
        """Return the public half, as the signer stated it."""
        return self._verifier

    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data`; raise SignerFailed when it is not by this key, or does not come."""
        if self._failed is not None:
            raise self._failed
        try:
            signature = asked(self._name, self._timeout, lambda: self._sign(data))
        except SignerFailed as error:
            self._failed = error
            raise
        if not self._verifier.verifies(signature, data):
            raise SignerFailed(f"the signer {self._name} made a signature that its public key does not verify")
        return signature


def asked(name: str, timeout: float, function: Callable[[], bytes]) -> bytes:
    """Return what an outside signer answers; raise SignerFailed with its reason."""
    try:
        return run_within(timeout, name, function)
    except (KeyInvalid, SignerFailed):
        raise
    except Exception as error:
        # Each client has errors of its own; what they say is the reason, and none repeats a credential.
        raise SignerFailed(f"the signer {name} failed: {reason_of(error)}") from error


def reason_of(error: BaseException) -> str:
    """Return what an error of a client says, on one line, shortened."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:_LONGEST_REASON]}" if text else type(error).__name__

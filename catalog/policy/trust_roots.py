"""The trust configuration of an installation: which certificates and logs are believed; read once, then kept for a while."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from catalog.settings import Settings
from oci.errors import EntrepotError

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig

    from oci.signing.certified import CertifiedVerifier

_KEPT, _RETRIED = 24 * 3600.0, 30.0
"""Seconds that a trust configuration is kept, and after which one that could not be had is asked for again."""
_LOOKED = 2.0
"""Seconds between two looks at the file of a trust configuration."""


def read_trust_config(settings: Settings) -> "ClientTrustConfig":
    """Read the file of ENTREPOT_SIGSTORE_TRUST_CONFIG, without one the public sigstore's, over the network.

    Raises KeyInvalid, RemoteError.
    """
    from oci.signing.keyless import load_trust
    from oci.signing.keys import KeyInvalid

    own = settings.sigstore_trust_config
    if own is None:
        return load_trust(None, where="the public sigstore")
    try:
        return load_trust(own.expanduser().read_text(), where=str(own))
    except (OSError, UnicodeDecodeError) as error:
        raise KeyInvalid(f"the trust configuration {own} cannot be read: {type(error).__name__}") from None


def read_local_trust(settings: Settings) -> "ClientTrustConfig":
    """Read the file of ENTREPOT_SIGSTORE_TRUST_CONFIG, and nothing over the network; raise KeyInvalid."""
    from oci.signing.keys import KeyInvalid

    if settings.sigstore_trust_config is None:
        raise KeyInvalid(
            "certificates cannot be verified without a network: set ENTREPOT_SIGSTORE_TRUST_CONFIG to a trust configuration"
        )
    return read_trust_config(settings)


def trust_stamp(settings: Settings) -> tuple[int, int, int] | None:
    """Return what changes with the file of ENTREPOT_SIGSTORE_TRUST_CONFIG; None without one, or where it cannot be read."""
    try:
        found = settings.sigstore_trust_config and settings.sigstore_trust_config.expanduser().stat()
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None


class TrustCache:
    """Keeps what was read; a failure is kept for a moment too, so that each request does not wait for it. From any thread.

    `stamp` returns what changes with the configuration: it is read again then.
    """

    def __init__(
        self,
        read: "Callable[[], ClientTrustConfig]",
        *,
        stamp: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._stamp, self._clock = read, stamp, clock
        self._guard, self._looking = threading.Lock(), threading.Lock()
        self._until, self._look_again = 0.0, clock() + _LOOKED
        self._stamped, self._generation, self._read_at = stamp(), 0, 0
        self._found: CertifiedVerifier | EntrepotError | None = None

    @property
    def generation(self) -> int:
        """Return a number that another configuration changes: decisions by an earlier one count no more.

        It waits for no read that is under way, so use it on an event loop.
        """
        if self._clock() >= self._look_again:
            with self._looking:
                self._look_again = self._clock() + _LOOKED
                stamped = self._stamp()
                if stamped != self._stamped:
                    self._stamped = stamped
                    self._generation += 1
        return self._generation

    def __call__(self) -> "CertifiedVerifier":
        """Return what verifies certificates; raise KeyInvalid, RemoteError."""
        with self._guard:
            generation = self.generation
            if self._found is None or self._clock() >= self._until or self._read_at != generation:
                self._found, self._read_at = self._try(), generation
                self._until = self._clock() + (_RETRIED if isinstance(self._found, EntrepotError) else _KEPT)
            if isinstance(self._found, EntrepotError):
                raise self._found
            return self._found

    def _try(self) -> "CertifiedVerifier | EntrepotError":
        from oci.signing.certified import CertifiedVerifier
        from oci.signing.keys import KeyInvalid

        try:
            return CertifiedVerifier(self._read())
        except EntrepotError as error:
            return error
        except Exception as error:  # noqa: BLE001  # roots that the library cannot use, in whatever way it says so
            return KeyInvalid(f"the trust configuration cannot be used: {str(error)[:200]}")

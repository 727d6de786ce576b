"""Signing with a key of gpg's own keyring, by its agent: smart cards and passphrases are the agent's matter.

gpg must sign whole messages, as containers/image reads them; securesystemslib's client of gpg makes bare signatures.
"""

import os
import shutil
from collections.abc import Mapping

from oci.digest import Digest
from oci.signing.atomic import AtomicSignature
from oci.signing.keys import KeyInvalid, SignerFailed
from oci.signing.pgp_keys import AtomicSigner, load_pgp_verifier
from oci.signing.signers.addresses import SignerAddress
from oci.signing.signers.commands import run_bounded

_LONGEST_KEY = 4 * 1024 * 1024
_KNOWN = ("PATH", "HOME", "GNUPGHOME", "LANG", "LC_ALL", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK", "GPG_TTY", "DISPLAY")


class GnupgSigner(AtomicSigner):
    """Signs by gpg's agent; `password` opens the key, where the agent does not know how."""

    def __init__(
        self, address: SignerAddress, password: str | None, environ: Mapping[str, str], *, timeout: float
    ) -> None:
        found = shutil.which("gpg", path=environ.get("PATH"))
        if found is None:
            raise KeyInvalid(f"the signer {address} needs gpg, which is not installed")
        self._gpg, self._address, self._password, self._timeout = found, address, password, timeout
        self._environ = {name: environ[name] for name in _KNOWN if name in environ}
        exported = self._run("--export", "--export-options", "export-minimal", address.name)
        if not exported:
            raise KeyInvalid(f"gpg has no key {address.name}, which the signer {address} names")
        self.verifier = load_pgp_verifier(exported, where=f"what gpg exports of {address}")
        self._failed: SignerFailed | None = None

    def seal(self, payload: bytes) -> bytes:
        """Return a signed message, binary; raise SignerFailed. After a failure gpg is asked no more."""
        if self._failed is not None:
            raise self._failed
        try:
            return self._run("--local-user", self._address.name, "--sign", data=payload)
        except SignerFailed as error:
            self._failed = error
            raise

    def sign(self, digest: Digest, reference: str, *, name: str, timestamp: int) -> AtomicSignature:
        """Sign that `reference` is the manifest of that digest; raise SignerFailed for what the key does not verify."""
        made = super().sign(digest, reference, name=name, timestamp=timestamp)
        if self.verifier.reference_of(made, digest) != reference:
            raise SignerFailed(f"the signer {self._address} made a signature that its public key does not verify")
        return made

    def _run(self, *arguments: str, data: bytes = b"") -> bytes:
        options = ["--batch", "--no-tty", "--quiet", "--no-armor"]
        reading, descriptors = -1, tuple[int, ...]()
        if self._password is not None and "--sign" in arguments:
            reading, writing = os.pipe()
            os.write(writing, self._password.encode()[:4096] + b"\n")
            os.close(writing)
            options += ["--pinentry-mode", "loopback", "--passphrase-fd", str(reading)]
            descriptors = (reading,)
        try:
            return run_bounded(
                [self._gpg, *options, *arguments],
                data,
                self._environ,
                what=f"the signer {self._address}",
                timeout=self._timeout,
                limit=_LONGEST_KEY,
                descriptors=descriptors,
            )
        finally:
            if reading >= 0:
                os.close(reading)

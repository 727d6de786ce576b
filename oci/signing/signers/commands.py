"""Signing by a command of the operator's: no shell, an absolute path, bounded time and output.

It is called as `COMMAND public-key`, which writes the public key in PEM, and as `COMMAND sign`, which reads what is to be
signed and writes the bare signature. What it writes on standard error is the reason when its exit code is not 0.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from oci.signing.keys import KeyInvalid, Signer, SignerFailed, load_verifier
from oci.signing.signers.addresses import SignerAddress
from oci.signing.signers.outside import OutsideSigner

_LONGEST_OUTPUT = 64 * 1024
_LONGEST_REASON = 2000
_OURS = ("ENTREPOT_", "PREFECT_", "COSIGN_PASSWORD", "SIGSTORE_ID_TOKEN")
"""Variables that the command is not given: they hold passwords of ours."""


def open_command(address: SignerAddress, environ: Mapping[str, str], *, timeout: float) -> Signer:
    """Ask a command for its public key, and return its signer; raise KeyInvalid, SignerFailed."""
    path = Path(address.name)
    if not path.is_file() or not os.access(path, os.X_OK):
        raise KeyInvalid(f"invalid signer {address}: there is no command at this path")
    given = {name: value for name, value in environ.items() if not name.startswith(_OURS)}

    def run(verb: str, data: bytes) -> bytes:
        return run_bounded([str(path), verb], data, given, what=f"the signer {address}", timeout=timeout)

    key = load_verifier(run("public-key", b""), where=f"what {address} public-key writes").key
    # The command ends itself in time; what waits for it waits a little longer.
    return OutsideSigner(str(address), key, lambda data: run("sign", data), timeout=timeout + 5)


def run_bounded(
    arguments: Sequence[str],
    data: bytes,
    environ: Mapping[str, str],
    *,
    what: str,
    timeout: float,
    limit: int = _LONGEST_OUTPUT,
    descriptors: Sequence[int] = (),
) -> bytes:
    """Run a program without a shell, with `data` on its standard input, and return what it writes; raise SignerFailed.

    After `timeout` seconds, or `limit` bytes of output, it is killed, with what it has started.
    """
    with tempfile.TemporaryFile() as given:
        given.write(data)
        given.seek(0)
        try:
            process = subprocess.Popen(  # noqa: S603  # an absolute path of the operator's, or gpg's
                arguments, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(environ), cwd="/",
                start_new_session=True, pass_fds=descriptors,
            )  # fmt: skip
        except OSError as error:
            raise SignerFailed(f"{what} cannot be started: {error.strerror}") from None
        with process:
            try:
                out, said, is_done = _read(process, limit, time.monotonic() + timeout)
            finally:
                _kill(process)
    if len(out) > limit:
        raise SignerFailed(f"{what} wrote more than {limit} bytes")
    if not is_done:
        raise SignerFailed(f"{what} did not answer within {timeout:g} s (ENTREPOT_SIGNER_TIMEOUT)")
    if process.returncode != 0:
        reason = " ".join(said.decode(errors="replace").split())[:300]
        raise SignerFailed(f"{what} ended with {process.returncode}{f': {reason}' if reason else ''}")
    return out


def _read(process: subprocess.Popen[bytes], limit: int, until: float) -> tuple[bytes, bytes, bool]:
    """Return output, the beginning of standard error, and whether the program has ended in time."""
    found = {process.stdout: b"", process.stderr: b""}
    with selectors.DefaultSelector() as selector:
        for stream in found:
            assert stream is not None
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map() and len(found[process.stdout]) <= limit:
            left = until - time.monotonic()
            ready = selector.select(left) if left > 0 else []  # with 0 it would look, and a flood never end
            if not ready:
                return found[process.stdout], found[process.stderr], False
            for key, _ in ready:
                chunk = os.read(key.fd, 64 * 1024)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    found[process.stdout] += chunk
                else:
                    found[process.stderr] = (found[process.stderr] + chunk)[:_LONGEST_REASON]
    if len(found[process.stdout]) > limit:
        return found[process.stdout], found[process.stderr], False
    try:
        process.wait(max(until - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return found[process.stdout], found[process.stderr], False
    return found[process.stdout], found[process.stderr], True


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the process and its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

"""Messages between a process and its worker: tuples by `marshal`, each after its length, over a private pair of pipes."""

import marshal
import os
from typing import Any

HEAD = 4
"""Bytes before each message that give its length, the least significant first."""
READY, BEGUN, DONE, REFUSED = "ready", "begun", "done", "refused"


def encode_message(*parts: Any) -> bytes:
    """Return the bytes of a message."""
    body = marshal.dumps(parts)
    return len(body).to_bytes(HEAD, "little") + body


def read_message(descriptor: int) -> tuple[object, ...] | None:
    """Return the next message; None at the end, also when it is cut off."""
    head = _read(descriptor, HEAD)
    body = head and _read(descriptor, int.from_bytes(head, "little"))
    return marshal.loads(body) if body else None  # noqa: S302  # from the process at the other end of a private pipe


def send(descriptor: int, data: bytes) -> None:
    """Write bytes whole."""
    while data:
        data = data[os.write(descriptor, data) :]


def _read(descriptor: int, length: int) -> bytes:
    parts = []
    while length:
        part = os.read(descriptor, length)
        if not part:
            return b""
        parts.append(part)
        length -= len(part)
    return b"".join(parts)

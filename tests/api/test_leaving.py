"""A registry that is told to stop loses no request: a proxy that still sends to it gets an answer, or is refused."""

import re
import signal
import socket
from contextlib import suppress

from tests.conftest import EntrepotFactory
from tests.servers import wait_until

REQUEST = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"


def test_an_idle_connection_gets_one_more_answer_after_others_are_refused(entrepot_server: EntrepotFactory) -> None:
    server = entrepot_server()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as idle:
        idle.sendall(REQUEST)
        assert b"connection: close" not in idle.recv(65_536).lower()
        server.child.signal(signal.SIGTERM)
        wait_until(lambda: not _connects(server.port), 20, "new connections are refused")
        idle.sendall(REQUEST)
        answer = b""
        while chunk := idle.recv(65_536):
            answer += chunk
    assert re.match(rb"HTTP/1.1 (200|401) ", answer)
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert server.child.wait() == 0


def _connects(port: int) -> bool:
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False

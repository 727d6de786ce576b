"""A forward proxy on loopback: it passes on requests with an absolute URI, tunnels CONNECT, and notes each request."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


class Proxy(socketserver.ThreadingTCPServer):
    """`seen` are the first lines of the requests, `logins` the Proxy-Authorization that came with them.

    With `leads_to`, every tunnel ends at that address, whatever host was asked for.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, leads_to: tuple[str, int] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.leads_to = leads_to
        self.seen: list[str] = []
        self.logins: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        lines = []
        while (line := self.rfile.readline().decode("latin-1").rstrip("\r\n")) != "":
            lines.append(line)
        if not lines:
            return
        method, target, version = lines[0].split(" ")
        self.server.seen.append(f"{method} {target}")
        self.server.logins += [line.partition(": ")[2] for line in lines if line.lower().startswith("proxy-auth")]
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            with socket.create_connection(self.server.leads_to or (host, int(port)), timeout=30) as there:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._tunnel(there)
            return
        url = urlsplit(target)
        path = f"{url.path}?{url.query}" if url.query else url.path
        kept = [line for line in lines[1:] if not line.lower().startswith(("connection", "proxy-"))]
        head = "\r\n".join([f"{method} {path} {version}", *kept, "Connection: close", "", ""])
        with socket.create_connection((str(url.hostname), url.port or 80), timeout=30) as there:
            there.sendall(head.encode("latin-1"))
            _pass(there, self.connection)

    def _tunnel(self, there: socket.socket) -> None:
        back = threading.Thread(target=_pass, args=(there, self.connection), daemon=True)
        back.start()
        _pass(self.connection, there)
        back.join(30)


def _pass(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def forward_proxy(*, leads_to: tuple[str, int] | None = None) -> Iterator[Proxy]:
    """A running proxy."""
    with Proxy(leads_to) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join(10)

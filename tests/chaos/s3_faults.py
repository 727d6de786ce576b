"""A proxy before a real S3 server, which does what stores and networks do on a bad day."""

import http.client
import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from tests.servers import S3Server

Act = Literal["status", "error in 200", "hang", "slow", "cut request", "cut response", "lose", "flip"]


@dataclass
class S3Fault:
    """What happens to requests of a method whose target has a part in it.

    `status`: answer so, and pass nothing on. `error in 200`: 200 whose body is an error. `hang`: no answer until the fault
    ends. `slow`: pass on after `seconds`. `cut request`: close after half of its body. `cut response`: close after `after`
    bytes of the answer's body. `lose`: acknowledge, and pass nothing on. `flip`: change a byte of the request's body.
    """

    method: str
    act: Act
    part: str = ""
    times: int = 1_000_000
    status: int = 503
    code: str = "SlowDown"
    seconds: float = 1.0
    after: int = 1000
    met: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def takes(self, method: str, target: str) -> bool:
        """Return whether a request meets the fault, and count it."""
        if self.over.is_set() or method != self.method or self.part not in target or self.met >= self.times:
            return False
        self.met += 1
        return True


class FaultyS3:
    """Stands before an S3 server; a context manager."""

    def __init__(self, store: S3Server) -> None:
        self._port, self._faults, self._guard = store.port, list[S3Fault](), threading.Lock()
        self.seen: list[tuple[str, str]] = []
        outer = self

        class Handler(_Handler):
            proxy = outer

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.store = replace(store, port=self._server.server_address[1])

    @property
    def port(self) -> int:
        """Return the port of the real server."""
        return self._port

    def fault_of(self, method: str, target: str) -> S3Fault | None:
        """Return the fault that a request meets."""
        with self._guard:
            self.seen.append((method, target))
            return next((one for one in self._faults if one.takes(method, target)), None)

    @contextmanager
    def failing(self, fault: S3Fault) -> Iterator[S3Fault]:
        """Have a fault within the context."""
        self._faults.append(fault)
        try:
            yield fault
        finally:
            fault.over.set()
            self._faults.remove(fault)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for fault in self._faults:
            fault.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyS3

    def _respond(self) -> None:
        fault = self.proxy.fault_of(self.command, self.path)
        length = int(self.headers.get("content-length") or 0)
        if fault is not None and fault.act == "cut request":
            self.rfile.read(length // 2)
            self.close_connection = True
            return
        body = self.rfile.read(length)
        match fault.act if fault else "":
            case "status" | "error in 200":
                assert fault is not None
                self._answer(200 if fault.act == "error in 200" else fault.status, _error(fault.code))
            case "hang":
                assert fault is not None
                fault.over.wait(120)
                self.close_connection = True
            case "lose":
                self._answer(200, b"", ("etag", '"d41d8cd98f00b204e9800998ecf8427e"'))
            case "slow":
                assert fault is not None
                time.sleep(fault.seconds)
                self._pass_on(body)
            case "flip":
                self._pass_on(bytes([body[0] ^ 1]) + body[1:])
            case "cut response":
                assert fault is not None
                self._pass_on(body, fault.after)
            case _:
                self._pass_on(body)

    def _pass_on(self, body: bytes, sent: int | None = None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("expect", "connection"):
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        self.send_response_only(answer.status)
        names = {name.lower() for name, _ in answer.getheaders()}
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, value)
        if "content-length" not in names and answer.status != 204:
            self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:sent])
        self.close_connection = self.close_connection or sent is not None
        connection.close()

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response_only(status)
        for name, value in (*headers, ("content-type", "application/xml"), ("content-length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _respond  # noqa: N815  # the names that the base class calls

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _error(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>a fault of the test</Message></Error>'.encode()

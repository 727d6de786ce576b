"""An HTTP server in this process that keeps what it is sent, and answers as a test wants."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.servers import wait_until


@dataclass(frozen=True)
class Received:
    """One request; header names are lower-case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Receiver:
    """What was received, in order; `answer` decides what each request gets."""

    answer: Callable[[Received], Answer]
    received: list[Received] = field(default_factory=list)
    url: str = ""

    def await_count(self, count: int, *, seconds: float = 20) -> list[Received]:
        """All that was received, once there are so many."""
        wait_until(lambda: len(self.received) >= count, seconds, f"{count} requests came, not {len(self.received)}")
        return self.received


def ok(_: Received) -> Answer:
    return 200, {}, b"{}"


@contextmanager
def receive(answer: Callable[[Received], Answer] = ok, *, host: str = "127.0.0.1") -> Iterator[Receiver]:
    """Receive on a free port of this machine until the context is left."""
    receiver = Receiver(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {key.lower(): value for key, value in self.headers.items()}
            one = Received(self.command, self.path, headers, body)
            status, pairs, said = receiver.answer(one)
            receiver.received.append(one)
            self.send_response(status)
            for key, value in {"Content-Length": str(len(said)), **pairs}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_PUT = do_PATCH = do_HEAD = _take  # noqa: N815  # http.server's names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://{host}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class FakePrefect:
    """A Prefect API with one deployment; `status` other than 201 is what it answers to runs instead."""

    receiver: Receiver
    status: int = 201
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def api_url(self) -> str:
        return f"{self.receiver.url}/api"

    def await_runs(self, count: int) -> list[dict[str, Any]]:
        """What was asked of the runs started, once there are so many."""
        wait_until(lambda: len(self.runs) >= count, 20, f"{count} runs are started, not {len(self.runs)}")
        return list(self.runs.values())

    def answer(self, one: Received) -> Answer:
        """As Prefect does; a run whose idempotency key is known is not made again."""
        if one.method == "GET" and one.path == "/api/deployments/name/sync-repository/sync-repository":
            return 200, {}, b'{"id": "d-1"}'
        if one.method == "POST" and one.path == "/api/deployments/d-1/create_flow_run":
            if self.status != 201:
                return self.status, {}, b'{"detail": "no"}'
            asked = one.json
            assert None not in asked.values()
            self.runs.setdefault(asked["idempotency_key"], asked)
            return 201, {}, json.dumps({"id": f"run-{len(self.runs)}"}).encode()
        return 404, {}, b'{"detail": "Not found"}'


@contextmanager
def fake_prefect() -> Iterator[FakePrefect]:
    with receive() as receiver:
        prefect = FakePrefect(receiver)
        receiver.answer = prefect.answer
        yield prefect

"""A collector of traces on loopback, which takes what OpenTelemetry's exporters send by HTTP."""

import gzip
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.servers import wait_until


@dataclass(frozen=True)
class Collected:
    """One span, with ids as hexadecimal digits."""

    service: str
    scope: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[str, ...]
    is_error: bool
    attributes: Mapping[str, object]


class Collector:
    """Keeps the spans that it is sent; a context manager."""

    def __init__(self) -> None:
        self.spans, self.bodies = list[Collected](), list[bytes]()
        self.headers = list[dict[str, str]]()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector._take(self.path, dict(self.headers), body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def environment(self) -> dict[str, str]:
        """What has a process send its traces here, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=a-secret",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def find(self, name: str, **attributes: object) -> list[Collected]:
        """The spans of a name, with these attributes (`.` as `__`)."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return [
            span for span in list(self.spans) if span.name == name and wanted.items() <= dict(span.attributes).items()
        ]

    def wait_for(self, name: str, **attributes: object) -> Collected:
        """The first span of a name, once it is here."""
        wait_until(lambda: bool(self.find(name, **attributes)), 20, f"there is a span {name}")
        return self.find(name, **attributes)[0]

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        assert path == "/v1/traces"
        raw = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
        self.headers.append(headers)
        self.bodies.append(raw)
        for resource in ExportTraceServiceRequest.FromString(raw).resource_spans:
            service = str(_values(resource.resource.attributes).get("service.name", ""))
            for scope in resource.scope_spans:
                self.spans += [_collected(service, scope.scope.name, span) for span in scope.spans]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _collected(service: str, scope: str, span: Any) -> Collected:
    return Collected(
        service,
        scope,
        span.name,
        span.kind,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        tuple(link.trace_id.hex() for link in span.links),
        span.status.code == 2,
        _values(span.attributes),
    )


def _values(pairs: Any) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}

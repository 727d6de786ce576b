"""Traces by OpenTelemetry's SDK, sent by OTLP over HTTP. Its variables say where to, how many, and with which headers."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from oci.traces.spans import Attributes, SpanKind, TraceSpan

FLUSH_SECONDS = 5.0
"""How long a process that ends goes on sending."""

_KINDS = {"server": trace.SpanKind.SERVER, "client": trace.SpanKind.CLIENT, "internal": trace.SpanKind.INTERNAL}
_W3C = TraceContextTextMapPropagator()


class OtlpSpan:
    """See `TraceSpan`."""

    __slots__ = ("span",)

    def __init__(self, span: Span) -> None:
        self.span = span

    @property
    def trace_id(self) -> str:
        return trace.format_trace_id(self.span.get_span_context().trace_id)

    def set(self, name: str, value: str | int) -> None:
        self.span.set_attribute(name, value)

    def fail(self, kind: str) -> None:
        self.span.set_attribute("error.type", kind)
        self.span.set_status(Status(StatusCode.ERROR))

    def rename(self, name: str) -> None:
        """Name it by what is known by now."""
        self.span.update_name(name)

    def end(self) -> None:
        self.span.end()


class OtlpTracing:
    """See `Tracing`. With `is_global`, packages of others send their own spans by it too, with whatever they hold."""

    def __init__(self, environment: Mapping[str, str], service: str, *, is_global: bool) -> None:
        named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        resource = Resource.create({} if named else {"service.name": service})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        if is_global:
            trace.set_tracer_provider(self._provider)
        self._tracer = self._provider.get_tracer("entrepot")
        logging.getLogger("opentelemetry.exporter").setLevel(
            logging.ERROR
        )  # each try that is made again is none of ours

    def start(self, name: str, kind: SpanKind, attributes: Attributes) -> TraceSpan:
        return OtlpSpan(self._tracer.start_span(name, kind=_KINDS[kind], attributes=dict(attributes)))

    def serve(self, attributes: Attributes, traceparent: str, *, is_trusted: bool) -> TraceSpan:
        claimed = _read(traceparent) if traceparent else None
        parent, links = context.Context(), list[Link]()
        if claimed is not None and is_trusted:
            parent = trace.set_span_in_context(trace.NonRecordingSpan(claimed), parent)
        elif claimed is not None:
            links.append(Link(claimed))
        name = str(attributes.get("http.request.method", "HTTP"))
        span = self._tracer.start_span(
            name, parent, kind=trace.SpanKind.SERVER, attributes=dict(attributes), links=links
        )
        context.attach(trace.set_span_in_context(span))
        return OtlpSpan(span)

    @contextmanager
    def within(self, span: TraceSpan) -> Iterator[None]:
        assert isinstance(span, OtlpSpan)
        token = context.attach(trace.set_span_in_context(span.span))
        try:
            yield
        finally:
            context.detach(token)

    def headers(self, span: TraceSpan) -> dict[str, str]:
        assert isinstance(span, OtlpSpan)
        carrier = dict[str, str]()
        _W3C.inject(carrier, trace.set_span_in_context(span.span))
        return carrier

    def current_trace_id(self) -> str:
        found = trace.get_current_span().get_span_context()
        return trace.format_trace_id(found.trace_id) if found.is_valid else ""

    def close(self) -> None:
        self._provider.force_flush(int(FLUSH_SECONDS * 1000))


def _read(traceparent: str) -> SpanContext | None:
    """Return what a `traceparent` names; None for one that is malformed. Source: W3C Trace Context, 3.2."""
    found = trace.get_current_span(_W3C.extract({"traceparent": traceparent}, context.Context())).get_span_context()
    return found if found.is_valid else None

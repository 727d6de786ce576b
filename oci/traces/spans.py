"""Traces: spans of requests, commits, runs and what upstreams are asked, for a collector that OpenTelemetry's variables name.

Nothing of OpenTelemetry is imported unless they do; then `active` is None, and `traced` does nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol

SpanKind = Literal["server", "client", "internal"]
Attributes = Mapping[str, str | int | bool]


class TraceSpan(Protocol):
    """One thing that is done, from its begin to its end."""

    @property
    def trace_id(self) -> str:
        """Return the id of the trace, as 32 hexadecimal digits."""
        ...

    def set(self, name: str, value: str | int) -> None:
        """Add what is known by now."""
        ...

    def rename(self, name: str) -> None:
        """Name it by what is known by now."""
        ...

    def fail(self, kind: str) -> None:
        """Mark it as failed, by the kind of the error: messages may say what is nobody's business."""
        ...

    def end(self) -> None:
        """End it now."""
        ...


class Tracing(Protocol):
    """Makes spans, and sends them."""

    def start(self, name: str, kind: SpanKind, attributes: Attributes) -> TraceSpan:
        """Begin a span below the current one."""
        ...

    def serve(self, attributes: Attributes, traceparent: str, *, is_trusted: bool) -> TraceSpan:
        """Begin the span of a request, and make it the current one of this context, to whose end it stays.

        It is a part of the client's trace where the client is trusted; else it is linked to that.
        """
        ...

    def within(self, span: TraceSpan) -> AbstractContextManager[None]:
        """Make a span the current one for a while."""
        ...

    def headers(self, span: TraceSpan) -> dict[str, str]:
        """Return the headers by which another process makes its spans a part of this one's trace."""
        ...

    def current_trace_id(self) -> str:
        """Return the id of the trace that this is within; empty for none."""
        ...

    def close(self) -> None:
        """Send what is left, within some seconds."""
        ...


_active: Tracing | None = None


def active() -> Tracing | None:
    """Return what makes spans; None where nobody wants any."""
    return _active


def activate(tracing: Tracing | None) -> None:
    """Have spans made from now on, or no more."""
    global _active  # one for the process, as OpenTelemetry has it
    _active = tracing


@contextmanager
def traced(
    name: str, kind: SpanKind = "internal", attributes: Attributes | None = None, *, is_current: bool = False
) -> Iterator[TraceSpan | None]:
    """Trace what is done within; None where nobody wants it. `is_current`: spans that begin within are below it."""
    tracing = _active
    if tracing is None:
        yield None
        return
    span = tracing.start(name, kind, attributes or {})
    try:
        if is_current:
            with tracing.within(span):
                yield span
        else:
            yield span
    except BaseException as error:
        span.fail(type(error).__name__)
        raise
    finally:
        span.end()

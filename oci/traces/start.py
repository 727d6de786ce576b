"""Begins and ends to trace, as OpenTelemetry's own variables want it."""

from collections.abc import Mapping

from oci.traces.spans import activate, active

SWITCHES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Variables of which one names the collector. Source: OpenTelemetry specification, OTLP exporter configuration."""


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Return whether OpenTelemetry's variables switch traces on."""
    is_off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return (
        not is_off
        and environment.get("OTEL_TRACES_EXPORTER", "otlp").strip() in {"otlp", ""}
        and any(environment.get(name, "").strip() for name in SWITCHES)
    )


def start_tracing(environment: Mapping[str, str], service: str, *, is_global: bool = False) -> str:
    """Begin to trace where the variables want it; return why that fails, empty where it does not.

    `is_global` is for Prefect's engine. In the registry FastAPI would send spans with queries, and join any client's trace.
    """
    if not is_wanted(environment) or active() is not None:
        return ""
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", ""
    )
    if protocol.strip() not in {"", "http/protobuf"}:
        return f"no traces: OTEL_EXPORTER_OTLP_PROTOCOL={protocol}: expected http/protobuf"
    try:
        from oci.traces.otlp import OtlpTracing
    except ImportError:
        return "no traces: OpenTelemetry's exporter is not installed: pip install 'entrepot[traces]'"
    activate(OtlpTracing(environment, service, is_global=is_global))
    return ""


def stop_tracing() -> None:
    """Send what is left, and trace no more."""
    tracing = active()
    activate(None)
    if tracing is not None:
        tracing.close()

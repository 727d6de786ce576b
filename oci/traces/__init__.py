"""Traces: spans of what happens, for a collector of OpenTelemetry's.

`spans` is what everybody uses; `start` looks whether OpenTelemetry's variables want traces; `otlp` sends them, and is imported
only then. `requests` names what is asked of other registries.
"""

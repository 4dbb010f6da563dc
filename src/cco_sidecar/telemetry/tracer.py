"""Which tracer the settings ask for."""

from __future__ import annotations

from cco_sidecar.core.settings import Settings
from cco_sidecar.core.tracing import Tracer


def tracer_of(settings: Settings) -> Tracer:
    """Raises SettingsError if the extra `otel` is not installed."""
    if settings.otlp_endpoint is None:
        return Tracer()
    # OpenTelemetry is imported only where it is used.
    from cco_sidecar.telemetry.otlp import OtlpTracer

    return OtlpTracer(settings.otlp_endpoint, settings.sample_percent)

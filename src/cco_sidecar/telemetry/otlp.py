"""Sends spans to an OpenTelemetry collector over OTLP (HTTP and protobuf). Needs the extra `otel`."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from urllib.parse import urlsplit

from cco_sidecar import __version__
from cco_sidecar.core import tracing
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.hosts import is_loopback
from cco_sidecar.core.tracing import Kind, Span, TraceContext, Tracer

try:
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
except ImportError as problem:
    raise SettingsError(
        f"telemetry.otlp_endpoint needs OpenTelemetry ({problem}); install the extra: cco-sidecar[otel]"
    ) from problem

_KINDS = {Kind.INTERNAL: SpanKind.INTERNAL, Kind.SERVER: SpanKind.SERVER}
_TRACES = "/v1/traces"
# Time to send what is left; a collector may be down for longer than anybody waits for us.
_CLOSE_SECONDS = 3.0


class OtlpTracer(Tracer):
    """Records spans. They are sent by a thread of the SDK; when its queue is full, spans are dropped."""

    def __init__(self, endpoint: str, sample_percent: int) -> None:
        """``endpoint`` is the base URL of the collector, such as http://127.0.0.1:4318."""
        self._share = sample_percent / 100
        url = endpoint.rstrip("/").removesuffix(_TRACES) + _TRACES
        session = requests.Session()
        # A collector on this machine is not behind a proxy, and gets no password of ~/.netrc.
        session.trust_env = not is_loopback(urlsplit(url).hostname or "")
        self._processor = BatchSpanProcessor(OTLPSpanExporter(url, session=session))
        own = {
            "service.name": "orchestration-sidecar",
            "service.version": __version__,
            "host.name": socket.gethostname(),
        }
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence.
        self._resource = Resource.create(own).merge(OTELResourceDetector().detect())
        self._scope = InstrumentationScope("cco_sidecar", __version__)

    def child(self, parent: TraceContext | None) -> TraceContext:
        return tracing.below(parent, sampled=parent is None and random.random() < self._share)

    def record(self, span: Span) -> None:
        if not span.context.sampled:
            return
        own = span.context
        self._processor.on_end(
            ReadableSpan(
                name=span.name,
                context=_context(own.trace_id, own.span_id, own),
                parent=_context(own.trace_id, span.parent_id, own, remote=True) if span.parent_id else None,
                resource=self._resource,
                attributes=dict(span.attributes),
                kind=_KINDS[span.kind],
                status=Status(StatusCode.ERROR, span.error) if span.error else Status(),
                start_time=span.started,
                end_time=span.ended,
                instrumentation_scope=self._scope,
            )
        )

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        closed = asyncio.Event()

        def close() -> None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]
            # The loop may have ended before us.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(closed.set)

        # A thread of the executor would be waited for at the end of the process.
        threading.Thread(target=close, name="otlp-close", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(closed.wait(), _CLOSE_SECONDS)


def _context(trace_id: str, span_id: str, of: TraceContext, *, remote: bool = False) -> SpanContext:
    state = TraceState.from_header([of.state]) if of.state else TraceState()
    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, TraceFlags(of.flags), state)

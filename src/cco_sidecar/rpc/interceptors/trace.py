"""Joins each call to the trace of its caller (W3C Trace Context), and records it as a span if a collector is set."""

from __future__ import annotations

import time
from typing import Any

import grpc
import grpc.aio

from cco_sidecar.core import tracing
from cco_sidecar.core.tracing import Kind, Span, TraceContext, Tracer
from cco_sidecar.rpc.call import Call
from cco_sidecar.rpc.interceptors.base import SUCCEEDED, Around, Before, Outcome, outcome_of

# What is the server's own failure (OpenTelemetry, semantic conventions for gRPC); the others are the caller's.
_ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


class JoinTrace(Before):
    """Reads the caller's context, and makes the call a span below it."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def before(self, call: Call, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        call.parent = _caller(context)
        call.trace = self._tracer.child(call.parent)
        tracing.current.set(call.trace)


class RecordSpan(Around):
    """Records the call as a span when it ends."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def succeeded(self, call: Call) -> None:
        self._record(call, SUCCEEDED)

    async def failed(self, call: Call, problem: BaseException, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._record(call, outcome_of(problem, context))

    def _record(self, call: Call, outcome: Outcome) -> None:
        if call.trace is None or call.trace is call.parent:
            return
        service, _, method = call.policy.path[1:].partition("/")
        ended = time.time_ns()
        attributes: dict[str, str | int | float] = {
            # OpenTelemetry's names for calls (semantic conventions, RPC), and our own.
            "rpc.system": "grpc",
            "rpc.service": service,
            "rpc.method": method,
            "rpc.grpc.status_code": grpc.StatusCode[outcome.status].value[0],
            "cco.request_id": call.request_id,
            "cco.subject": call.principal.subject,
            "cco.project_id": call.principal.project_id,
            "cco.issue_id": call.principal.issue_id,
        }
        self._tracer.record(
            Span(
                name=f"{service}/{method}",
                kind=Kind.SERVER,
                context=call.trace,
                parent_id=call.parent.span_id if call.parent else "",
                started=ended - round((time.perf_counter() - call.started) * 1e9),
                ended=ended,
                attributes={name: value for name, value in attributes.items() if value != ""},
                error=outcome.status if outcome.status in _ERRORS else "",
            )
        )


def _caller(context: grpc.aio.ServicerContext[Any, Any]) -> TraceContext | None:
    parents: set[str] = set()
    states: list[str] = []
    for key, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            if key == "traceparent":
                parents.add(value)
            elif key == "tracestate":
                states.append(value)
    # Several callers would be none; a state may come in several parts (W3C Trace Context, section 3.3.1).
    return TraceContext.parse(parents.pop(), ",".join(states)) if len(parents) == 1 else None

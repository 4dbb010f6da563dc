"""The span of each agent, from its spawn or resume to its end. It is kept in the record, so it survives a restart."""

from __future__ import annotations

from contextlib import AbstractContextManager

from cco_sidecar.core import codec, tracing
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.tracing import Kind, Span, TraceContext, Tracer
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_COMPLETED, Agent, AgentStatus, SpanRecord


class AgentSpans:
    def __init__(self, tracer: Tracer, clock: Clock) -> None:
        self._tracer = tracer
        self._clock = clock

    def begin(self, agent: Agent) -> None:
        """Makes the agent a span below what is being worked on. Its program and its calls are below that span."""
        agent.ClearField("span")
        parent = tracing.current.get()
        own = self._tracer.child(parent)
        if own is None:
            return
        agent.span.traceparent, agent.span.tracestate = own.traceparent, own.state
        agent.span.started_at.CopyFrom(self._clock.timestamp())
        if parent is not None and own is not parent:
            agent.span.parent_span_id = parent.span_id

    def end(self, agent: Agent) -> None:
        """Records the span of an agent that has ended."""
        own = context_of(agent.span)
        if own is None:
            return
        status = codec.enum_name(AgentStatus.DESCRIPTOR, agent.status)
        usage = agent.usage
        attributes: dict[str, str | int | float] = {
            "cco.agent_id": agent.agent_id,
            "cco.agent_type": agent.agent_type,
            "cco.issue_id": agent.issue_id,
            "cco.project_id": agent.project_id,
            "cco.status": status,
            "cco.attempts": agent.attempt,
            # OpenTelemetry's names for models (semantic conventions, generative AI).
            "gen_ai.request.model": agent.model,
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "cco.cost_usd": usage.cost_usd,
        }
        self._tracer.record(
            Span(
                name=f"agent {agent.agent_type}",
                kind=Kind.INTERNAL,
                context=own,
                parent_id=agent.span.parent_span_id,
                started=agent.span.started_at.ToNanoseconds(),
                ended=agent.ended_at.ToNanoseconds(),
                attributes={name: value for name, value in attributes.items() if value not in ("", 0)},
                error="" if agent.status == AGENT_STATUS_COMPLETED else status,
            )
        )


def context_of(span: SpanRecord) -> TraceContext | None:
    return TraceContext.parse(span.traceparent, span.tracestate)


def within(agent: Agent) -> AbstractContextManager[None]:
    """What the sidecar does for the agent belongs to the agent's span."""
    return tracing.within(context_of(agent.span))

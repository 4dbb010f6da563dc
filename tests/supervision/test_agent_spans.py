"""The span of an agent: what it says, and whose it is."""

from __future__ import annotations

from cco_sidecar.core import tracing
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.tracing import Span, TraceContext, Tracer
from cco_sidecar.supervision.agent_spans import AgentSpans, context_of, within
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_COMPLETED, AGENT_STATUS_FAILED, Agent, Usage

CALLER = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", state="vendor=1")


class Kept(Tracer):
    """Keeps what is recorded."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def child(self, parent: TraceContext | None) -> TraceContext:
        return tracing.below(parent, sampled=True)

    def record(self, span: Span) -> None:
        self.spans.append(span)


def ended(status: int = AGENT_STATUS_COMPLETED, parent: TraceContext | None = CALLER) -> tuple[Agent, Span]:
    tracer = Kept()
    spans = AgentSpans(tracer, Clock())
    usage = Usage(input_tokens=11, output_tokens=12, cost_usd=1.5)
    agent = Agent(agent_id="a", agent_type="test-engineer", model="m", attempt=2, usage=usage)
    with tracing.within(parent):
        spans.begin(agent)
    agent.status = status  # type: ignore[assignment]
    agent.ended_at.FromSeconds(agent.span.started_at.seconds + 60)
    spans.end(agent)
    (span,) = tracer.spans
    return agent, span


def test_a_span_is_below_its_caller_and_says_what_was_used() -> None:
    agent, span = ended()
    assert (span.context.trace_id, span.parent_id, span.context.state) == (*CALLER[:2], "vendor=1")
    assert span.context == context_of(agent.span) and span.context.span_id != CALLER.span_id
    assert (span.name, span.error) == ("agent test-engineer", "")
    assert 59 < (span.ended - span.started) / 1e9 <= 60
    assert span.attributes == {
        "cco.agent_id": "a",
        "cco.agent_type": "test-engineer",
        "cco.status": "completed",
        "cco.attempts": 2,
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 12,
        "cco.cost_usd": 1.5,
    }


def test_a_failed_agent_is_an_error() -> None:
    assert ended(AGENT_STATUS_FAILED)[1].error == "failed"


def test_without_a_caller_it_is_a_root() -> None:
    assert ended(parent=None)[1].parent_id == ""


def test_a_resumed_agent_has_another_span() -> None:
    tracer = Kept()
    spans, agent = AgentSpans(tracer, Clock()), Agent(agent_type="test-engineer")
    with tracing.within(CALLER):
        spans.begin(agent)
    first = context_of(agent.span)
    spans.begin(agent)
    second = context_of(agent.span)
    assert first is not None and second is not None and first.trace_id != second.trace_id
    assert agent.span.parent_span_id == ""


def test_work_for_the_agent_belongs_to_its_span() -> None:
    agent, span = ended()
    with within(agent):
        assert tracing.current.get() == span.context
    assert tracing.current.get() is None


def test_without_a_collector_the_callers_context_goes_on() -> None:
    spans, agent = AgentSpans(Tracer(), Clock()), Agent()
    spans.begin(agent)
    assert not agent.HasField("span")
    with tracing.within(CALLER):
        spans.begin(agent)
    assert context_of(agent.span) == CALLER and agent.span.parent_span_id == ""

"""Sending spans over OTLP: to whom, as what, and for how long at the end."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.collector import Collected, collector

from cco_sidecar.core.tracing import Kind, Span, TraceContext
from cco_sidecar.telemetry import otlp
from cco_sidecar.telemetry.otlp import OtlpTracer


@pytest.fixture
def collected() -> Iterator[Collected]:
    with collector() as found:
        yield found


async def sent(endpoint: str, spans: int = 1) -> None:
    tracer = OtlpTracer(endpoint, 100)
    for number in range(spans):
        context = TraceContext("0af7651916cd43dd8448eb211c80319c", f"{number + 1:016x}", state="congo=1,rojo=2")
        tracer.record(Span(f"span {number}", Kind.SERVER, context, "", 1, 2, {}))
    await tracer.close()


@pytest.mark.parametrize("path", ["", "/", "/v1/traces", "/v1/traces/"])
async def test_spans_arrive_with_what_they_are(collected: Collected, path: str) -> None:
    await sent(collected.url + path)
    (span,) = collected.spans
    assert (span.name, span.trace_state) == ("span 0", "congo=1,rojo=2")


async def test_a_collector_on_this_machine_is_not_asked_through_a_proxy(
    collected: Collected, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password secret\n")
    await sent(collected.url)
    assert len(collected.spans) == 1
    assert [headers.get("Authorization") for headers in collected.headers] == [None]


async def test_the_environment_names_the_service(collected: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=team-a,host.name=h1")
    await sent(collected.url)
    said = {each.key: each.value.string_value for each in collected.requests[0].resource_spans[0].resource.attributes}
    assert (said["service.name"], said["host.name"]) == ("team-a", "h1") and said["service.version"]


@pytest.mark.parametrize("answers", [False, True])
async def test_a_collector_that_is_down_delays_the_end_by_no_more_than_its_time(
    monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    """One refuses connections, one accepts them and says nothing."""
    monkeypatch.setattr(otlp, "_CLOSE_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        if not answers:
            listening.close()
        began = time.monotonic()
        async with asyncio.timeout(5):
            await sent(f"http://127.0.0.1:{port}", spans=2000)
        assert time.monotonic() - began >= 0.05

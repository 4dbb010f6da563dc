"""Trace contexts (W3C Trace Context), from callers to events, agents and their calls. Recording spans is optional.

A trace context travels on even where nothing is recorded here, so that what others record is one trace.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import NamedTuple, Self

from orchestra.v1.event_service_pb2 import Event

# W3C Trace Context, section 3.2.2; an id of zeros is invalid. Later versions may have more parts (section 4.3).
_TRACEPARENT = re.compile(
    r"(?:00-(?=.{52}$)|(?!ff|00)[0-9a-f]{2}-(?=.{52}(?:-|$)))"
    r"(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
_SAMPLED = 1
# The flags that the standard defines: sampled, and (level 2) random.
_FLAGS = 0b11
_MAX_STATE = 512
# W3C Trace Context, section 3.3.1. A value has no comma, no equals sign and no blank at its end.
_MEMBER = re.compile(
    r"([a-z0-9][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[ !-+\--<>-~]{0,255}[!-+\--<>-~]"
)
_MAX_MEMBERS = 32


class TraceContext(NamedTuple):
    """One span of a trace. ``state`` is the header `tracestate`, which is passed on as it is."""

    trace_id: str
    span_id: str
    flags: int = _SAMPLED
    state: str = ""

    @classmethod
    def parse(cls, text: str | None, state: str | None = None) -> Self | None:
        """Reads the header `traceparent`; None if it is missing or invalid, as the standard asks for."""
        found = _TRACEPARENT.fullmatch(text) if text else None
        if found is None:
            return None
        return cls(found[1], found[2], int(found[3], 16) & _FLAGS, state if state and _is_state(state) else "")

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    @property
    def sampled(self) -> bool:
        return bool(self.flags & _SAMPLED)


def _is_state(text: str) -> bool:
    """Reports whether a `tracestate` is one; what is not is dropped."""
    if len(text) > _MAX_STATE:
        return False
    members = [part for each in text.split(",") if (part := each.strip(" \t"))]
    keys = {found[1] for each in members if (found := _MEMBER.fullmatch(each))}
    return 0 < len(members) <= _MAX_MEMBERS and len(keys) == len(members)


# What is being worked on, in this task and in those that it starts.
current: ContextVar[TraceContext | None] = ContextVar("trace", default=None)


@contextmanager
def within(context: TraceContext | None) -> Iterator[None]:
    token = current.set(context)
    try:
        yield
    finally:
        current.reset(token)


def of_event(event: Event) -> TraceContext | None:
    """Returns the context of the span that published an event."""
    return TraceContext.parse(event.traceparent, event.tracestate) if event.traceparent else None


def stamp(event: Event) -> Event:
    """Gives an event the current context, unless its publisher has given one."""
    context = current.get()
    if context is not None and not event.traceparent:
        event.traceparent = context.traceparent
        if context.state:
            event.tracestate = context.state
    return event


class Kind(Enum):
    """What a span is about; the names are OpenTelemetry's."""

    INTERNAL = "internal"
    SERVER = "server"


class Span(NamedTuple):
    """A span that has ended. Times are in nanoseconds since 1970; ``parent_id`` is empty for a root, ``error`` without
    one."""

    name: str
    kind: Kind
    context: TraceContext
    parent_id: str
    started: int
    ended: int
    attributes: Mapping[str, str | int | float]
    error: str = ""


class Tracer:
    """Passes contexts on, and records nothing."""

    def child(self, parent: TraceContext | None) -> TraceContext | None:
        """Returns the context of a new span below ``parent``, or of a new trace; here, ``parent`` itself."""
        return parent

    def record(self, span: Span) -> None:
        """Takes a span that has ended."""

    async def close(self) -> None:
        """Sends what is left."""


def below(parent: TraceContext | None, *, sampled: bool) -> TraceContext:
    """Returns a new span's context: below ``parent``, whose decision about sampling it follows, or a new trace."""
    span_id = secrets.token_hex(8)
    if parent is not None:
        return parent._replace(span_id=span_id)
    return TraceContext(secrets.token_hex(16), span_id, _SAMPLED if sampled else 0)

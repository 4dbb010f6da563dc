"""The asynchronous client: how agents work together by events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from cco_sidecar.client.aio_circuits import Circuit
from cco_sidecar.client.aio_events import Events
from cco_sidecar.client.errors import NotAcceptedError, NotEnoughEventsError, is_lost
from cco_sidecar.client.requests import exactly, names
from cco_sidecar.client.values import Event
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.retry import Backoff

PHASE_COMPLETE = "phase_complete"
# The server's limit for one long poll.
_MAX_POLL_SECONDS = 60.0
# A filter has at most 16 terms; the causes of more replies are compared here.
_MAX_CAUSES = 12


class Patterns:
    """Request and reply, waiting for several, phases, feedback, fan-out and circuit breakers.

    ``timeout`` is in seconds, everywhere. ``since`` is a cursor: "$" looks at what comes, "0" also at all that is
    retained. Nothing is missed in between, whatever is published while the caller does something else.
    """

    def __init__(self, events: Events) -> None:
        self._events = events

    # -- waiting -----------------------------------------------------------------------------------------------

    async def wait_any(
        self, event_types: Sequence[str], *, filter: str = "", since: str = "$", timeout: float = 30.0,
        project_id: str = "",
    ) -> Event:  # fmt: skip
        """Returns the first event of any of several types. Raises NotEnoughEventsError if there is none in time."""
        (event,) = await self.collect(
            1, event_types, filter=filter, since=since, timeout=timeout, project_id=project_id
        )
        return event

    async def wait_all(
        self, event_types: Sequence[str], *, filter: str = "", since: str = "$", timeout: float = 30.0,
        project_id: str = "",
    ) -> dict[str, Event]:  # fmt: skip
        """Returns the first event of each of several types, by type. Raises NotEnoughEventsError, with those that
        came."""
        found: dict[str, Event] = {}
        event_types = names(event_types)
        waiting = _Waiting(self._events, event_types, filter, since, timeout, project_id)
        while len(found) < len(set(event_types)):
            event = await waiting.next()
            if event is None:
                missing = ", ".join(each for each in event_types if each not in found)
                raise NotEnoughEventsError(f"no event of type {missing} within {timeout:g} s", list(found.values()))
            found.setdefault(event.event_type, event)
        return found

    async def collect(
        self,
        count: int,
        event_types: Sequence[str],
        *,
        distinct: str = "",
        filter: str = "",
        since: str = "$",
        timeout: float = 30.0,
        project_id: str = "",
    ) -> list[Event]:
        """Returns ``count`` events of some types, in order. Raises NotEnoughEventsError, with those that came.

        ``distinct`` names a field of which each value counts once: ``publisher``, or a key of the data.
        """
        found: list[Event] = []
        seen: set[str] = set()
        event_types = names(event_types)
        waiting = _Waiting(self._events, event_types, filter, since, timeout, project_id)
        while len(found) < count:
            event = await waiting.next()
            if event is None:
                what = f"{len(found)} of {count} events of type {' or '.join(event_types)} within {timeout:g} s"
                raise NotEnoughEventsError(what, found)
            value = _value(event, distinct)
            if value not in seen:
                seen.add(value)
                found.append(event)
        return found

    # -- request and reply -------------------------------------------------------------------------------------

    async def request(
        self,
        event_type: str,
        data: Mapping[str, Any] | None = None,
        *,
        reply_type: str = "",
        topic: str = "",
        timeout: float = 30.0,
        project_id: str = "",
    ) -> Event:
        """Publishes a request, and returns the first reply: an event that was caused by it, of ``reply_type`` if given.

        Raises NotEnoughEventsError if nobody replies in time.
        """
        (reply,) = await self.scatter(
            event_type, [data or {}], reply_type=reply_type, topic=topic, timeout=timeout, project_id=project_id
        )
        return reply

    async def reply(
        self,
        request: Event,
        event_type: str,
        data: Mapping[str, Any] | None = None,
        *,
        topic: str = "",
        project_id: str = "",
    ) -> str:
        """Publishes the reply to a request, and returns its id. Whoever asked takes the first."""
        answer = await self._events.publish(
            event_type,
            data,
            topic=topic or request.topic,
            causation_id=request.event_id,
            project_id=project_id,
        )
        return answer.event_id

    async def scatter(
        self,
        event_type: str,
        items: Sequence[Mapping[str, Any]],
        *,
        reply_type: str = "",
        topic: str = "",
        timeout: float = 30.0,
        project_id: str = "",
    ) -> list[Event]:
        """Publishes a request for each item, all or none, and returns the replies in the order of the items.

        Whoever replies does so with ``reply``; workers that share a durable consumer divide the items. Raises
        NotEnoughEventsError, with the replies that came.
        """
        if not items:
            return []
        asked = await self._events.publish_many(
            [{"event_type": event_type, "data": item, "topic": topic, "project_id": project_id} for item in items]
        )
        wanted = set(asked)
        replies: dict[str, Event] = {}
        types = [reply_type] if reply_type else []
        causes = "|".join(exactly("causation_id", each) for each in asked) if len(asked) <= _MAX_CAUSES else ""
        waiting = _Waiting(self._events, types, causes, asked[0], timeout, project_id)
        while len(replies) < len(asked):
            event = await waiting.next()
            if event is None:
                what = f"{len(replies)} of {len(asked)} replies to '{event_type}' within {timeout:g} s"
                raise NotEnoughEventsError(what, [replies[each] for each in asked if each in replies])
            if event.message.causation_id in wanted:
                replies.setdefault(event.message.causation_id, event)
        return [replies[each] for each in asked]

    async def refine(
        self,
        event_type: str,
        data: Mapping[str, Any],
        *,
        accepted: Callable[[Event], bool],
        revise: Callable[[Event], Awaitable[Mapping[str, Any]]],
        rounds: int = 5,
        reply_type: str = "",
        topic: str = "",
        timeout: float = 30.0,
        project_id: str = "",
    ) -> Event:
        """Asks again with what ``revise(reply)`` returns until a reply is ``accepted``, and returns that reply.

        Raises NotAcceptedError after so many rounds, and NotEnoughEventsError if nobody replies in time.
        """
        replies: list[Event] = []
        while True:
            reply = await self.request(
                event_type, data, reply_type=reply_type, topic=topic, timeout=timeout, project_id=project_id
            )
            if accepted(reply):
                return reply
            replies.append(reply)
            if len(replies) == rounds:
                raise NotAcceptedError(f"no reply to '{event_type}' was accepted in {rounds} rounds", replies)
            data = await revise(reply)

    # -- phases ------------------------------------------------------------------------------------------------

    async def finish_phase(self, phase: str, data: Mapping[str, Any] | None = None, *, project_id: str = "") -> str:
        """Says that this agent is done with a phase, and returns the event's id. Repeating it changes nothing."""
        answer = await self._events.publish(
            PHASE_COMPLETE, {**(data or {}), "phase": phase}, topic="coordination", project_id=project_id,
        )  # fmt: skip
        return answer.event_id

    async def wait_phase(
        self, phase: str, agents: int, *, filter: str = "", since: str = "0", timeout: float = 30.0,
        project_id: str = "",
    ) -> list[Event]:  # fmt: skip
        """Waits until so many agents are done with a phase, also those that were before the call. Raises
        NotEnoughEventsError, with those that are done."""
        wanted = exactly("phase", phase) + (f",{filter}" if filter else "")
        return await self.collect(
            agents, [PHASE_COMPLETE], distinct="publisher", filter=wanted, since=since, timeout=timeout,
            project_id=project_id,
        )  # fmt: skip

    # -- circuit breakers --------------------------------------------------------------------------------------

    def circuit(self, name: str, *, max_failures: int = 3, open_seconds: float = 60.0, project_id: str = "") -> Circuit:
        """Returns a circuit breaker that all agents of the project share.

        After ``max_failures`` in a row, calls are refused for ``open_seconds``. Then one agent may try; if that fails,
        the time begins again.
        """
        return Circuit(self._events, name, max_failures, open_seconds, project_id)


def _value(event: Event, distinct: str) -> str:
    if not distinct:
        return event.event_id
    return event.publisher if distinct == "publisher" else repr(event.data.get(distinct))


class _Waiting:
    """Long polls one after the other, until a deadline."""

    def __init__(
        self, events: Events, event_types: Sequence[str], filter: str, since: str, timeout: float, project_id: str
    ) -> None:
        types = "|".join(exactly("event_type", each) for each in event_types)
        self._events = events
        self._filter = ",".join(each for each in (types, filter) if each)
        self._since = since
        self._deadline = monotonic() + timeout
        self._project_id = project_id
        self._buffer: list[Event] = []
        self._backoff = Backoff()

    async def next(self) -> Event | None:
        """Returns the next event; None when the time is up."""
        if self._since == "$":
            # A poll that ends without events has no cursor to continue at.
            newest = (await self._events.list(limit=1, project_id=self._project_id)).events
            self._since = newest[0].event_id if newest else "0"
        while not self._buffer:
            left = self._deadline - monotonic()
            try:
                page = await self._events.wait(
                    filter=self._filter,
                    since=self._since,
                    timeout=min(max(left, 0.0), _MAX_POLL_SECONDS),
                    project_id=self._project_id,
                )
            except SidecarError as problem:
                # A sidecar that restarts; the cursor is still good.
                if not is_lost(problem) or left <= 0:
                    raise
                await asyncio.sleep(min(left, self._backoff.failed()))
                continue
            self._backoff.succeeded()
            self._buffer = list(page.events)
            self._since = page.next_cursor or self._since
            if left <= 0 and not self._buffer:
                return None
        return self._buffer.pop(0)

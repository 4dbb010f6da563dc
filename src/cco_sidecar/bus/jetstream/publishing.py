"""Publishes messages: one at a time, or several in one atomic batch (NATS 2.12), until their fate is known."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from nats.js.errors import APIError

from cco_sidecar.bus.base import FROM_OLDEST, Outgoing, Published
from cco_sidecar.bus.jetstream import messages
from cco_sidecar.bus.jetstream.connection import FAILURES, REQUEST_SECONDS, Connection
from cco_sidecar.bus.jetstream.streams import Streams
from cco_sidecar.core.errors import Kind, SidecarError

log = logging.getLogger(__name__)

# How long a message is sent again while nobody answers, such as until a new leader is elected; the stream stores it
# once.
_PATIENCE_SECONDS = 15.0
_PAUSE_SECONDS = 0.1
# Of NATS, for one batch.
MAX_BATCH = 1000

# Errors of JetStream (server/errors.json).
WRONG_LAST = frozenset({10071, 10164})
DUPLICATE_IN_BATCH = 10201
# A message with the same id, or too many batches, are under way.
_PASSING = frozenset({10158, 10167, 10175, 10176, 10210})
# A stream takes 50, of all sidecars.
_BATCHES_AT_ONCE = 10


@dataclass(slots=True)
class Sent:
    """A message that is being published. ``published`` is set once the stream has brought it back."""

    outgoing: Outgoing
    published: asyncio.Future[Published]
    call: str = field(default_factory=lambda: secrets.token_hex(8))
    payload: bytes = b""

    def headers(self) -> dict[str, str]:
        event = self.outgoing.event
        key = event.idempotency_key
        # Without a key, the call itself: it may be sent again when its answer is lost.
        identity = sha256(f"{event.publisher}\0{key}".encode()).hexdigest()[:32] if key else self.call
        if self.outgoing.once:
            identity = self.outgoing.once
        return {
            messages.CALL: self.call,
            messages.TTL: str(self.outgoing.ttl),
            messages.MESSAGE_ID: identity,
        }


class Publisher:
    """``failing``: the last message was not stored."""

    def __init__(self, connection: Connection, streams: Streams) -> None:
        self._connection = connection
        self._streams = streams
        self._batches = asyncio.Semaphore(_BATCHES_AT_ONCE)
        self.failing = False

    async def send(self, sent: Sequence[Sent]) -> int:
        """Publishes messages of one project, all or none. Returns once they are stored; the number of the first if
        there was one message and the stream had it already, otherwise 0. Raises APIError, or SidecarError (STR_001) if
        nobody answers."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + _PATIENCE_SECONDS, _PAUSE_SECONDS
        while True:
            try:
                seq = await (self._one(sent[0]) if len(sent) == 1 else self._batch(sent))
            except APIError as problem:
                if not _may_pass(problem):
                    self.failing = False
                    raise
                reason: BaseException = problem
            except FAILURES as problem:
                reason = problem
            else:
                self.failing = False
                return seq
            if loop.time() > until:
                self.failing = True
                raise _not_stored(reason)
            await asyncio.sleep(pause)
            pause = min(1.0, 2 * pause)
            if all(each.published.done() for each in sent):
                return 0

    def _subject(self, sent: Sent) -> str:
        return self._streams.subject(sent.outgoing.project, sent.outgoing.event.topic)

    async def _one(self, sent: Sent) -> int:
        headers = sent.headers() | _condition(sent.outgoing)
        stored = await self._connection.jetstream.publish(
            self._subject(sent), sent.payload, REQUEST_SECONDS, headers=headers
        )
        return stored.seq if stored.duplicate else 0

    async def _batch(self, sent: Sequence[Sent]) -> int:
        async with self._batches:
            await self._send_batch(sent)
        return 0

    async def _send_batch(self, sent: Sequence[Sent]) -> None:
        batch = {messages.BATCH_ID: secrets.token_hex(8)}
        client = self._connection.client
        conditions = _first_of_topic(sent)
        # Nobody answers those before the last one unless something is wrong.
        for number, each in enumerate(sent, start=1):
            headers = each.headers() | batch | {messages.BATCH_SEQUENCE: str(number)}
            headers |= conditions.get(number, {})
            if number == len(sent):
                headers[messages.BATCH_COMMIT] = "1"
                answer = await client.request(
                    self._subject(each), each.payload, timeout=REQUEST_SECONDS, headers=headers
                )
                _check(answer.data)
            elif number == 1:
                answer = await client.request(
                    self._subject(each), each.payload, timeout=REQUEST_SECONDS, headers=headers
                )
                if answer.data:
                    _check(answer.data)
            else:
                await client.publish(self._subject(each), each.payload, headers=headers)


def _condition(outgoing: Outgoing) -> dict[str, str]:
    expected = outgoing.expected_last
    if not expected:
        return {}
    return {messages.EXPECTED_LAST: "0" if expected == FROM_OLDEST else str(int(expected.rpartition("-")[2]))}


def _first_of_topic(sent: Sequence[Sent]) -> dict[int, dict[str, str]]:
    """Returns the conditions by the number of their message: of a batch, the first of a subject carries it."""
    first: dict[str, int] = {}
    found: dict[int, dict[str, str]] = {}
    for number, each in enumerate(sent, start=1):
        at = first.setdefault(each.outgoing.event.topic, number)
        if each.outgoing.expected_last:
            found[at] = _condition(each.outgoing)
    return found


def _check(data: bytes) -> None:
    """Raises APIError if an answer is one."""
    answer = json.loads(data)
    if "error" in answer:
        raise APIError.from_error(answer["error"])


def _may_pass(problem: APIError) -> bool:
    """Reports whether the same message may be stored later: there is no leader, or too much is under way."""
    return (problem.code or 0) >= 500 or problem.err_code in _PASSING


def _not_stored(problem: BaseException) -> SidecarError:
    text = (
        f"NATS did not say that the event is stored ({problem or 'no answer'}); publish it again with the same "
        "idempotency_key, which stores it once"
    )
    error = SidecarError(Kind.INTERNAL, "STR_001", text, retry_after_seconds=1)
    error.__cause__ = problem
    return error


def fail(sent: Sequence[Sent], problem: SidecarError) -> None:
    """Tells those who wait for messages that are not settled yet."""
    for each in sent:
        if not each.published.done():
            each.published.set_exception(problem)

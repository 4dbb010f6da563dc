"""Clients that do not read, and clients that leave."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from typing import Any

import pytest

from cco_sidecar.gateway import exchange, replies, requests
from cco_sidecar.gateway.cors import Cors
from cco_sidecar.gateway.documents import Document
from cco_sidecar.gateway.exchange import Exchange
from cco_sidecar.gateway.incoming import Dependencies

SCOPE = {
    "type": "http",
    "method": "GET",
    "raw_path": b"/document",
    "query_string": b"",
    "headers": [(b"host", b"localhost")],
    "client": ("127.0.0.1", 1),
}


class Client:
    """Takes so many messages of a response, and reads no more after that."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.messages: list[Mapping[str, Any]] = []

    async def send(self, message: Mapping[str, Any]) -> None:
        if len(self.messages) == self.takes:
            await asyncio.Event().wait()
        self.messages.append(message)

    async def receive(self) -> Mapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}


def exchanged(client: Client) -> Exchange:
    """A request for a document of a megabyte: four parts."""
    documents: Any = {"/document": Document(b"x" * 2**20)}
    empty: Any = {}
    needs = Dependencies(empty, empty, documents, Cors([]), requests.Discards())
    return Exchange(needs, SCOPE, client.receive, client.send)


async def finished(exchange: Exchange) -> int:
    """Serves it to its end by itself; returns how many cancellations are left in its task."""

    async def run() -> int:
        await exchange.run()
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    running = asyncio.create_task(run())
    done, _ = await asyncio.wait({running}, timeout=10)
    running.cancel()
    assert done, "it does not end"
    return running.result()


async def test_a_client_that_stops_reading_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_UNREAD_SECONDS", 0.01)
    client = Client(takes=3)
    assert await finished(exchanged(client)) == 0
    assert len(client.messages) == 3


async def test_clients_share_the_body_of_a_document() -> None:
    client = Client(takes=9)
    needs = exchanged(client)
    await finished(needs)
    document = needs.needs.documents.get("/document")
    assert document is not None
    parts = [message["body"] for message in client.messages[1:]]
    assert len(parts) == 4 and b"".join(parts) == document.body
    assert all(isinstance(part, memoryview) and part.obj is document.body for part in parts)


async def test_a_document_is_compressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compress, times = replies.gzipped, 0

    async def counted(body: bytes, **more: Any) -> bytes:
        nonlocal times
        times += 1
        return await compress(body, **more)

    monkeypatch.setattr(replies, "gzipped", counted)
    document = Document(b"x" * 2**20)
    gone = asyncio.ensure_future(document.gzipped())
    await asyncio.sleep(0)
    gone.cancel()
    first, second = await asyncio.gather(document.gzipped(), document.gzipped())
    assert gzip.decompress(first) == document.body and first is second and times == 1


async def test_a_call_ends_with_its_client() -> None:
    ended = asyncio.Event()

    async def work(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def leaves() -> Mapping[str, Any]:
        return {"type": "http.disconnect"}

    client = Client(takes=-1)
    served: Any = exchanged(client)
    served._receive = leaves
    served.body_is_read = True
    served._answer = lambda: served._unless_gone(work())
    assert await finished(served) == 0
    assert ended.is_set() and client.messages == []


async def test_a_client_that_reads_gets_all_of_it() -> None:
    client = Client(takes=-1)
    await exchanged(client).run()
    parts = [message["body"] for message in client.messages[1:]]
    assert [len(part) for part in parts] == [2**18] * 4
    assert [message.get("more_body", False) for message in client.messages[1:]] == [True, True, True, False]


async def test_a_server_that_stops_is_not_a_client_that_does_not_read() -> None:
    client = Client(takes=2)
    running = asyncio.create_task(exchanged(client).run())
    while len(client.messages) < 2:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait_for(asyncio.wait({running}), 10)
    assert running.done() and len(client.messages) == 2

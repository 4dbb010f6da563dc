"""The worst cases of `bench.fairness`: what one client may do within its limits, and what a stranger may do without a
token.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from bench.fairness_stage import CONNECT_SECONDS, PATIENCE, Stage, request_of, rpc, status_of
from tests.support.repositories import commit_all

from cco_sidecar.bus.filters import MAX_WILDCARDS
from cco_sidecar.core.bounds import MAX_ELEMENTS
from cco_sidecar.core.encoded import framed
from cco_sidecar.supervision.results import MAX_RESULT_BYTES
from cco_sidecar.testing.process import Agent
from orchestra.v1 import event_service_pb2 as events
from orchestra.v1 import result_service_pb2 as results

# Slightly below the limits for a published event, a stored result, a stored event and the
# elements of a body. Anything above is rejected, which also has a cost.
_EVENT_BODY_BYTES = 1_000_000
_RESULT_BYTES = MAX_RESULT_BYTES - 50_000
_EVENT_BYTES = 250_000
_NODES = MAX_ELEMENTS - 1000
# Calls by an architect, who has no rate limit.
_WITHOUT_END = 1_000_000
_REFUSED_BYTES = 9_900_000
_PUBLISH = "/orchestra.v1.EventService/PublishEvent"
_CREATE = "/orchestra.v1.ResultService/CreateResult"
_SUBSCRIBE = "/orchestra.v1.EventService/Subscribe"
_EVENTS = "/api/events/note"

Play = Callable[[Stage], Awaitable[None]]
Plant = Callable[[Path], None]


class Case(NamedTuple):
    """``plant`` fills the repository that the sidecar serves."""

    name: str
    what: str
    play: Play
    plant: Plant


CASES: dict[str, Case] = {}


def small(root: Path) -> None:
    (root / "README.md").write_text("# A small repository\n")
    (root / "app.py").write_text("print('hello')\n")
    commit_all(root)


def worst(name: str, what: str, plant: Plant = small) -> Callable[[Play], Play]:
    def note(play: Play) -> Play:
        CASES[name] = Case(name, what, play, plant)
        return play

    return note


# -- payloads -------------------------------------------------------------------------------------------


def lists(count: int) -> bytes:
    """JSON: a list of ``count`` empty lists, three bytes each."""
    return b"[" + b",".join([b"[]"] * count) + b"]"


def value_of_lists(count: int) -> bytes:
    """The same as a google.protobuf.Value (struct.proto: list_value is field 6, its values field 1)."""
    return framed(6, framed(1, b"\x32\x00") * count)


def struct_of(value: bytes) -> bytes:
    """A google.protobuf.Struct with one field, ``x``."""
    return framed(1, framed(1, b"x") + framed(2, value))


def result_body(agent: Agent, fields: bytes) -> bytes:
    """``fields``: JSON members of the result, in addition to its status."""
    head = json.dumps({"agent_type": agent.type, "issue_id": agent.issue})[:-1].encode()
    return b'%s, "result": {"status": "success", %s}}' % (head, fields)


def result_message(agent: Agent, fields: bytes) -> bytes:
    """``fields``: serialised fields of AgentResult, merged with its status."""
    request = results.CreateResultRequest(agent_type=agent.type, issue_id=agent.issue)
    request.result.status = results.RESULT_STATUS_SUCCESS
    return request.SerializeToString() + framed(5, fields)


def event_message(data: bytes) -> bytes:
    return events.PublishEventRequest(event_type="note").SerializeToString() + framed(4, data)


def event_body(text: str) -> bytes:
    return json.dumps({"data": {"x": text}}).encode()


def like_secrets() -> Iterator[str]:
    """Lines that look like secrets, and lines that almost do and cost more to rule out."""
    for number in range(10**9):
        yield f'password_{number} = "hunter{number}hunter{number}"\n'
        yield f"AKIA{number:016d} https://user:pa55w{number}rd@host\n"
        yield f'"api_key": "{number:040x}", token = {number:032d}\n'
        yield "secret_" * 18 + "\n"
        yield "password-" * 14 + "\n"


def secretive(size: int) -> str:
    """``size`` bytes of such lines."""
    few = "".join(islice(like_secrets(), 5000))
    return (few * (size // len(few) + 1))[:size]


# -- expensive bodies and messages ----------------------------------------------------------------------


async def post_repeatedly(stage: Stage, path: str, agent: Agent, body: bytes) -> None:
    request = request_of(stage.sidecar, "POST", path, agent, body)
    async with stage.attack():
        await stage.volley(lambda: stage.rest(request), _WITHOUT_END, at_once=2)


async def call_repeatedly(stage: Stage, path: str, agent: Agent, message: bytes, at_once: int) -> None:
    async with stage.channel() as channel, stage.attack():
        await stage.volley(lambda: rpc(channel, path, message, agent), _WITHOUT_END, at_once)


@worst("json-nodes-refused", "bodies of 9.9 MB with 3.3 million empty lists, two at a time: each is refused")
async def json_nodes_refused(stage: Stage) -> None:
    body = b'{"data": {"x": %s}}' % lists(_REFUSED_BYTES // 3)
    await post_repeatedly(stage, _EVENTS, await stage.architect(), body)


@worst("json-nodes-event", "bodies with as many empty lists as a body may have elements, two at a time, as events")
async def json_nodes_event(stage: Stage) -> None:
    body = b'{"data": {"x": %s}}' % lists(_NODES // 2)
    await post_repeatedly(stage, _EVENTS, await stage.architect(), body)


@worst("json-nodes-result", "the same bodies stored as results")
async def json_nodes_result(stage: Stage) -> None:
    agent = await stage.architect()
    body = result_body(agent, b'"x": %s' % lists(_NODES // 2))
    await post_repeatedly(stage, "/api/results", agent, body)


@worst("grpc-nodes-event", "gRPC messages with the same values, two at a time, as events")
async def grpc_nodes_event(stage: Stage) -> None:
    message = event_message(struct_of(value_of_lists(_NODES)))
    await call_repeatedly(stage, _PUBLISH, await stage.architect(), message, 2)


@worst("grpc-nodes-result", "the same gRPC messages stored as results")
async def grpc_nodes_result(stage: Stage) -> None:
    agent = await stage.architect()
    message = result_message(agent, framed(15, struct_of(value_of_lists(_NODES))))
    await call_repeatedly(stage, _CREATE, agent, message, 2)


@worst("grpc-large-messages", "gRPC messages of 4 MB, ten at a time: results with one long text each")
async def grpc_large_messages(stage: Stage) -> None:
    agent = await stage.architect()
    artifact = framed(7, framed(1, b"text") + framed(2, b"x" * 4_000_000))
    await call_repeatedly(stage, _CREATE, agent, result_message(agent, artifact), 10)


@worst(
    "json-deep", "1 MB of JSON, 500 levels deep: many short towers, and one whose keys have 1,900 bytes each; 20 bodies"
)
async def json_deep(stage: Stage) -> None:
    agent = await stage.agent()
    tower = b"[" * 498 + b"]" * 498
    keys = b'{"%s":' % (b"k" * 1_900)
    bodies = [
        b'{"data": {"x": [%s]}}' % b",".join([tower] * (_EVENT_BODY_BYTES // len(tower) - 1)),
        b'{"data": %s1%s}' % (keys * 498, b"}" * 498),
    ]
    requests = cycle(request_of(stage.sidecar, "POST", _EVENTS, agent, body) for body in bodies)
    async with stage.attack():
        await stage.volley(lambda: stage.rest(next(requests)), 20, at_once=2)


# -- events ---------------------------------------------------------------------------------------------


@worst(
    "filter-backtracks", "a long poll waits with the filter x:*???...?b; eight events of 250 kB of 'a' are published"
)
async def filter_backtracks(stage: Stage) -> None:
    agent = await stage.agent()
    wanted = quote("x:*" + "?" * 2000 + "b")
    poll = request_of(stage.sidecar, "GET", f"/api/events/wait?since=$&timeout=60000&filter={wanted}", agent)
    publish = request_of(stage.sidecar, "POST", _EVENTS, agent, event_body("a" * _EVENT_BYTES))
    waiting = asyncio.create_task(stage.rest(poll))
    try:
        async with stage.attack():
            await stage.volley(lambda: stage.rest(publish), 8, at_once=8)
    finally:
        waiting.cancel()


@worst(
    "filter-terms",
    "five events whose list has as many texts as fit; lists and a parked stream with the costliest filter for it",
)
async def filter_terms(stage: Stage) -> None:
    agent = await stage.agent()
    texts = ",".join(f'"{"x" * 1000}{number}"' for number in range(240))
    publish = request_of(stage.sidecar, "POST", _EVENTS, agent, b'{"data": {"a": [%s]}}' % texts.encode())
    for _ in range(5):
        assert await stage.rest(publish) == "202"
    wanted = quote("|".join(f"a:*{'?*' * 20}y{number}*" for number in range(MAX_WILDCARDS)))
    listing = request_of(stage.sidecar, "GET", f"/api/events?since=0&limit=1&filter={wanted}", agent)
    poll = request_of(stage.sidecar, "GET", f"/api/events/wait?since=$&timeout=60000&filter={wanted}", agent)
    waiting = asyncio.create_task(stage.rest(poll))
    try:
        async with stage.attack():
            await stage.volley(lambda: stage.rest(listing), 20, at_once=4)
            await stage.volley(lambda: stage.rest(publish), 20, at_once=4)
    finally:
        waiting.cancel()


@worst("polls-parked", "500 long polls of one architect (unlimited), a filter each, all woken by an event every second")
async def polls_parked(stage: Stage) -> None:
    architect, publisher = await stage.architect(), await stage.agent()
    publish = request_of(stage.sidecar, "POST", _EVENTS, publisher, event_body("a" * 1000))

    async def poll(number: int) -> None:
        wanted = quote(f"x:a*|n:{number}")
        path = f"/api/events/wait?since=$&timeout=2000&filter={wanted}"
        request = request_of(stage.sidecar, "GET", path, architect)
        while not stage.over:
            stage.say(await stage.rest(request))

    async def wake() -> None:
        while not stage.over:
            await asyncio.sleep(1.0)
            await stage.rest(publish)

    async with stage.attack():
        await asyncio.gather(wake(), *map(poll, range(500)))


@worst("streams-unread", "200 Subscribe streams of one architect, never read, while an agent publishes 60 large events")
async def streams_unread(stage: Stage) -> None:
    architect, publisher = await stage.architect(), await stage.agent()
    publish = request_of(stage.sidecar, "POST", _EVENTS, publisher, event_body("a" * _EVENT_BYTES))
    channels = [stage.channel() for _ in range(4)]
    streams: list[Any] = []
    try:
        async with stage.attack():
            for _, channel in zip(range(200), cycle(channels), strict=False):
                subscribe: Any = channel.unary_stream(_SUBSCRIBE)
                streams.append(subscribe(b"", metadata=architect.metadata, timeout=PATIENCE))
            await asyncio.gather(*(asyncio.wait_for(each.initial_metadata(), PATIENCE) for each in streams))
            await stage.volley(lambda: stage.rest(publish), 60, at_once=4)
            await stage.until_over()
            for each in streams:
                stage.say("stream cut" if each.done() else "stream open")
    finally:
        for each in streams:
            each.cancel()
        await asyncio.gather(*(channel.close() for channel in channels))


@worst(
    "events-listed",
    "one agent lists 40 events of as many empty lists as fit with limit=1000, up to 70 times, four at once",
)
async def events_listed(stage: Stage) -> None:
    publisher, agent = await stage.agent(), await stage.agent()
    message = event_message(struct_of(value_of_lists(_NODES)))
    async with stage.channel() as channel:
        for _ in range(40):
            assert await rpc(channel, _PUBLISH, message, publisher) == "OK"
    request = request_of(stage.sidecar, "GET", "/api/events?limit=1000&since=0", agent)
    async with stage.attack():
        await stage.volley(lambda: stage.rest(request), 70, at_once=4)


# -- results and contexts -------------------------------------------------------------------------------


def large_result(agent: Agent) -> bytes:
    return result_body(agent, b'"artifacts": {"text": "%s"}' % (b"x" * _RESULT_BYTES))


@worst("results-stored", "60 results of 2 MB of one text each, stored by one agent, four at a time")
async def results_stored(stage: Stage) -> None:
    agent = await stage.agent()
    request = request_of(stage.sidecar, "POST", "/api/results", agent, large_result(agent))
    async with stage.attack():
        await stage.volley(lambda: stage.rest(request), 60, at_once=4)


@worst("lists-unread", "60 such results are there; three GET /api/results, whose answers their client never reads")
async def lists_unread(stage: Stage) -> None:
    agent = await stage.agent()
    store = request_of(stage.sidecar, "POST", "/api/results", agent, large_result(agent))
    for _ in range(60):
        assert await stage.rest(store) == "201"
    request = request_of(stage.sidecar, "GET", "/api/results", agent)
    readers = []
    try:
        async with stage.attack():
            for _ in range(3):
                readers.append(socket.create_connection(("127.0.0.1", stage.sidecar.port), CONNECT_SECONDS))
                readers[-1].sendall(request)
            await stage.until_over()
            # Includes what the server does afterwards.
            await asyncio.gather(*(asyncio.to_thread(first_status, each, stage) for each in readers))
    finally:
        for each in readers:
            each.close()


def first_status(reader: socket.socket, stage: Stage) -> None:
    """Reads the status line only."""
    reader.settimeout(PATIENCE)
    try:
        stage.say(f"{reader.recv(12, socket.MSG_PEEK)[9:].decode() or 'closed'}")
    except TimeoutError:
        stage.say("no answer")
    except OSError:
        stage.say("closed")


@worst(
    "results-secretive",
    "five results of 2 MB that look like secrets are stored; then each of five agents of the issue, of five types, "
    "reads its context, all at once",
)
async def results_secretive(stage: Stage) -> None:
    types = ("python-specialist", "go-specialist", "rust-specialist", "debugger", "qa-engineer")
    agents = [await stage.agent(each) for each in types]
    decision = json.dumps(secretive(_RESULT_BYTES * 8 // 10)).encode()
    for agent in agents:
        body = result_body(agent, b'"decisions": [%s]' % decision)
        assert await stage.rest(request_of(stage.sidecar, "POST", "/api/results", agent, body)) == "201"
    reads = iter([request_of(stage.sidecar, "GET", f"/api/context/{a.issue}/{a.type}", a) for a in agents])
    async with stage.attack():
        await stage.volley(lambda: stage.rest(next(reads)), len(agents), at_once=len(agents))


def takes_everything(root: Path) -> None:
    """A project-defined agent type that wants every file."""
    own = {"codingAgents": [{"type": "takes-everything", "file_patterns": ["*"]}]}
    (root / "config").mkdir()
    (root / "config" / "orchestra-config.json").write_text(json.dumps(own))


def many_files(root: Path) -> None:
    takes_everything(root)
    text = secretive(12_500)
    for number in range(2000):
        place = root / f"package{number % 40}" / f"module{number}.py"
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"# Module {number}\n{text}")
    commit_all(root)


def one_large_file(root: Path) -> None:
    takes_everything(root)
    (root / "settings.yaml").write_text(secretive(25_000_000))
    commit_all(root)


async def read_contexts(stage: Stage, issues: int) -> None:
    architect = await stage.architect()
    paths = [f"/api/context/issue-{number}/takes-everything" for number in range(issues)]
    requests = iter([request_of(stage.sidecar, "GET", path, architect) for path in paths])
    async with stage.attack():
        await stage.volley(lambda: stage.rest(next(requests)), issues, at_once=issues)


@worst(
    "context-first",
    "the first contexts of a repository of 2,000 files and 25 MB that look full of secrets, for a type that takes "
    "everything: ten issues at once on one architect's token (it may read every issue)",
    many_files,
)
async def context_first(stage: Stage) -> None:
    await read_contexts(stage, 10)


@worst("context-one-large-file", "the same of a repository whose 25 MB are one file; one issue", one_large_file)
async def context_one_large_file(stage: Stage) -> None:
    await read_contexts(stage, 1)


# -- connections ----------------------------------------------------------------------------------------


@worst("endless-header", "no token: one header line of a raw connection that never ends, at most 512 MB")
async def endless_header(stage: Stage) -> None:
    async with stage.attack():
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", stage.sidecar.port), PATIENCE)
        try:
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
            stage.say(await _until_answered(stage, reader, writer, b"a" * 2**16, most=2**29))
        finally:
            writer.close()


@worst("endless-trailers", "no token: a chunked request whose trailers never end, at most 512 MB")
async def endless_trailers(stage: Stage) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    async with stage.attack():
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", stage.sidecar.port), PATIENCE)
        try:
            writer.write(head)
            stage.say(await _until_answered(stage, reader, writer, b"a:b\r\n" * 13_000, most=2**29))
        finally:
            writer.close()


@worst("pipelines", "no token: 14,000 requests written at once to each of 100 connections, again and again")
async def pipelines(stage: Stage) -> None:
    flood = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 14_000

    async def pour() -> None:
        while not stage.over:
            try:
                opening = asyncio.open_connection("127.0.0.1", stage.sidecar.port)
                _, writer = await asyncio.wait_for(opening, CONNECT_SECONDS)
                writer.write(flood)
                await asyncio.wait_for(writer.drain(), 1.0)
                writer.close()
                stage.say("poured")
            except (OSError, TimeoutError):
                stage.say("closed")

    async with stage.attack():
        await asyncio.gather(*(pour() for _ in range(100)))


@worst("many-headers", "no token: as many headers as are allowed, again and again on 20 connections")
async def many_headers(stage: Stage) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"".join(
        b"a%d: %s\r\n" % (n, b"x" * 500) for n in range(120)
    )

    async def ask() -> None:
        while not stage.over:
            stage.say(await stage.rest(request + b"\r\n"))

    async with stage.attack():
        await asyncio.gather(*(ask() for _ in range(20)))


async def _until_answered(
    stage: Stage, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, part: bytes, most: int, pause: float = 0.0
) -> str:
    """Sends until there is an answer or time runs out; returns the status."""
    answer = asyncio.ensure_future(status_of(reader))
    sent = 0
    try:
        while not answer.done() and not stage.over:
            if sent < most:
                writer.write(part)
                sent += len(part)
                with suppress(TimeoutError):
                    await asyncio.wait_for(writer.drain(), PATIENCE)
            await asyncio.sleep(pause if sent < most else 0.1)
        await asyncio.sleep(0.1)
        return answer.result() if answer.done() else "no answer"
    except (OSError, EOFError):
        return "closed"
    finally:
        answer.cancel()


async def send_slowly(stage: Stage, announced: int, part: bytes, most: int, pause: float) -> None:
    """Announces a body and sends it in parts, on 50 connections of one agent."""
    agent = await stage.agent()
    head = request_of(stage.sidecar, "POST", _EVENTS, agent, length=announced)

    async def send() -> None:
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", stage.sidecar.port), PATIENCE)
        try:
            writer.write(head)
            stage.say(await _until_answered(stage, reader, writer, part, most, pause))
        finally:
            writer.close()

    async with stage.attack():
        await asyncio.gather(*(send() for _ in range(50)))


@worst("slow-bodies", "bodies announced as 50 MB and sent slowly, on 50 connections of one agent")
async def slow_bodies(stage: Stage) -> None:
    await send_slowly(stage, 50_000_000, b" " * 2**14, 50_000_000, pause=0.1)


@worst("slow-bodies-allowed", "bodies announced as 1 MB on 50 connections of one agent: all sent but the last 1%")
async def slow_bodies_allowed(stage: Stage) -> None:
    await send_slowly(stage, _EVENT_BODY_BYTES, b" " * 2**17, _EVENT_BODY_BYTES * 99 // 100 - 2**17, pause=0.0)


@worst("idle-connections", "no token: 1,200 idle connections to REST and 300 to gRPC; the server may open 1,024 files")
async def idle_connections(stage: Stage) -> None:
    ports = [stage.sidecar.port] * 1200 + [stage.sidecar.grpc_port] * 300
    held: list[asyncio.StreamWriter] = []
    few = asyncio.Semaphore(50)

    async def hold(port: int) -> None:
        try:
            async with few:
                opening = asyncio.open_connection("127.0.0.1", port)
                reader, writer = await asyncio.wait_for(opening, CONNECT_SECONDS)
        except (OSError, TimeoutError):
            stage.say("refused")
            return
        held.append(writer)
        await stage.until_over()
        # The first bytes of a gRPC server do not matter; what counts is whether it closed the connection.
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(reader.read(1000), 0.1)
        stage.say("closed" if reader.at_eof() else "held")

    try:
        async with stage.attack():
            await asyncio.gather(*map(hold, ports))
    finally:
        for writer in held:
            writer.close()


@worst("pipelined", "2,000 requests written at once to one connection of one agent (its limit refuses most); 10 rounds")
async def pipelined(stage: Stage) -> None:
    agent = await stage.agent()
    request = request_of(stage.sidecar, "GET", "/api/events?limit=1", agent)

    async def once() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.sidecar.port)
        try:
            writer.write(request * 2000)
            for _ in range(2000):
                stage.say(await status_of(reader))
        except (OSError, EOFError):
            stage.say("closed")
        finally:
            writer.close()

    async with stage.attack():
        for _ in range(10):
            if not stage.over:
                await asyncio.wait_for(once(), PATIENCE)

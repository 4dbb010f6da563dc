"""The tools of the Model Context Protocol, with the official client: over stdio and over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import requests
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from tests.support.sidecars import fresh
from tests.wire.test_sessions import Place

from cco_sidecar.testing.process import Agent, SidecarProcess, run_cco

ORIGINAL = {
    "list_agent_blueprints",
    "list_agent_sessions",
    "start_agent_session",
    "resume_agent_session",
    "get_agent_session_status",
    "get_agent_session_result",
    "delete_all_agent_sessions",
    *(
        "doc_link",
        "doc_create",
        "doc_query",
        "doc_search",
        "doc_info",
        "doc_read",
        "doc_write",
        "doc_edit",
        "doc_delete",
    ),
}
Connect = Callable[[SidecarProcess, Agent], AbstractAsyncContextManager[Client]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Place(tmp_path_factory.mktemp("mcp"))
    yield made
    made.sidecar.stop()


@asynccontextmanager
async def over_stdio(sidecar: SidecarProcess, agent: Agent) -> AsyncIterator[Client]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("CCO_", "JWT_", "SIDECAR_"))}
    environment = clean | {
        "SIDECAR_URL": sidecar.url,
        "SIDECAR_GRPC": sidecar.target,
        "JWT_TOKEN": agent.token,
        "HOME": str(sidecar.storage.parent),
    }
    program = StdioServerParameters(command=str(Path(sys.executable).with_name("cco")), args=["mcp"], env=environment)
    async with Client(stdio_client(program)) as client:
        yield client


@asynccontextmanager
async def over_http(sidecar: SidecarProcess, agent: Agent) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers=agent.headers, timeout=60) as http,
        Client(streamable_http_client(f"{sidecar.url}/mcp", http_client=http)) as client,
    ):
        yield client


@pytest.fixture(params=[over_stdio, over_http], ids=["stdio", "http"])
def connect(request: pytest.FixtureRequest) -> Connect:
    chosen: Connect = request.param
    return chosen


async def told(client: Client, tool: str, **arguments: Any) -> str:
    found = await client.call_tool(tool, arguments)
    text = "".join(part.text for part in found.content if part.type == "text")
    assert not found.is_error, text
    return text


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    found = await client.call_tool(tool, arguments)
    assert found.is_error, found
    return "".join(part.text for part in found.content if part.type == "text")


async def test_the_whole_cycle_of_a_session(place: Place, connect: Connect) -> None:
    async with connect(place.sidecar, place.sidecar.operator) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools.keys() >= ORIGINAL
        arguments = tools["start_agent_session"].input_schema["properties"]
        assert {"session_name", "prompt", "agent_blueprint_name", "async", "mode"} <= arguments.keys()
        assert "calls" not in arguments and "ctx" not in arguments
        name = fresh("s")
        assert json.loads(await told(client, "get_agent_session_status", session_name=name)) == {
            "status": "not_existent"
        }
        assert await told(client, "start_agent_session", session_name=name, prompt="say:one say:two") == "two"
        assert json.loads(await told(client, "get_agent_session_status", session_name=name))["status"] == "finished"
        assert await told(client, "resume_agent_session", session_name=name, prompt="say:three") == "three"
        assert await told(client, "get_agent_session_result", session_name=name) == "three"
        assert f"**{name}**: finished" in await told(client, "list_agent_sessions")
        listed = json.loads(await told(client, "list_agent_sessions", response_format="json"))
        assert name in [each["name"] for each in listed["sessions"]]
        assert "python-specialist" in await told(client, "list_agent_blueprints")


async def test_a_session_in_the_background(place: Place, connect: Connect) -> None:
    async with connect(place.sidecar, place.sidecar.operator) as client:
        name, gate = fresh("s"), fresh("gate")
        prompt = f"until:{gate} say:late"
        started = json.loads(
            await told(client, "start_agent_session", session_name=name, prompt=prompt, **{"async": True})
        )
        assert (started["session_name"], started["status"]) == (name, "running")
        assert "still running" in await refused(client, "get_agent_session_result", session_name=name)
        place.note(gate)
        waited = await told(client, "get_agent_session_status", session_name=name, wait_seconds=30)
        assert json.loads(waited)["status"] == "finished"
        assert await told(client, "get_agent_session_result", session_name=name) == "late"


async def test_errors_are_errors(place: Place, connect: Connect) -> None:
    async with connect(place.sidecar, place.sidecar.operator) as client:
        name = fresh("s")
        await told(client, "start_agent_session", session_name=name, prompt="say:x")
        assert "SES_002" in await refused(client, "start_agent_session", session_name=name, prompt="say:x")
        assert "failed: " in await refused(client, "start_agent_session", session_name=fresh("s"), prompt="fail:3")
        assert "SES_001" in await refused(client, "resume_agent_session", session_name="nobody", prompt="x")
        assert "wait_seconds" in await refused(client, "get_agent_session_status", session_name=name, wait_seconds=301)
        assert "DOC_001" in await refused(client, "doc_read", document_id="doc_0")


async def test_documents(place: Place, connect: Connect) -> None:
    agent = place.sidecar.agent(project=fresh("p"))
    async with connect(place.sidecar, agent) as client:
        made = json.loads(await told(client, "doc_create", name="plan.md", content="one two", tags="a,b"))
        document = made["document_id"]
        assert [each["filename"] for each in json.loads(await told(client, "doc_query", tags="b"))] == ["plan.md"]
        assert document in await told(client, "doc_search", query="two")
        assert await told(client, "doc_read", document_id=document, offset=4, limit=2) == "tw"
        await told(client, "doc_edit", document_id=document, old_string="one", new_string="1", expected_revision=1)
        late = {"document_id": document, "content": "mine", "expected_revision": 1}
        assert "DOC_002" in await refused(client, "doc_write", **late)
        await told(client, "doc_edit", document_id=document, offset=0, length=0, new_string="> ")
        assert await told(client, "doc_read", document_id=document) == "> 1 two"
        assert json.loads(await told(client, "doc_info", document_id=document))["revision"] == 3
        other = json.loads(await told(client, "doc_create", name="other.md"))["document_id"]
        both = {"from_document_id": document, "to_document_id": other}
        linked = json.loads(await told(client, "doc_link", **both, relation_type="parent-child"))
        assert linked["relation_type"] == "child"
        assert "DOC_003" in await refused(client, "doc_link", **both, relation_type="parent-child")
        assert json.loads(await told(client, "doc_link", from_document_id=other))["parent"][0]["id"] == linked["id"]
        await told(client, "doc_link", from_document_id=document, remove_id=linked["id"])
        assert json.loads(await told(client, "doc_link", from_document_id=document)) == {}
        await told(client, "doc_delete", document_id=document)
        long = json.loads(await told(client, "doc_create", name="long.md", content="x" * 30_000))
        text = await told(client, "doc_read", document_id=long["document_id"])
        assert len(text) < 25_100 and text.endswith("[cut after 25,000 characters]")


async def test_files_are_pushed_and_pulled_only_where_they_are(place: Place, tmp_path: Path) -> None:
    async with over_http(place.sidecar, place.sidecar.operator) as client:
        assert "doc_push" not in {tool.name for tool in (await client.list_tools()).tools}
    (tmp_path / "a.bin").write_bytes(b"\xff\x00")
    async with over_stdio(place.sidecar, place.sidecar.operator) as client:
        pushed = json.loads(await told(client, "doc_push", file_path=str(tmp_path / "a.bin"), name="b.bin"))
        assert (pushed["filename"], pushed["size_bytes"]) == ("b.bin", 2)
        target = {"document_id": pushed["document_id"], "output_path": str(tmp_path / "c.bin")}
        assert json.loads(await told(client, "doc_pull", **target))["size_bytes"] == 2
        assert (tmp_path / "c.bin").read_bytes() == b"\xff\x00"
        assert "absolute" in await refused(client, "doc_push", file_path="a.bin")
        assert "No such file" in await refused(client, "doc_push", file_path=str(tmp_path / "none"))


async def test_the_team_works_with_the_permissions_of_the_token(place: Place, connect: Connect) -> None:
    project = fresh("p")
    agent = place.sidecar.agent(issue="I-1", project=project)
    async with connect(place.sidecar, agent) as client:
        assert "AUTH_003" in await refused(client, "spawn_agent", agent_type="debugger", issue_id="I-1", task="t")
        assert "AUTH_003" in await refused(client, "start_agent_session", session_name=fresh("s"), prompt="say:x")
        published = json.loads(await told(client, "publish_event", event_type="tests_passing", data={"n": 1}))
        waited = json.loads(await told(client, "wait_for_event", event_type="tests_passing", since="0"))
        assert [each["event_id"] for each in waited["events"]] == [published["event_id"]]
        assert "tests_passing" in await told(client, "list_events", event_type="tests_passing")
        stored = json.loads(await told(client, "store_result", result={"decisions": ["Done"]}))
        assert stored["id"] in await told(client, "list_results")
        assert "relevant_files" in await told(client, "get_context", issue_id="I-1", agent_type="python-specialist")
        asked = json.loads(await told(client, "request_approval", question="May I?"))
        answered = json.loads(await told(client, "get_approval", approval_id=asked["approval_id"]))
        assert answered["status"] == "pending"
    architect = place.sidecar.agent("chief-architect", issue="I-1", project=project)
    async with connect(place.sidecar, architect) as client:
        body = {"agent_type": "debugger", "issue_id": "I-1", "task": "until:never"}
        spawned = json.loads(await told(client, "spawn_agent", **body))
        assert "jwt_token" not in spawned
        assert spawned["agent_id"] in await told(client, "list_agents", issue_id="I-1")
        assert json.loads(await told(client, "stop_agent", agent_id=spawned["agent_id"]))["stopped"] is True


def test_over_http_a_token_is_required(place: Place) -> None:
    url = f"{place.sidecar.url}/mcp"
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Accept": "application/json, text/event-stream"}
    assert requests.post(url, json=body, headers=headers, timeout=10).status_code == 401
    wrong = headers | {"Authorization": "Bearer nonsense"}
    assert requests.post(url, json=body, headers=wrong, timeout=10).json()["code"] == "AUTH_001"
    right = headers | place.sidecar.operator.headers
    elsewhere = right | {"Origin": "http://evil.example"}
    assert requests.post(url, json=body, headers=elsewhere, timeout=10).status_code == 403
    assert requests.post(url, json=body, headers=right, timeout=20).status_code == 200


async def test_a_callback_needs_a_session_to_call_back(place: Place) -> None:
    async with over_http(place.sidecar, place.sidecar.operator) as client:
        text = await refused(
            client, "start_agent_session", session_name=fresh("s"), prompt="say:x", mode="async_callback"
        )
        assert "needs a parent" in text


async def test_arguments_that_do_not_exist_are_named(place: Place, connect: Connect) -> None:
    async with connect(place.sidecar, place.sidecar.operator) as client:
        name = fresh("s")
        said = await refused(
            client, "start_agent_session", session_name=name, prompt="say:x", blueprint="code-reviewer"
        )
        assert "unknown argument 'blueprint'; did you mean 'agent_blueprint_name'?" in said
        assert json.loads(await told(client, "get_agent_session_status", session_name=name))["status"] == "not_existent"
        said = await refused(client, "doc_query", limit="many", name=5)
        assert "pydantic" not in said and "name: input should be a valid string" in said and "limit: " in said
        assert "query: field required" in await refused(client, "doc_search")


async def test_null_is_an_argument_that_is_not_given(place: Place, connect: Connect) -> None:
    agent = place.sidecar.agent(project=fresh("p"))
    async with connect(place.sidecar, agent) as client:
        made = json.loads(await told(client, "doc_create", name="m.md", content="x", tags=None, description=None))
        assert json.loads(await told(client, "doc_query", name=None, tags=None, limit=None))[0]["filename"] == "m.md"
        assert "document_id" in await refused(client, "doc_info", document_id=None)
        tagged = json.loads(await told(client, "doc_create", name="n.md", tags=["a", "b"]))
        assert (tagged["tags"], made.get("tags", [])) == (["a", "b"], [])


async def test_calls_that_wait_or_are_cancelled_hold_nobody_up(place: Place, connect: Connect) -> None:
    agent = place.sidecar.agent(project=fresh("p"))
    async with connect(place.sidecar, agent) as client:
        waiting = {"event_type": fresh("never"), "timeout_seconds": 120}
        calls = [asyncio.create_task(client.call_tool("wait_for_event", waiting)) for _ in range(40)]
        await asyncio.wait_for(told(client, "doc_query"), 20)
        for each in calls:
            each.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.wait_for(told(client, "doc_query"), 20)


def test_over_stdio_the_server_ends_with_its_input(place: Place) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {"name": "wait_for_event", "arguments": {"event_type": fresh("never"), "timeout_seconds": 120}},
    }
    begin = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    lines = [begin, {"jsonrpc": "2.0", "method": "notifications/initialized"}, call]
    ran = run_cco(place.sidecar, "mcp", input="".join(json.dumps(line) + "\n" for line in lines))
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[0])["id"] == 1


def test_without_a_sidecar_the_command_says_so(place: Place) -> None:
    ran = run_cco(place.sidecar, "mcp", "--sidecar-url", "http://127.0.0.1:1", input="")
    assert ran.returncode == 1 and "no sidecar answers at http://127.0.0.1:1" in ran.stderr


def test_over_http_what_cannot_be_answered_is_refused(place: Place) -> None:
    url, operator = f"{place.sidecar.url}/mcp", place.sidecar.operator.headers
    headers = operator | {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    listened = requests.get(url, headers=headers, timeout=10)
    assert (listened.status_code, listened.headers["allow"]) == (405, "POST")
    many = requests.post(url, data="[" + ",".join(["{}"] * 30_000) + "]", headers=headers, timeout=20)
    assert (many.status_code, many.json()["code"]) == (413, "REQ_004")
    large = requests.post(url, data=b'"' + b"x" * (18 * 2**20), headers=headers, timeout=20)
    assert large.status_code == 413

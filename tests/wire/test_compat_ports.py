"""The ports of the Agent Orchestrator Framework: routes, bodies, codes, frames, and who gets in."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import websockets
from tests.support.sidecars import call, events, fresh, until

from cco_sidecar.testing.process import SidecarProcess, run_cco

EXPORT = re.compile(r"export (\w+)=(\S+)")


class Ports:
    """A sidecar with the ports, and the addresses that the command prints."""

    def __init__(self, directory: Path, more: dict[str, Any] | None = None) -> None:
        (directory / "root").mkdir(exist_ok=True)
        config = directory / "config.json"
        ports = {"ports": True, "runtime_port": 0, "store_port": 0, "registry_port": 0}
        origins = {"cors_origins": ["http://allowed.example"]}
        config.write_text(json.dumps({"compat": ports, "sidecar": origins} | (more or {})))
        self.sidecar = SidecarProcess(directory / "storage", directory / "root", config=config)
        self.environment = self.env()
        self.runtime = self.environment["AGENT_ORCHESTRATOR_SESSION_API_URL"]
        self.registry = self.environment["AGENT_ORCHESTRATOR_AGENT_API_URL"]
        host, port = self.environment["DOC_SYNC_HOST"], self.environment["DOC_SYNC_PORT"]
        self.store = f"http://{host}:{port}"

    def env(self, *arguments: str) -> dict[str, str]:
        ran = run_cco(self.sidecar, "compat", "env", *arguments)
        assert ran.returncode == 0, ran.stderr
        return dict(EXPORT.findall(ran.stdout))


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    made = Ports(tmp_path_factory.mktemp("ports"))
    yield made
    made.sidecar.stop()


def answered(method: str, url: str, status: int = 200, **more: Any) -> Any:
    answer = requests.request(method, url, timeout=30, **more)
    assert answer.status_code == status, (answer.status_code, answer.text)
    return answer.json() if answer.content else None


def event(session: dict[str, Any], kind: str, **fields: Any) -> dict[str, Any]:
    common = {"session_id": session["session_id"], "session_name": session["session_name"]}
    return {"event_type": kind, "timestamp": "2025-12-01T10:00:00+00:00"} | common | fields


def started(ports: Ports, **more: Any) -> dict[str, Any]:
    body = {"session_id": fresh("id"), "session_name": fresh("name"), "project_dir": "/p", "agent_name": "web"} | more
    session: dict[str, Any] = answered("POST", f"{ports.runtime}/sessions", json=body)["session"]
    return session


def said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


# -- Agent Runtime -----------------------------------------------------------------------------------------


def test_a_session_as_the_commands_report_it(ports: Ports) -> None:
    session = started(ports)
    assert session["status"] == "running" and session["last_resumed_at"] is None
    assert (session["project_dir"], session["agent_name"]) == ("/p", "web")
    at = f"{ports.runtime}/sessions/{session['session_id']}"
    assert answered("GET", at) == {"session": session}
    assert answered("GET", f"{at}/status") == {"status": "running"}
    assert answered("GET", f"{at}/result", 400) == {"detail": "Session not finished"}
    tool = {"tool_name": "Read", "tool_input": {"path": "a"}, "tool_output": "text", "error": None}
    for each in (
        event(session, "message", **said("user", "q")),
        event(session, "post_tool", **tool),
        event(session, "message", **said("assistant", "a")),
        event(session, "session_stop", exit_code=0, reason="completed"),
    ):
        assert answered("POST", f"{at}/events", json=each) == {"ok": True}
    assert answered("GET", f"{at}/status") == {"status": "finished"}
    assert answered("GET", f"{at}/result") == {"result": "a"}
    found = answered("GET", f"{at}/events")["events"]
    assert [each["event_type"] for each in found] == ["message", "post_tool", "message", "session_stop"]
    assert found[1] | tool == found[1] and found[1]["timestamp"] == "2025-12-01T10:00:00Z"
    assert (found[3]["exit_code"], found[3]["reason"], found[3]["role"]) == (0, "completed", None)
    assert [each["id"] for each in answered("GET", f"{at}/events?after=1&limit=2")["events"]] == [2, 3]
    resumed = event(session, "session_start")
    answered("PATCH", f"{at}/metadata", json={"last_resumed_at": "2025-12-01T10:00:00+00:00"})
    answered("POST", f"{at}/events", json=resumed)
    assert answered("GET", f"{at}/status") == {"status": "running"}
    assert session["session_id"] in [
        each["session_id"] for each in answered("GET", f"{ports.runtime}/sessions")["sessions"]
    ]
    gone = answered("DELETE", at)
    assert gone == {"ok": True, "session_id": session["session_id"], "deleted": {"session": True, "events_count": 5}}


def test_what_the_runtime_answers_to_mistakes(ports: Ports) -> None:
    session = started(ports)
    unknown = f"{ports.runtime}/sessions/nobody"
    assert answered("GET", unknown, 404) == {"detail": "Session not found"}
    assert answered("GET", f"{unknown}/status") == {"status": "not_existent"}
    assert answered("GET", f"{ports.runtime}/events/nobody") == {"events": []}
    for method, path in (("GET", "/result"), ("GET", "/events"), ("DELETE", ""), ("POST", "/stop")):
        assert answered(method, unknown + path, 404) == {"detail": "Session not found"}
    again = {"session_id": session["session_id"], "session_name": fresh("other")}
    assert answered("POST", f"{ports.runtime}/sessions", 409, json=again) == {"detail": "Session already exists"}
    missing = answered("POST", f"{ports.runtime}/sessions", 422, json={"session_id": 5})["detail"]
    assert [(each["loc"], each["type"]) for each in missing] == [
        (["body", "session_id"], "string_type"),
        (["body", "session_name"], "missing"),
    ]
    assert answered("POST", f"{ports.runtime}/sessions", 422, data="{")["detail"][0]["type"] == "json_invalid"
    other = event(session, "message", **said("user", "x")) | {"session_id": "another"}
    at = f"{ports.runtime}/sessions/{session['session_id']}/events"
    assert "must match" in answered("POST", at, 400, json=other)["detail"]
    assert answered("PUT", at, 405)["detail"] == "Method Not Allowed"
    assert answered("GET", f"{ports.runtime}/nothing", 404)["detail"] == "Not Found"


def test_metadata_is_changed_and_the_older_path_makes_sessions(ports: Ports) -> None:
    session = {"session_id": fresh("id"), "session_name": fresh("name")}
    at = f"{ports.runtime}/sessions/{session['session_id']}"
    answered("POST", f"{ports.runtime}/events", json=event(session, "session_start"))
    assert answered("GET", f"{at}/status") == {"status": "running"}
    name = fresh("renamed")
    body = {"session_name": name, "project_dir": "/q", "agent_name": None}
    changed = answered("PATCH", f"{at}/metadata", json=body)["session"]
    assert (changed["session_name"], changed["project_dir"]) == (name, "/q")
    assert answered("PATCH", f"{at}/metadata", json={})["session"]["session_name"] == name
    answered("POST", f"{ports.runtime}/events", json=event(session, "session_stop", exit_code=1, reason="crashed"))
    assert answered("GET", f"{at}/status") == {"status": "finished"}
    assert len(answered("GET", f"{ports.runtime}/events/{session['session_id']}")["events"]) == 2


def test_more_than_a_hundred_events_are_listed(ports: Ports) -> None:
    session = started(ports)
    at = f"{ports.runtime}/sessions/{session['session_id']}/events"
    with requests.Session() as client:
        for number in range(120):
            client.post(at, json=event(session, "message", **said("user", str(number))), timeout=10)
    found = answered("GET", at)["events"]
    assert [each["content"][0]["text"] for each in found] == [str(n) for n in range(120)]


async def test_frames_of_the_web_socket(ports: Ports) -> None:
    before = await asyncio.to_thread(started, ports)
    async with websockets.connect(ports.runtime.replace("http", "ws") + "/ws") as socket:

        async def frame() -> Any:
            return json.loads(await asyncio.wait_for(socket.recv(), 10))

        first = await frame()
        assert first["type"] == "init" and before in first["sessions"]
        session = await asyncio.to_thread(started, ports)
        created = await frame()
        assert created == {"type": "session_created", "session": session}
        at = f"{ports.runtime}/sessions/{session['session_id']}"
        await asyncio.to_thread(answered, "POST", f"{at}/events", json=event(session, "message", **said("user", "q")))
        happened = await frame()
        assert (happened["type"], happened["data"]["content"][0]["text"]) == ("event", "q")
        stop = event(session, "session_stop", exit_code=0, reason="completed")
        await asyncio.to_thread(answered, "POST", f"{at}/events", json=stop)
        frames = [await frame(), await frame()]
        assert [each["type"] for each in frames] == ["event", "session_updated"]
        assert frames[1]["session"]["status"] == "finished"
        await socket.send("ignored")
        await asyncio.to_thread(answered, "DELETE", at)
        assert await frame() == {"type": "session_deleted", "session_id": session["session_id"]}


def sse(ports: Ports, query: str = "", **headers: str) -> Iterator[dict[str, str]]:
    with requests.get(f"{ports.runtime}/sse/sessions{query}", headers=headers, stream=True, timeout=30) as answer:
        assert answer.status_code == 200, answer.text
        frame: dict[str, str] = {}
        for line in answer.iter_lines(decode_unicode=True):
            if line:
                key, _, value = line.partition(": ")
                frame[key] = value
            elif frame:
                yield frame
                frame = {}


def test_server_sent_events_are_replayed(ports: Ports) -> None:
    stream = sse(ports)
    assert next(stream)["event"] == "init"
    session = started(ports)
    at = f"{ports.runtime}/sessions/{session['session_id']}/events"
    created = next(stream)
    assert created["event"] == "session_created"
    stream.close()
    # While nobody listens.
    for text in ("one", "two"):
        answered("POST", at, json=event(session, "message", **said("user", text)))
    another = started(ports)
    answered(
        "POST",
        f"{ports.runtime}/sessions/{another['session_id']}/events",
        json=event(another, "message", **said("user", "of another session")),
    )
    answered("POST", at, json=event(session, "message", **said("user", "three")))
    only = sse(ports, f"?session_id={session['session_id']}", **{"Last-Event-ID": created["id"]})
    texts = [json.loads(next(only)["data"])["data"]["content"][0]["text"] for _ in range(3)]
    assert texts == ["one", "two", "three"]
    only.close()
    answer = requests.get(f"{ports.runtime}/sse/sessions", headers={"Last-Event-ID": "no cursor"}, timeout=10)
    assert answer.status_code == 400


def test_sessions_of_the_api_are_there_too(ports: Ports) -> None:
    external = call(ports.sidecar, "POST", "/api/sessions", json={"name": fresh("ext"), "external": True})
    listed = answered("GET", f"{ports.runtime}/sessions")["sessions"]
    assert external["session_id"] in [each["session_id"] for each in listed]


def test_a_job_runs_a_session(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    result = {"type": "result", "subtype": "success", "result": "done", "num_turns": 2, "total_cost_usd": 0.5}
    program.write_text(
        f"import json, sys; task = sys.stdin.read(); print(json.dumps({result!r}))\nsys.exit('fail' in task)"
    )
    command = [sys.executable, str(program)]
    runner = {"command": command, "resume": command, "stdin": "prompt", "output": "stream-json"}
    ports = Ports(tmp_path, more={"agents": {"runners": {"default": runner}}})
    try:
        name = fresh("job")
        body = {"type": "start_session", "session_name": name, "prompt": "x", "project_dir": str(tmp_path / "root")}
        job = answered("POST", f"{ports.runtime}/jobs", json=body)
        at = f"{ports.runtime}/jobs/{job['job_id']}"
        ended = until(lambda: ended_job(at), "the end of the job", 30)
        assert (ended["status"], ended["error"], ended["session_name"]) == ("completed", None, name)
        session = answered("GET", f"{ports.runtime}/sessions/{job['job_id']}")["session"]
        assert (session["usage"]["turns"], session["usage"]["cost_usd"]) == (2, 0.5) and session["ended_at"]
        assert answered("GET", f"{ports.runtime}/sessions/{job['job_id']}/result") == {"result": "done"}
        assert answered("POST", f"{ports.runtime}/jobs", 409, json=body)["detail"]
        again = {"type": "resume_session", "session_name": name, "prompt": "fail"}
        answered("POST", f"{ports.runtime}/jobs", json=again)
        failed = until(lambda: ended_job(at), "the end of the job", 30)
        assert failed["type"] == "resume_session" and "code 1" in failed["error"]
        assert answered("POST", f"{ports.runtime}/jobs", 404, json=again | {"session_name": "nobody"})["detail"]
        assert answered("POST", f"{ports.runtime}/jobs", 422, json=body | {"type": "x"})["detail"]
        assert "work in" in answered("POST", f"{ports.runtime}/jobs", 400, json=body | {"project_dir": "/"})["detail"]
        assert answered("GET", f"{ports.runtime}/jobs/nobody", 404) == {"detail": "Job not found"}
    finally:
        ports.sidecar.stop()


def ended_job(url: str) -> Any:
    job = answered("GET", url)
    return job if job["status"] in ("completed", "failed") else None


# -- Agent Registry ----------------------------------------------------------------------------------------


def test_agents_are_made_changed_and_deleted(ports: Ports) -> None:
    assert answered("GET", f"{ports.registry}/health") == {"status": "healthy"}
    name = fresh("web")
    body = {
        "name": name,
        "description": "d",
        "system_prompt": "s",
        "mcp_servers": {"pw": {"command": "npx", "args": ["x"]}},
        "skills": ["pdf"],
    }
    made = answered("POST", f"{ports.registry}/agents", 201, json=body)
    assert made == made | body | {"mcp_servers": {"pw": {"type": "stdio", "command": "npx", "args": ["x"]}}}
    assert made["status"] == "active" and made["created_at"]
    at = f"{ports.registry}/agents/{name}"
    assert answered("GET", at) == made and made in answered("GET", f"{ports.registry}/agents")
    assert answered("POST", f"{ports.registry}/agents", 409, json=body)["detail"] == f"Agent already exists: {name}"
    changed = answered("PATCH", at, json={"description": "e", "mcp_servers": {}, "skills": [], "system_prompt": None})
    assert (changed["description"], changed["mcp_servers"], changed["skills"]) == ("e", None, None)
    assert changed["system_prompt"] == "s"
    assert answered("PATCH", at, json={"system_prompt": ""})["system_prompt"] is None
    assert answered("PATCH", f"{at}/status", json={"status": "inactive"})["status"] == "inactive"
    assert answered("PATCH", f"{at}/status", 422, json={"status": "asleep"})["detail"][0]["loc"] == ["body", "status"]
    assert answered("DELETE", at, 204) is None
    for method, path, more in (
        ("GET", at, {}),
        ("PATCH", at, {"json": {"description": "x"}}),
        ("DELETE", at, {}),
        ("PATCH", f"{at}/status", {"json": {"status": "active"}}),
    ):
        assert answered(method, path, 404, **more)["detail"] == f"Agent not found: {name}"


def test_what_the_registry_refuses(ports: Ports) -> None:
    agents = f"{ports.registry}/agents"
    assert "name" in answered("POST", agents, 400, json={"name": "a b", "description": "d"})["detail"]
    assert answered("POST", agents, 422, json={"name": "x"})["detail"][0]["loc"] == ["body", "description"]
    names = [each["name"] for each in answered("GET", agents)]
    assert names == sorted(names) and "python-specialist" in names
    builtin = f"{agents}/python-specialist"
    assert "configuration" in answered("PATCH", builtin, 409, json={"description": "mine"})["detail"]


# -- Context Store -----------------------------------------------------------------------------------------


def pushed(ports: Ports, name: str = "spec.md", data: bytes = b"text", **form: str) -> dict[str, Any]:
    kind = "text/markdown" if name.endswith(".md") else "application/octet-stream"
    made: dict[str, Any] = answered(
        "POST", f"{ports.store}/documents", 201, files={"file": (name, data, kind)}, data=form
    )
    return made


def test_a_document_is_pushed_found_read_and_deleted(ports: Ports) -> None:
    assert answered("GET", f"{ports.store}/health")["status"] == "healthy"
    tag = fresh("tag")
    made = pushed(ports, data="Żółw 🐢".encode(), tags=f"{tag}, v2", metadata='{"description": "d"}')
    assert made["id"].startswith("doc_") and len(made["id"]) == 28
    assert (made["tags"], made["metadata"], made["size_bytes"]) == ([tag, "v2"], {"description": "d"}, 12)
    at = f"{ports.store}/documents/{made['id']}"
    assert made["url"].endswith(f"/documents/{made['id']}")
    whole = requests.get(at, timeout=10)
    assert whole.content == "Żółw 🐢".encode() and whole.headers["content-type"].startswith("text/markdown")
    assert "attachment" in whole.headers["content-disposition"]
    part = requests.get(f"{at}?offset=1&limit=4", timeout=10)
    assert (part.status_code, part.content.decode()) == (206, "ółw ")
    assert (part.headers["x-total-chars"], part.headers["x-char-range"]) == ("6", "1-5")
    assert answered("GET", f"{at}/metadata") == made
    listed = answered("GET", f"{ports.store}/documents?tags={tag},v2&filename=SPEC")
    assert listed == [made] and answered("GET", f"{ports.store}/documents?tags={tag},other") == []
    other = pushed(ports, "other.md", tags=tag)
    assert answered("GET", f"{ports.store}/documents?tags={tag}&limit=1&offset=1") == [made]
    assert answered("GET", f"{ports.store}/search?q=żółw")["results"][0]["document_id"] == made["id"]
    gone = answered("DELETE", at)
    assert gone["success"] is True and gone["document_id"] == made["id"]
    for path in ("", "/metadata"):
        assert answered("GET", at + path, 404) == {"detail": "Document not found"}
    answered("DELETE", f"{ports.store}/documents/{other['id']}")


def test_a_document_is_written_and_edited(ports: Ports) -> None:
    body = {"filename": "plan.md", "tags": ["plan"], "metadata": {"description": "d"}}
    made = answered("POST", f"{ports.store}/documents", 201, json=body)
    assert made["size_bytes"] == 0
    content = f"{ports.store}/documents/{made['id']}/content"
    assert answered("PUT", content, data=b"one two two")["size_bytes"] == 11
    assert answered("PATCH", content, json={"old_string": "one", "new_string": "1"})["replacements_made"] == 1
    edited = answered("PATCH", content, json={"offset": 0, "length": 1, "new_string": "uno"})
    assert edited["edit_range"] == {"offset": 0, "old_length": 1, "new_length": 3}
    assert "2" in answered("PATCH", content, 400, json={"old_string": "two", "new_string": "x"})["detail"]
    both = answered("PATCH", content, json={"old_string": "two", "new_string": "x", "replace_all": True})
    assert both["replacements_made"] == 2
    assert requests.get(content.removesuffix("/content"), timeout=10).text == "uno x x"


def test_what_the_store_refuses(ports: Ports) -> None:
    documents = f"{ports.store}/documents"
    assert answered("POST", documents, 422, data={"tags": "a"})["detail"][0]["loc"] == ["body", "file"]
    bad = {"files": {"file": ("a.md", b"x")}, "data": {"metadata": "{"}}
    assert answered("POST", documents, 400, **bad)["detail"] == "Invalid JSON in metadata parameter"
    assert answered("GET", f"{documents}?limit=x", 422)["detail"][0]["loc"] == ["query", "limit"]
    binary = pushed(ports, "a.bin", b"\xff\x00")
    assert "only a text has parts" in answered("GET", f"{documents}/{binary['id']}?offset=1", 400)["detail"]
    assert pushed(ports, "../../etc/passwd")["filename"] in (".._.._etc_passwd", "passwd")
    assert answered("POST", documents, 413, files={"file": ("a", b"x" * (18 * 2**20))})["detail"]


def test_relations_say_what_the_other_document_is(ports: Ports) -> None:
    parent, child = pushed(ports, "parent.md")["id"], pushed(ports, "child.md")["id"]
    definitions = answered("GET", f"{ports.store}/relations/definitions")
    assert [each["name"] for each in definitions] == ["parent-child", "related", "predecessor-successor"]
    assert (definitions[0]["from_document_is"], definitions[0]["to_document_is"]) == ("parent", "child")
    body = {"definition": "parent-child", "from_document_id": parent, "to_document_id": child, "from_note": "n"}
    made = answered("POST", f"{ports.store}/relations", 201, json=body)
    first, second = made["from_relation"], made["to_relation"]
    assert (first["document_id"], first["related_document_id"], first["relation_type"]) == (parent, child, "child")
    assert (second["document_id"], second["relation_type"], second["note"]) == (child, "parent", None)
    assert answered("POST", f"{ports.store}/relations", 409, json=body)["detail"]
    assert answered("POST", f"{ports.store}/relations", 400, json=body | {"definition": "x"})["detail"]
    assert answered("POST", f"{ports.store}/relations", 404, json=body | {"to_document_id": "doc_0"})["detail"]
    listed = answered("GET", f"{ports.store}/documents/{child}/relations")
    assert listed == {"document_id": child, "relations": {"parent": [second]}}
    noted = answered("PATCH", f"{ports.store}/relations/{first['id']}", json={"note": "m"})
    assert noted["note"] == "m" and noted["document_id"] == parent
    every = answered("GET", f"{ports.store}/documents?filename=parent.md&include_relations=true")
    assert [each["relations"]["child"][0]["note"] for each in every if each["id"] == parent] == ["m"]
    assert answered("DELETE", f"{ports.store}/documents/{parent}")["deleted_document_ids"] == [parent, child]
    assert answered("DELETE", f"{ports.store}/relations/{first['id']}", 404) == {"detail": "Relation not found"}


# -- who gets in -------------------------------------------------------------------------------------------


def test_without_the_secret_nobody_gets_in(ports: Ports) -> None:
    base = re.match(r"http://127.0.0.1:\d+", ports.runtime)
    assert base is not None
    secret = ports.runtime.partition("/k/")[2]
    near = (secret[:1], secret[:-1], f"{secret}x", secret.swapcase())
    for url in (base[0], *(f"{base[0]}/k/{each}" for each in ("", "wrong", "wrong/k/wrong", *near))):
        assert "cco compat env" in answered("GET", f"{url}/sessions", 401)["detail"]
    other = ports.runtime.replace(base[0] + "/k/", "")
    assert requests.get(f"{base[0]}/sessions", auth=("k", other), timeout=10).status_code == 200
    assert requests.get(f"{base[0]}/sessions", auth=("k", "wrong"), timeout=10).status_code == 401
    token = {"Authorization": f"Bearer {ports.sidecar.operator.token}"}
    assert requests.get(f"{base[0]}/sessions", headers=token, timeout=10).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8765"}, 403),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:8765"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://allowed.example"}, 200),
    ],
)
def test_pages_of_other_sites_do_not_get_in(ports: Ports, headers: dict[str, str], status: int) -> None:
    assert requests.get(f"{ports.runtime}/sessions", headers=headers, timeout=10).status_code == status


async def test_web_sockets_of_other_sites_do_not_get_in(ports: Ports) -> None:
    url = ports.runtime.replace("http", "ws") + "/ws"
    with pytest.raises(websockets.InvalidStatus):
        async with websockets.connect(url, origin="http://evil.example"):
            pass
    with pytest.raises(websockets.InvalidStatus):
        async with websockets.connect(re.sub("/k/[^/]+", "", url)):
            pass


def test_an_address_is_for_one_project_and_can_be_revoked(tmp_path: Path) -> None:
    ports = Ports(tmp_path)
    try:
        other = ports.env("--project", "other")["AGENT_ORCHESTRATOR_SESSION_API_URL"]
        session = started(ports)
        assert answered("GET", f"{other}/sessions") == {"sessions": []}
        answered("GET", f"{other}/sessions/{session['session_id']}", 404)
        assert ports.env("--project", "other")["AGENT_ORCHESTRATOR_SESSION_API_URL"] == other
        ran = run_cco(ports.sidecar, "compat", "revoke", "--project", "other")
        assert ran.stdout == "the addresses are invalid now\n"
        answered("GET", f"{other}/sessions", 401)
        answered("GET", f"{ports.runtime}/sessions")
        announced = [each["event_type"] for each in events(ports.sidecar, "default")]
        assert "session_created" in announced
    finally:
        ports.sidecar.stop()
    refused = run_cco(ports.sidecar, "compat", "env")
    assert refused.returncode == 1 and "--compat-ports" in refused.stderr


def test_the_ports_are_closed_by_default(sidecar: SidecarProcess) -> None:
    refused = run_cco(sidecar, "compat", "env")
    assert refused.returncode == 1 and "serves these ports" in refused.stderr


def test_a_stream_ends_when_the_sidecar_stops(tmp_path: Path) -> None:
    ports = Ports(tmp_path)
    stream = sse(ports)
    next(stream)
    ports.sidecar.stop()
    with pytest.raises((StopIteration, requests.RequestException)):
        next(stream)
    until(lambda: ports.sidecar.process.poll() is not None, "its end", 10)


def test_a_client_that_asks_for_what_is_no_longer_kept_is_told(ports: Ports) -> None:
    session = started(ports)
    stream = sse(ports, f"?session_id={session['session_id']}", **{"Last-Event-ID": "evt-deadbeef-0000000001"})
    assert next(stream)["event"] == "gap"
    shown = next(stream)
    assert shown["event"] == "init"
    assert [each["session_id"] for each in json.loads(shown["data"])["sessions"]] == [session["session_id"]]
    stream.close()


def test_a_body_that_grows_beyond_the_limit_is_refused(ports: Ports) -> None:
    session = started(ports)
    url = f"{ports.runtime}/sessions/{session['session_id']}/events"
    # In chunks, so without a length.
    grown = requests.post(url, data=(b"x" * 2**20 for _ in range(6)), timeout=30)
    assert (grown.status_code, grown.json()) == (413, {"detail": f"the body is larger than {4 * 2**20} bytes"})
    many = event(session, "post_tool", tool_name="t", tool_input={}, tool_output=[0] * 30_000)
    assert answered("POST", url, 413, json=many)["code"] == "REQ_004"


def test_many_first_events_of_a_session_are_all_kept(ports: Ports) -> None:
    """On the older path, the first event makes the session."""
    session = {"session_id": fresh("id"), "session_name": fresh("name")}
    start = event(session, "session_start", project_dir="/p", agent_name="web")

    def send(_: int) -> int:
        return requests.post(f"{ports.runtime}/events", json=start, timeout=30).status_code

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert set(pool.map(send, range(40))) == {200}
    assert len(answered("GET", f"{ports.runtime}/events/{session['session_id']}")["events"]) == 40


def test_an_address_may_end_with_a_slash(ports: Ports) -> None:
    assert "sessions" in answered("GET", f"{ports.runtime}/sessions/")


def test_what_nobody_should_send_is_refused(ports: Ports) -> None:
    answered("GET", f"{ports.store}/documents?offset={'9' * 5000}", 422)
    job = {"type": "start_session", "session_name": fresh("s"), "prompt": "x", "project_dir": "a\0b"}
    answered("POST", f"{ports.runtime}/jobs", 400, json=job)


def test_a_page_that_is_stored_is_never_one_of_this_address(ports: Ports) -> None:
    made = answered(
        "POST", f"{ports.store}/documents", 201, files={"file": ("a.html", b"<script>1</script>", "text/html")}
    )
    for query in ("", "?offset=0"):
        answer = requests.get(f"{ports.store}/documents/{made['id']}{query}", timeout=10)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


def test_the_type_of_a_file_that_is_sent_as_any_is_that_of_its_name(ports: Ports) -> None:
    file = ("plan.md", b"# Plan", "application/octet-stream")
    made = answered("POST", f"{ports.store}/documents", 201, files={"file": file})
    assert made["content_type"] == "text/markdown"


async def test_who_follows_sessions_is_let_go_when_the_secret_is_revoked(tmp_path: Path) -> None:
    ports = Ports(tmp_path)
    try:
        url = ports.runtime.replace("http", "ws") + "/ws"
        async with websockets.connect(url) as socket:
            assert json.loads(await socket.recv())["type"] == "init"
            await asyncio.to_thread(run_cco, ports.sidecar, "compat", "revoke")
            await asyncio.to_thread(
                call, ports.sidecar, "POST", "/api/sessions", json={"name": "new", "external": True}
            )
            with pytest.raises(websockets.ConnectionClosed):
                await asyncio.wait_for(socket.recv(), 20)
    finally:
        ports.sidecar.stop()


async def test_clients_that_read_nothing_are_limited_and_leave_nothing(tmp_path: Path) -> None:
    ports = Ports(tmp_path)
    url = ports.runtime.replace("http", "ws") + "/ws"
    try:
        for _ in range(2):
            sockets = [await websockets.connect(url, max_queue=1) for _ in range(64)]
            with pytest.raises(websockets.ConnectionClosed) as refused:
                async with websockets.connect(url) as one_more:
                    await one_more.recv()
            assert refused.value.rcvd is not None and refused.value.rcvd.code == 1013
            for _ in range(30):
                await asyncio.to_thread(started, ports)
            await asyncio.gather(*(socket.close() for socket in sockets))
        until(lambda: sum(1 for _ in sse_inits(ports)) == 1, "a free place", 20)
    finally:
        ports.sidecar.stop()


def sse_inits(ports: Ports) -> Iterator[str]:
    stream = sse(ports)
    try:
        yield next(stream)["event"]
    finally:
        stream.close()

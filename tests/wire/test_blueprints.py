"""Blueprints: made, found, changed and deleted, also by hand in their directory, and what their agents get."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.sidecars import fresh, until

from cco_sidecar.testing.process import SidecarProcess

PROBE = """
import json, os, pathlib, sys
print(json.dumps({"type": "system", "subtype": "init", "session_id": "s-1"}), flush=True)
answer = {"arguments": sys.argv[1:], "prompt": sys.stdin.read()}
if "--mcp-config" in sys.argv:
    answer["mcp"] = json.loads(pathlib.Path(sys.argv[sys.argv.index("--mcp-config") + 1]).read_text())
print(json.dumps({"type": "result", "subtype": "success", "session_id": "s-1", "result": json.dumps(answer)}))
"""


def started(tmp_path: Path, **config: Any) -> SidecarProcess:
    """Starts a sidecar of its own."""
    file, root = tmp_path / "config.json", tmp_path / "root"
    file.write_text(json.dumps(config))
    root.mkdir(exist_ok=True)
    return SidecarProcess(tmp_path / "storage", root, config=file)


@contextlib.contextmanager
def ending(sidecar: SidecarProcess) -> Iterator[SidecarProcess]:
    try:
        yield sidecar
    finally:
        if sidecar.process.poll() is None:
            sidecar.stop()


def asked(sidecar: SidecarProcess, method: str, path: str, **more: Any) -> requests.Response:
    """The operator's request."""
    return sidecar.request(method, path, sidecar.operator, **more)


def refusal(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def made(sidecar: SidecarProcess, **body: Any) -> dict[str, Any]:
    answer = asked(sidecar, "POST", "/api/blueprints", json={"name": fresh("bp"), "description": "looks"} | body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_blueprint_is_made_found_changed_and_deleted(sidecar: SidecarProcess) -> None:
    name = fresh("web")
    body = {
        "name": name,
        "description": "Researches the web",
        "system_prompt": "Cite sources.",
        "mcp_servers": {"pw": {"command": "npx", "args": ["x"], "timeout": 5}},
        "tags": ["research", "web"],
        "capabilities": ["browsing"],
        "skills": ["pdf"],
    }
    first = made(sidecar, **body)
    assert first["status"] == "active" and first["origin"] == "directory" and first["group"] == "development"
    assert first["mcp_servers"]["pw"] | {"command": "npx", "args": ["x"], "timeout": 5} == first["mcp_servers"]["pw"]
    assert first["permissions"] == ["read_context", "write_results", "publish_events"]
    path = f"/api/blueprints/{name}"
    assert asked(sidecar, "GET", path).json() == first
    assert refusal(asked(sidecar, "POST", "/api/blueprints", json=body)) == (409, "BLP_002")
    types = asked(sidecar, "GET", "/api/agent-types").json()["agent_types"]
    assert [each["role"] for each in types if each["type"] == name] == ["Researches the web"]
    for query, there in (
        ("tags=web,research", True),
        ("tags=web,other", False),
        ("query=BROWS%20cite", False),
        ("query=RESEARCHES%20brows", True),
        ("status=inactive", False),
        ("origin=configuration", False),
    ):
        listed = asked(sidecar, "GET", f"/api/blueprints?{query}").json()["blueprints"]
        assert (name in [each["name"] for each in listed]) == there, query
    changed = asked(sidecar, "PATCH", path, json={"description": "d", "status": "inactive", "clear": ["mcp_servers"]})
    assert changed.status_code == 200, changed.text
    expected = {"description": "d", "status": "inactive", "mcp_servers": {}}
    assert changed.json() == first | expected | {"modified_at": changed.json()["modified_at"]}
    assert asked(sidecar, "DELETE", path).json() == {"name": name}
    assert refusal(asked(sidecar, "GET", path)) == (404, "AGT_002")


def test_the_119_types_are_blueprints_too_and_are_not_changed_here(sidecar: SidecarProcess) -> None:
    listed = asked(sidecar, "GET", "/api/blueprints?origin=configuration").json()["blueprints"]
    assert len(listed) == 119
    names = [each["name"] for each in listed]
    assert names == sorted(names) and "python-specialist" in names
    path = "/api/blueprints/python-specialist"
    assert "python" in asked(sidecar, "GET", path).json()["languages"]
    assert refusal(asked(sidecar, "PATCH", path, json={"description": "mine"})) == (409, "BLP_001")
    assert refusal(asked(sidecar, "DELETE", path)) == (409, "BLP_001")
    taken = {"name": "python-specialist", "description": "mine"}
    assert refusal(asked(sidecar, "POST", "/api/blueprints", json=taken)) == (409, "BLP_002")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "../x"}, "name"),
        ({"name": "-x"}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"description": ""}, "description"),
        ({"mcp_servers": {"a": {"type": "http"}}}, "mcp_servers.a"),
        ({"mcp_servers": {"a": {"command": "x", "url": "http://x"}}}, "mcp_servers.a"),
        ({"permissions": ["everything"]}, "permissions"),
        ({"parameters_schema": {"type": 5}}, "parameters_schema"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_is_wrong_is_named(sidecar: SidecarProcess, body: dict[str, Any], field: str) -> None:
    answer = asked(sidecar, "POST", "/api/blueprints", json={"name": fresh("bp"), "description": "d"} | body)
    assert refusal(answer) == (400, "REQ_001"), answer.text
    assert answer.json()["details"]["field"].startswith(field), answer.text


def test_agents_read_the_catalogue_without_secrets_and_change_nothing(sidecar: SidecarProcess) -> None:
    secret = {"pw": {"command": "npx", "env": {"KEY": "hunter2"}}}
    name = made(sidecar, mcp_servers=secret)["name"]
    agent = sidecar.agent(project=fresh("p"))
    seen = sidecar.request("GET", f"/api/blueprints/{name}", agent)
    assert seen.status_code == 200 and "hunter2" not in seen.text and seen.json()["mcp_servers"] == {}
    assert "hunter2" not in sidecar.request("GET", "/api/blueprints", agent).text
    for method, path in (("PATCH", f"/{name}"), ("DELETE", f"/{name}"), ("POST", "")):
        body = None if method == "DELETE" else {"name": name, "description": "x"}
        answer = sidecar.request(method, f"/api/blueprints{path}", agent, json=body)
        assert refusal(answer) == (403, "AUTH_003"), method


def test_files_written_by_hand_are_the_catalogue(tmp_path: Path) -> None:
    directory = tmp_path / "blueprints"
    (directory / "web").mkdir(parents=True)
    (directory / "web" / "agent.json").write_text('{"name": "web", "description": "d", "skills": ["csv"], "own": [1]}')
    (directory / "web" / "agent.system-prompt.md").write_text("Be brief.")
    (directory / "web" / "agent.mcp.json").write_text('{"mcpServers": {"a": {"type": "http", "url": "http://x"}}}')
    (directory / "off").mkdir()
    (directory / "off" / "agent.json").write_text('{"name": "off", "description": "d"}')
    (directory / "off" / ".disabled").touch()
    (directory / "bad").mkdir()
    (directory / "bad" / "agent.json").write_text("{")
    (directory / "other").mkdir()
    (directory / "other" / "agent.json").write_text('{"name": "web"}')
    (directory / "python-specialist").mkdir()
    (directory / "python-specialist" / "agent.json").write_text('{"description": "mine", "permissions": []}')
    with ending(started(tmp_path, blueprints={"directory": str(directory)})) as sidecar:
        web = asked(sidecar, "GET", "/api/blueprints/web").json()
        assert (web["system_prompt"], web["skills"], web["own"]) == ("Be brief.", ["csv"], [1])
        assert web["mcp_servers"]["a"]["url"] == "http://x"
        listed = asked(sidecar, "GET", "/api/blueprints?origin=directory").json()
        assert [(each["name"], each["status"]) for each in listed["blueprints"]] == [
            ("off", "inactive"),
            ("web", "active"),
        ]
        assert [problem.partition(":")[0].partition("/")[0] for problem in listed["problems"]] == [
            "bad",
            "other",
            "python-specialist",
        ]
        spawn = {"agent_type": "off", "issue_id": "I-1", "task": "t"}
        assert refusal(asked(sidecar, "POST", "/api/agents/spawn", json=spawn)) == (409, "BLP_003")
        # A change by hand is seen, and what the sidecar does not know survives its own changes.
        (directory / "off" / ".disabled").unlink()
        assert asked(sidecar, "GET", "/api/blueprints/off").json()["status"] == "active"
        assert asked(sidecar, "PATCH", "/api/blueprints/web", json={"status": "inactive"}).status_code == 200
        assert (directory / "web" / ".disabled").exists()
        written = json.loads((directory / "web" / "agent.json").read_text())
        assert written["own"] == [1] and written["skills"] == ["csv"] and "system_prompt" not in written
        assert (directory / "web" / "agent.system-prompt.md").read_text() == "Be brief."


def test_files_of_other_tools_are_read_or_named(tmp_path: Path) -> None:
    directory = tmp_path / "blueprints"
    servers = {
        "good": {
            "mcpServers": {
                "a": {"type": "streamable-http", "url": "http://x"},
                "b": {"command": "b", "env": {"N": 3, "T": True}},
            }
        },
        "bare": {"a": {"command": "x"}},
        "elsewhere": {"mcpServers": {"d": {"serverUrl": "http://x"}}},
        "wrong": {"mcpServers": {"d": {"command": "x", "args": 5}}},
    }
    for name, given in servers.items():
        (directory / name).mkdir(parents=True)
        (directory / name / "agent.json").write_text('{"description": "d"}')
        (directory / name / "agent.mcp.json").write_text(json.dumps(given))
    (directory / "good" / "agent.system-prompt.md").write_bytes(b"\xef\xbb\xbfBe brief.")
    for name in ("latin", "linked"):
        (directory / name).mkdir()
        (directory / name / "agent.json").write_text('{"description": "d"}')
    (directory / "latin" / "agent.system-prompt.md").write_bytes(b"caf\xe9")
    (directory / "linked" / "agent.system-prompt.md").symlink_to("/etc/passwd")
    with ending(started(tmp_path, blueprints={"directory": str(directory)})) as sidecar:
        good = asked(sidecar, "GET", "/api/blueprints/good").json()
        assert good["system_prompt"] == "Be brief."
        assert good["mcp_servers"]["a"]["type"] == "http" and good["mcp_servers"]["b"]["env"] == {"N": "3", "T": "true"}
        problems = asked(sidecar, "GET", "/api/blueprints?origin=directory").json()["problems"]
        assert [problem.partition(":")[0].partition(".mcp_servers")[0] for problem in sorted(problems)] == [
            "bare/agent.mcp.json",
            "elsewhere/agent.mcp.json",
            "latin/agent.system-prompt.md",
            "linked/agent.system-prompt.md",
            "wrong/agent.mcp.json",
        ]


@pytest.mark.parametrize("named", [True, False])
def test_an_agent_of_a_blueprint_gets_its_prompt_and_its_servers(tmp_path: Path, named: bool) -> None:
    program = tmp_path / "probe.py"
    program.write_text(PROBE)
    command = ["python3", str(program), "--mcp-config", "{mcp_config}"]
    runner = {
        "command": [*command, "--system", "{system_prompt}"] if named else command,
        "stdin": "prompt",
        "output": "stream-json",
        "mcp_config": '{"mcpServers": {"team": {"command": "team"}}}',
    }
    config = {"agents": {"runners": {"default": runner}}}
    with ending(started(tmp_path, **config)) as sidecar:
        name = made(sidecar, system_prompt="Cite sources.", mcp_servers={"pw": {"command": "npx"}})["name"]
        spawned = asked(
            sidecar, "POST", "/api/agents/spawn", json={"agent_type": name, "issue_id": "I-1", "task": "go"}
        )
        assert spawned.status_code == 201, spawned.text
        agent_id = spawned.json()["agent_id"]
        ended = until(lambda: _ended(sidecar, agent_id), "the end of the agent", 30)
        result = asked(sidecar, "GET", f"/api/results/{ended['result_id']}").json()["result"]
        answer = json.loads(result["artifacts"]["final_message"])
        assert answer["mcp"] == {"mcpServers": {"team": {"command": "team"}, "pw": {"type": "stdio", "command": "npx"}}}
        in_prompt = answer["prompt"].startswith("Cite sources.\n\n---\n\ngo")
        in_arguments = "Cite sources.\n\nYou are" in " ".join(answer["arguments"])
        assert (in_arguments, in_prompt) == (named, not named)


def _ended(sidecar: SidecarProcess, agent_id: str) -> dict[str, Any] | None:
    agent: dict[str, Any] = asked(sidecar, "GET", f"/api/agents/{agent_id}").json()
    return agent if agent["status"] in ("completed", "failed", "stopped") else None


def test_servers_for_a_program_that_takes_none_are_refused(tmp_path: Path) -> None:
    config = {"agents": {"runners": {"default": {"command": ["python3", "-c", "pass"]}}}}
    with ending(started(tmp_path, **config)) as sidecar:
        name = made(sidecar, mcp_servers={"pw": {"command": "npx"}})["name"]
        answer = asked(sidecar, "POST", "/api/agents/spawn", json={"agent_type": name, "issue_id": "I-1", "task": "go"})
        assert refusal(answer) == (500, "AGT_001") and "{mcp_config}" in answer.json()["message"]


def test_a_blueprint_is_not_deleted_while_its_agents_run(tmp_path: Path) -> None:
    config = {"agents": {"runners": {"default": {"command": ["sleep", "1000"]}}}}
    with ending(started(tmp_path, **config)) as sidecar:
        name = made(sidecar)["name"]
        body = {"agent_type": name, "issue_id": "I-1", "task": "go"}
        agent_id = asked(sidecar, "POST", "/api/agents/spawn", json=body).json()["agent_id"]
        path = f"/api/blueprints/{name}"
        assert refusal(asked(sidecar, "DELETE", path)) == (409, "BLP_002")
        assert asked(sidecar, "PATCH", path, json={"status": "inactive"}).status_code == 200
        asked(sidecar, "DELETE", f"/api/agents/{agent_id}")
        until(lambda: _ended(sidecar, agent_id), "the end of the agent", 30)
        assert refusal(asked(sidecar, "POST", f"/api/agents/{agent_id}/resume", json={})) == (409, "BLP_003")
        assert asked(sidecar, "DELETE", path).status_code == 200


def test_a_blueprint_survives_a_crash(tmp_path: Path) -> None:
    with ending(started(tmp_path)) as sidecar:
        first = made(sidecar, system_prompt="p")
        asked(sidecar, "PATCH", f"/api/blueprints/{first['name']}", json={"status": "inactive"})
        sidecar.kill()
    with ending(started(tmp_path)) as sidecar:
        again = asked(sidecar, "GET", f"/api/blueprints/{first['name']}").json()
        assert again["status"] == "inactive" and again["created_at"] == first["created_at"]

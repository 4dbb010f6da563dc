"""The commands of the plugins, with the standard library only, and what the plugins consist of."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_sessions import PROGRAM
from tests.support.repositories import OURS
from tests.support.sidecars import fresh

from cco_sidecar.testing.process import SidecarProcess, run_cco

PLUGINS = OURS / "plugins"
AO = PLUGINS / "orchestrator" / "skills" / "orchestrator" / "commands"
DOC = PLUGINS / "context-store" / "skills" / "context-store" / "commands"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarProcess]:
    directory = tmp_path_factory.mktemp("plugins")
    (directory / "program.py").write_text(PROGRAM)
    (directory / "root").mkdir()
    command = [sys.executable, str(directory / "program.py")]
    runner = {"command": command, "resume": command, "stdin": "prompt", "output": "stream-json"}
    config = directory / "config.json"
    ports = {"ports": True, "runtime_port": 0, "store_port": 0, "registry_port": 0}
    config.write_text(json.dumps({"agents": {"runners": {"default": runner}}, "compat": ports}))
    sidecar = SidecarProcess(directory / "storage", directory / "root", config=config)
    yield sidecar
    sidecar.stop()


def ran(
    sidecar: SidecarProcess, command: Path, *arguments: str, given: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command without site-packages."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(sidecar.storage.parent), **variables}
    environment.setdefault("CCO_SIDECAR_STORAGE", str(sidecar.storage))
    return subprocess.run(
        [sys.executable, "-I", "-S", str(command), *arguments],
        input=given,
        env=environment,
        cwd=sidecar.storage.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def said(sidecar: SidecarProcess, command: Path, *arguments: str, given: str = "", **variables: str) -> str:
    done = ran(sidecar, command, *arguments, given=given, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_cycle_of_a_session(place: SidecarProcess) -> None:
    name = fresh("s")
    assert said(place, AO / "ao-status", name) == "not_existent\n"
    assert said(place, AO / "ao-new", name, "-p", "write it", "--agent", "debugger") == "WRITE IT\n"
    assert said(place, AO / "ao-status", name) == "finished\n"
    assert said(place, AO / "ao-get-result", name) == "WRITE IT\n"
    assert said(place, AO / "ao-resume", name, "-p", "and", given="more") == "AND\nMORE\n"
    assert f"{name} (session-id: ses_" in said(place, AO / "ao-list-sessions")
    assert "Agent:           debugger" in said(place, AO / "ao-show-config", name)
    assert "\n---\n\ngo-specialist:\n" in said(place, AO / "ao-list-agents")
    (usage,) = json.loads(said(place, AO / "ao-usage", name))
    assert (usage["session"], usage["agent"], usage["status"]) == (name, "debugger", "finished") and usage["ended_at"]
    assert said(place, AO / "ao-clean") == "All sessions removed\n"
    assert said(place, AO / "ao-clean") == "No sessions to remove\n"


@pytest.mark.parametrize(
    ("command", "arguments", "text"),
    [
        ("ao-new", ("a b", "-p", "x"), "Error: Session name: expected"),
        ("ao-new", ("s1",), "Error: no prompt given"),
        ("ao-new", ("s1", "-p", "x", "--agent", "nobody"), "Error: Agent not found, or inactive: nobody"),
        ("ao-new", ("s1", "-p", "x", "--project-dir", "/"), "Error: project_dir: the agents of this address work in"),
        ("ao-new", ("s2", "-p", "fail"), "Error: exited with code 3"),
        ("ao-resume", ("nobody", "-p", "x"), "Error: Session 'nobody' does not exist. Use 'ao-new'"),
        ("ao-get-result", ("nobody",), "Error: Session 'nobody' does not exist"),
    ],
)
def test_errors_of_sessions(place: SidecarProcess, command: str, arguments: tuple[str, ...], text: str) -> None:
    done = ran(place, AO / command, *arguments)
    assert done.returncode == 1 and done.stderr.startswith(text), done.stderr


def test_the_addresses_come_from_the_environment_too(place: SidecarProcess, tmp_path: Path) -> None:
    printed = run_cco(place, "compat", "env", "--project", "web").stdout
    addresses = dict(re.findall(r"^export (\w+)=(\S+)$", printed, re.MULTILINE))
    nowhere = {"CCO_SIDECAR_STORAGE": str(tmp_path)}
    name = fresh("s")
    said(place, AO / "ao-new", name, "-p", "x", **nowhere, **addresses)
    assert said(place, AO / "ao-status", name, **nowhere, **addresses) == "finished\n"
    assert said(place, AO / "ao-status", name) == "not_existent\n"
    assert json.loads(said(place, DOC / "doc-query", **nowhere, **addresses)) == []
    lost = ran(place, AO / "ao-list-sessions", **nowhere)
    assert lost.returncode == 1 and "make start-bg" in lost.stderr
    debug = ran(place, AO / "ao-list-sessions", DEBUG_LOGGING="true")
    assert "GET http://127.0.0.1:" in debug.stderr and "/k/.../sessions" in debug.stderr


def test_the_cycle_of_a_document(place: SidecarProcess, tmp_path: Path) -> None:
    (tmp_path / "plan.md").write_text("Żółw and tokens\n")

    def doc(command: str, *arguments: str, given: str = "") -> str:
        return said(place, DOC / command, *arguments, given=given)

    pushed = json.loads(doc("doc-push", str(tmp_path / "plan.md"), "--tags", "a,b", "--description", "d"))
    document = pushed["id"]
    assert (pushed["filename"], pushed["tags"], pushed["metadata"]) == ("plan.md", ["a", "b"], {"description": "d"})
    assert [each["id"] for each in json.loads(doc("doc-query", "--tags", "a,b"))] == [document]
    assert json.loads(doc("doc-search", "tokens"))["results"][0]["document_id"] == document
    part = ran(place, DOC / "doc-read", document, "--offset", "1", "--limit", "3")
    assert (part.stdout, json.loads(part.stderr)) == ("ółw", {"total_chars": 16, "range": "1-4"})
    assert json.loads(doc("doc-edit", document, "--old-string", "and", "--new-string", "or"))["replacements_made"] == 1
    spec = json.dumps({"offset": 0, "length": 4, "new_string": "Turtle"})
    assert json.loads(doc("doc-edit", document, "--json", given=spec))["edit_range"]["new_length"] == 6
    assert doc("doc-read", document) == "Turtle or tokens\n"
    other = json.loads(doc("doc-create", "--name", "other.md"))["id"]
    doc("doc-write", other, given="from stdin")
    assert doc("doc-read", other) == "from stdin"
    linked = json.loads(doc("doc-link", "--create", document, other, "--type", "parent-child"))
    assert json.loads(doc("doc-info", other))["relations"]["parent"][0]["id"] == linked["from_relation"]["id"]
    target = str(tmp_path / "out.md")
    assert json.loads(doc("doc-pull", document, "-o", target))["size_bytes"] == 17
    assert Path(target).read_text() == "Turtle or tokens\n"
    assert json.loads(doc("doc-delete", document))["deleted_document_ids"] == [document, other]
    gone = ran(place, DOC / "doc-info", document)
    assert (gone.returncode, json.loads(gone.stderr)) == (1, {"error": "Document not found"})
    assert "use one of" in json.loads(ran(place, DOC / "doc-link").stderr)["error"]


@pytest.mark.parametrize("command", ["ao-list-agents", "ao-status"])
def test_a_command_runs_with_uv(place: SidecarProcess, command: str, tmp_path: Path) -> None:
    """As the documents say: `uv run skills/orchestrator/commands/ao-list-agents`, in an installed plugin."""
    shutil.copytree(PLUGINS / "orchestrator", tmp_path / "orchestrator")
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "UV_OFFLINE": "1"}
    environment |= {"HOME": str(place.storage.parent), "CCO_SIDECAR_STORAGE": str(place.storage)}
    arguments = ["nobody"] if command == "ao-status" else []
    done = subprocess.run(
        ["uv", "run", "--python", sys.executable, f"skills/orchestrator/commands/{command}", *arguments],
        cwd=tmp_path / "orchestrator",
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("not_existent" if arguments else "academic-researcher:\n")


def test_the_plugins_are_laid_out_as_documented() -> None:
    market = json.loads((OURS / ".claude-plugin" / "marketplace.json").read_text())
    assert [each["name"] for each in market["plugins"]] == ["orchestrator", "context-store"]
    for each in market["plugins"]:
        plugin = OURS / each["source"]
        assert json.loads((plugin / ".claude-plugin" / "plugin.json").read_text())["name"] == each["name"]
        assert json.loads((plugin / ".mcp.json").read_text())["mcpServers"]["cco"]["args"] == ["mcp"]
        assert "hooks" in json.loads((plugin / "hooks" / "hooks.json").read_text())
        skill = plugin / "skills" / each["name"]
        text = (skill / "SKILL.md").read_text()
        assert text.startswith(f"---\nname: {each['name']}\ndescription: ")
        for command in (skill / "commands").iterdir():
            if command.is_file():
                assert f"`{command.name} " in text or f"`{command.name}`" in text, command
                assert os.access(command, os.X_OK), command
    names = {path.stem for path in (PLUGINS / "orchestrator" / "commands").iterdir()}
    ends = ("init", "create-agent", "create-runtime-report", "extract-token-usage")
    assert names == {f"agent-orchestrator-{end}" for end in ends}
    for variables in ((AO.parent / "references" / "ENV_VARS.md"), (DOC.parent / "references" / "CONFIGURATION.md")):
        code = "".join(path.read_text() for path in (variables.parent.parent / "commands" / "lib").glob("*.py"))
        for name in re.findall(r"^\| `([A-Z_]+)`", variables.read_text(), re.MULTILINE):
            assert name in code, name

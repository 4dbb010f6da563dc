"""A secret that an agent prints is redacted."""

from __future__ import annotations

import hashlib
import json
import shutil
import textwrap
from pathlib import Path

import pytest
from tests.services.credentials.vaults import AGENTS, LINES, SECRET, assert_nowhere, python, store, unique
from tests.support.sidecars import call, refused, until
from tests.support.succession import Succession

from cco_sidecar.testing.agents import SpawnedAgent, spawn_scripted
from cco_sidecar.testing.process import SidecarProcess

# Python that prints each secret S, or ALL of them, in encodings that are not encryption.
WAYS = {
    "plain": "print(S)",
    "in the middle": "print(f'<<{S}>>{S}')",
    "on stderr": "print(S, file=sys.stderr)",
    "without an end of line": "sys.stdout.write(S)",
    "in two writes": "n = len(S) // 2\nos.write(1, S.encode()[:n])\nos.write(1, S.encode()[n:] + b'\\n')",
    "in many writes": "for each in S.encode():\n    os.write(1, bytes([each]))",
    "behind a long line": "print('x' * 200_000 + S)",
    "at every place of a long line": "print(''.join('y' * (4093 + i) + S for i in range(40)))",
    "after bytes that are no text": "os.write(1, b'\\xff\\xfe\\x80' + S.encode() + b'\\xff\\n')",
    "line by line": "for line in S.split('\\n'):\n    print('>', line)",
    "as JSON": "print(json.dumps({'token': S}))",
    "as JSON that is not ASCII": "print(json.dumps([S], ensure_ascii=False))",
}
WAYS_OF_ALL = {
    "as an answer": "print(json.dumps({'type': 'result', 'result': 'It is ' + ALL, 'total_cost_usd': 0.1}))",
    "as an error": "print(json.dumps({'type': 'result', 'is_error': True, 'result': 'Not: ' + ALL}))\nsys.exit(1)",
    "while it fails": "sys.exit('no: ' + ALL)",
}
VALUES = {"text": SECRET, "lines": LINES, "quotes": "pa\"ss\\wo/rd'@9Xk", "tab": "left\tri@ght-4Rt"}


class TestRedaction:
    @pytest.mark.parametrize("way", WAYS | WAYS_OF_ALL)
    def test_a_printed_secret_is_nowhere(self, sidecar: SidecarProcess, name: str, project: str, way: str) -> None:
        values = {f"{name}_{kind}": unique(value, name) for kind, value in VALUES.items()}
        for each, value in values.items():
            store(sidecar, each, value)
        code = f"ALL = ' '.join(os.environ[each] for each in {list(values)})\n"
        if way in WAYS:
            code += f"for S in map(os.environ.get, {list(values)}):\n" + textwrap.indent(WAYS[way], "    ")
        else:
            code += WAYS_OF_ALL[way]
        steps = [{"do": "print", "text": "before"}, python(code)]
        agent = spawn_scripted(sidecar, steps, credentials=list(values), project=project, command=[])
        agent.wait()
        lines = agent.logs()
        assert lines[0] == "before" and any("[secret]" in line for line in lines), str(lines)[:500]
        for value in values.values():
            assert_nowhere(sidecar, agent, project, value)

    def test_of_two_secrets_the_longer_one_is_redacted_whole(
        self, sidecar: SidecarProcess, name: str, project: str
    ) -> None:
        store(sidecar, name, "short-part-7")
        store(sidecar, name + "_2", "short-part-7-and-the-rest-of-it")
        steps = [{"do": "env", "name": name}, {"do": "env", "name": name + "_2"}]
        agent = spawn_scripted(sidecar, steps, credentials=[name, name + "_2"])
        agent.wait()
        assert agent.logs() == [f"{name}=[secret]", f"{name}_2=[secret]"]

    def test_a_large_secret(self, sidecar: SidecarProcess, name: str, project: str) -> None:
        value = "".join(hashlib.sha256(str(number).encode()).hexdigest() for number in range(1024))
        assert len(value) == 65_536
        store(sidecar, name, value)
        steps = [{"do": "env", "name": name}, python(f"print('x' * 70_000 + os.environ[{name!r}] + 'y' * 70_000)")]
        agent = spawn_scripted(sidecar, steps, credentials=[name], project=project)
        agent.wait()
        assert agent.logs() == [f"{name}=[secret]", "x" * 70_000 + "[secret]" + "y" * 70_000]

    def test_a_full_output_limit_cuts_no_secret_in_two(self, sidecar: SidecarProcess, name: str, project: str) -> None:
        """Nor does an agent that ends in the middle of a line."""
        secret = unique(SECRET, name)
        store(sidecar, name, secret)
        steps = [python(f"os.write(1, b'z' * 300_000 + os.environb[b{name!r}])\nos.kill(os.getppid(), 9)")]
        agent = spawn_scripted(sidecar, steps, credentials=[name], project=project)
        assert agent.wait()["status"] == "failed"
        assert_nowhere(sidecar, agent, project, secret)

    def test_it_is_redacted_while_the_sidecar_is_down_and_after_its_return(self, tmp_path: Path, root: Path) -> None:
        line = Succession(tmp_path, root, **AGENTS)
        try:
            store(line.sidecar, "NAME", SECRET)
            steps = [
                {"do": "until", "path": str(tmp_path / "down")},
                {"do": "env", "name": "NAME"},
                {"do": "write", "path": str(tmp_path / "printed"), "text": ""},
                {"do": "until", "path": str(tmp_path / "back")},
                {"do": "env", "name": "NAME"},
            ]
            agent = line.spawn(steps, credentials=["NAME"])
            line.crash()
            (tmp_path / "down").touch()
            until((tmp_path / "printed").exists, "the first line")
            line.open()
            (tmp_path / "back").touch()
            agent = line.now(agent)
            agent.wait("completed")
            assert agent.logs() == ["NAME=[secret]", "NAME=[secret]"]
            call(line.sidecar, "POST", f"/api/agents/{agent.id}/resume", json={})
            agent.wait("completed")
            assert agent.get()["attempt"] == 2
            assert agent.logs() == ["NAME=[secret]", "NAME=[secret]"]
            assert_nowhere(line.sidecar, agent, "default", SECRET)
        finally:
            line.close()

    def test_the_context_file_has_no_secret(self, sidecar: SidecarProcess, name: str, tmp_path: Path) -> None:
        secret = unique(SECRET, name)
        store(sidecar, name, secret)
        copy = tmp_path / "context.json"
        steps = [python(f"import shutil\nshutil.copy(os.environ['CONTEXT_FILE'], {str(copy)!r})")]
        spawn_scripted(sidecar, steps, credentials=[name]).wait("completed")
        assert "relevant_files" in copy.read_text() and secret not in json.dumps(
            json.loads(copy.read_text()), ensure_ascii=False
        )

    def test_a_program_that_cannot_start_does_not_show_it(
        self, sidecar: SidecarProcess, name: str, project: str, tmp_path: Path
    ) -> None:
        secret = unique(SECRET, name)
        store(sidecar, name, secret)
        broken = tmp_path / "broken"
        shutil.copy("/bin/true", broken)
        broken.write_bytes(broken.read_bytes()[:100])
        broken.chmod(0o755)
        body = {
            "agent_type": "python-specialist",
            "issue_id": "issue-123",
            "project_id": project,
            "command": [str(broken)],
            "credentials": [name],
        }
        problem = refused(sidecar, 500, "AGT_001", "POST", "/api/agents/spawn", sidecar.operator, json=body)
        assert secret not in json.dumps(problem, ensure_ascii=False)
        (agent,) = call(sidecar, "GET", f"/api/agents?project_id={project}")["agents"]
        assert_nowhere(sidecar, SpawnedAgent(sidecar, {"jwt_token": None} | agent), project, secret)

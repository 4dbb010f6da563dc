"""A secret is given only to agents that were spawned with its name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from tests.services.credentials.vaults import SECRET, code_of, files_with, hash_of, proof, states, store, unique
from tests.support.processes import of_run
from tests.support.sidecars import call, refused, until

from cco_sidecar.testing.agents import SpawnedAgent, spawn_scripted
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1 import agent_service_pb2


class TestInjection:
    def test_an_agent_gets_what_its_spawn_names(self, sidecar: SidecarProcess, name: str, project: str) -> None:
        store(sidecar, name, SECRET)
        other = name + "_2"
        store(sidecar, other, "another-" + SECRET)
        agent = spawn_scripted(
            sidecar, [proof(name), {"do": "env", "name": other}], credentials=[name, name], project=project
        )
        assert agent.wait()["credentials"] == [name]
        assert agent.logs() == [hash_of(SECRET), f"{other}=None"]
        bare = spawn_scripted(sidecar, [{"do": "env", "name": name}, {"do": "env", "name": "RUNNER_KEY"}])
        bare.wait("completed")
        assert bare.logs() == [f"{name}=None", "RUNNER_KEY=None"]

    def test_an_agent_gets_what_its_runner_names(self, sidecar: SidecarProcess, name: str) -> None:
        store(sidecar, name, SECRET)
        steps = [proof("RUNNER_KEY"), proof(name)]
        agent = spawn_scripted(sidecar, steps, agent_type="go-specialist", command=[], credentials=[name])
        assert agent.wait()["credentials"] == ["RUNNER_KEY", name]
        assert agent.logs() == [hash_of("of-the-runner-5Jk2"), hash_of(SECRET)]
        once = spawn_scripted(sidecar, [{"do": "env", "name": "RUNNER_KEY"}], agent_type="go-specialist")
        once.wait("completed")
        assert once.logs() == ["RUNNER_KEY=None"], "it is not the runner's program"

    def test_a_credential_overrides_the_spawns_environment(self, sidecar: SidecarProcess, name: str) -> None:
        store(sidecar, name, SECRET)
        agent = spawn_scripted(sidecar, [proof(name)], credentials=[name], environment={name: "from the environment"})
        agent.wait("completed")
        assert agent.logs() == [hash_of(SECRET)]

    def test_a_missing_credential_stops_the_spawn(self, sidecar: SidecarProcess, name: str, project: str) -> None:
        for body in (
            {"agent_type": "python-specialist", "credentials": [name]},
            {"agent_type": "rust-specialist"},
        ):
            body |= {"issue_id": "i", "project_id": project}
            problem = refused(sidecar, 404, "CRD_001", "POST", "/api/agents/spawn", sidecar.operator, json=body)
            assert name in problem["message"] or "NEVER_STORED" in problem["message"]
        until(lambda: states(sidecar, project) <= {"failed"}, "their end")

    def test_a_deleted_credential_reaches_nobody(self, sidecar: SidecarProcess, name: str) -> None:
        store(sidecar, name, SECRET)
        agent = spawn_scripted(sidecar, [proof(name)], credentials=[name])
        agent.wait("completed")
        call(sidecar, "DELETE", f"/api/credentials/{name}")
        refused(sidecar, 404, "CRD_001", "POST", f"/api/agents/{agent.id}/resume", sidecar.operator, json={})
        agent.wait("failed")

    def test_agents_cannot_name_credentials(self, sidecar: SidecarProcess, stubs: Any, name: str, project: str) -> None:
        """Nor do they learn which ones exist."""
        store(sidecar, name, SECRET)
        architect = sidecar.agent("chief-architect", project=project)
        messages = set()
        for wanted in (name, "NOT_THERE", "RUNNER_KEY"):
            body = {"agent_type": "python-specialist", "issue_id": "i", "credentials": [wanted]}
            problem = refused(sidecar, 403, "AUTH_003", "POST", "/api/agents/spawn", architect, json=body)
            messages.add(problem["message"])
            with pytest.raises(grpc.RpcError) as caught:
                stubs.agents.SpawnAgent(agent_service_pb2.SpawnAgentRequest(**body), metadata=architect.metadata)
            assert code_of(caught.value) == ("PERMISSION_DENIED", "AUTH_003")
        assert len(messages) == 1
        assert call(sidecar, "GET", f"/api/agents?project_id={project}")["agents"] == []

    @pytest.mark.parametrize("variable", ["PATH", "PYTHONPATH"])
    def test_agents_cannot_choose_the_program_that_gets_it(
        self, sidecar: SidecarProcess, tmp_path: Path, project: str, variable: str
    ) -> None:
        """Not even by an environment in which the runner's program is another one."""
        caught = tmp_path / "caught"
        code = f"import os\nopen({str(caught)!r}, 'w').write(os.environ.get('RUNNER_KEY', ''))\n"
        (tmp_path / "python3").write_text(f"#!{sys.executable}\n{code}")
        (tmp_path / "python3").chmod(0o755)
        (tmp_path / "sitecustomize.py").write_text(code)
        architect = sidecar.agent("chief-architect", project=project)
        body = {
            "agent_type": "swift-specialist",
            "issue_id": "i",
            "environment": {variable: str(tmp_path)},
        }
        answer = sidecar.request("POST", "/api/agents/spawn", architect, json=body)
        if answer.status_code == 201:
            SpawnedAgent(sidecar, answer.json()).wait()
        assert not caught.exists()

    def test_no_command_line_and_no_shim_shows_it(self, sidecar: SidecarProcess, name: str, tmp_path: Path) -> None:
        secret = unique(SECRET, name)
        store(sidecar, name, secret)
        steps = [{"do": "until", "path": str(tmp_path / "go")}]
        agent = spawn_scripted(sidecar, steps, credentials=[name])
        agent.wait("running")
        processes = [sidecar.process.pid, *(each.pid for each in of_run(sidecar.storage / "agents" / agent.id))]
        assert len(processes) >= 3, "the sidecar, the shim and the agent, and the init of a sandbox"
        for pid in processes:
            process = psutil.Process(pid)
            assert secret not in " ".join(process.cmdline())
            if pid != agent.get()["process_id"]:
                assert secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        assert files_with(sidecar.storage, secret) == [], "also while it runs"
        (tmp_path / "go").touch()
        agent.wait("completed")

    @pytest.mark.parametrize("value", ["é" * 65_536, "\U0001f511" * 65_536])
    def test_a_value_too_large_for_an_environment_is_refused_clearly(
        self, sidecar: SidecarProcess, name: str, value: str
    ) -> None:
        """Linux: 128 KiB per variable."""
        answer = sidecar.request("PUT", f"/api/credentials/{name}", sidecar.operator, json={"value": value})
        if answer.status_code == 200:
            body = {"agent_type": "python-specialist", "issue_id": "i", "credentials": [name]}
            answer = sidecar.request("POST", "/api/agents/spawn", sidecar.operator, json=body)
        assert answer.status_code in (400, 500) and answer.json()["code"] in ("REQ_001", "AGT_001"), answer.text[:300]
        assert value[:20] not in answer.text

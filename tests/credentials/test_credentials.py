"""Secrets for agents: sealed at rest, given to whom they are meant for, and found nowhere else."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import sqlite3
import stat
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import psutil
import pytest
from tests.support.processes import of_run
from tests.support.sidecars import House, call, events, fresh, refused, small_repository, start_refused, until, written
from tests.support.succession import Succession

from cco_sidecar.client.connection import error_of
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.credentials.vault import Vault
from cco_sidecar.testing.agents import SpawnedAgent, scripted_command, spawn_scripted
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1 import agent_service_pb2
from orchestra.v1 import credential_service_pb2 as pb
from orchestra.v1.credential_service_pb2_grpc import CredentialServiceStub

SECRET = "s3cr3t-Zx81@väluē"
# Every line of it is a secret.
LINES = "first-line-MIIEv@\nsecond-line-BAQEF@\n\nthird-line-AoIBA@\nend@\n"
RUNNERS: dict[str, Any] = {
    "default": {"command": scripted_command(), "output": "stream-json", "environment": {"AGENT_SCRIPT": "[]"}},
    # Gets a credential from its runner.
    "go-specialist": {"credentials": ["RUNNER_KEY"]},
    "rust-specialist": {"credentials": ["NEVER_STORED"]},
    # A program that is looked up in PATH.
    "swift-specialist": {"command": ["python3", scripted_command()[1]], "credentials": ["RUNNER_KEY"]},
}
AGENTS: dict[str, Any] = {"runners": RUNNERS}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_repository(tmp_path_factory.mktemp("repository") / "small")


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[SidecarProcess]:
    """Logs all there is to log."""
    directory = tmp_path_factory.mktemp("credentials")
    config = written(directory / "config.json", agents=AGENTS, sidecar={"log_level": "debug"})
    running = SidecarProcess(directory / "storage", root, config=config)
    store(running, "RUNNER_KEY", "of-the-runner-5Jk2")
    yield running
    assert running.stop() == ""


@pytest.fixture
def house(tmp_path: Path, root: Path) -> Iterator[House]:
    """For tests that need a sidecar of their own."""
    alone = House(tmp_path, root)
    yield alone
    assert alone.stop() == ""


@pytest.fixture(scope="module")
def stub(grpc_channel: grpc.Channel) -> Any:
    return CredentialServiceStub(grpc_channel)


@pytest.fixture
def name() -> str:
    return fresh("NAME").replace("-", "_")


@pytest.fixture
def project() -> str:
    return fresh("project")


def store(sidecar: SidecarProcess, name: str, value: str) -> dict[str, Any]:
    stored: dict[str, Any] = call(sidecar, "PUT", f"/api/credentials/{name}", json={"value": value})
    return stored


def value_of(sidecar: SidecarProcess, name: str) -> str:
    value: str = call(sidecar, "GET", f"/api/credentials/{name}")["value"]
    return value


def names(sidecar: SidecarProcess) -> list[str]:
    return [each["name"] for each in call(sidecar, "GET", "/api/credentials")["credentials"]]


def states(sidecar: SidecarProcess, project: str) -> set[str]:
    """Of all agents of a project."""
    return {agent["status"] for agent in call(sidecar, "GET", f"/api/agents?project_id={project}")["agents"]}


def key_file(sidecar: SidecarProcess) -> Path:
    """Where it is by default: below HOME."""
    return sidecar.storage.parent / ".cco" / "credentials.key"


def python(code: str) -> dict[str, Any]:
    """A step that runs a program; it prints what it likes."""
    return {"do": "run", "command": [sys.executable, "-c", "import json, os, sys\n" + code]}


def proof(name: str) -> dict[str, Any]:
    """A step that prints the hash of a variable: what it holds is known without being said."""
    return python(f"import hashlib\nprint(hashlib.sha256(os.environb[b{name!r}]).hexdigest())")


def hash_of(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def pieces(value: str) -> list[bytes]:
    """Each line of a secret that is long enough to give something away."""
    return [line.encode() for line in value.split("\n") if len(line) >= 8]


def unique(value: str, name: str) -> str:
    """A secret of this test alone: another's traces are not its own."""
    return value.replace("@", f"-{name}-")


def files_with(directory: Path, value: str) -> list[str]:
    """Files below a directory that hold a secret, or a line of it, as it is or as JSON."""
    wanted = pieces(value)
    wanted += [json.dumps(piece.decode())[1:-1].encode() for piece in wanted]
    found = []
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            if any(piece in data for piece in wanted):
                found.append(str(path.relative_to(directory)))
    return found


def nowhere(sidecar: SidecarProcess, agent: SpawnedAgent, project: str, value: str) -> None:
    """The secret is in nothing that the sidecar shows or keeps."""
    shown = {
        "the agent": agent.get(),
        "the agents": call(sidecar, "GET", f"/api/agents?project_id={project}"),
        "its log": agent.logs(),
        "the events": events(sidecar, project),
        "the results": call(sidecar, "GET", f"/api/results?project_id={project}"),
        "a context": call(sidecar, "GET", f"/api/context/issue-123/code-reviewer?project_id={project}"),
        "the status": call(sidecar, "GET", "/status"),
    }
    for what, answer in shown.items():
        text = json.dumps(answer, ensure_ascii=False)
        for piece in pieces(value):
            assert json.dumps(piece.decode(), ensure_ascii=False)[1:-1] not in text, f"{what} has it: {text[:3000]}"
    assert files_with(sidecar.storage, value) == []


def code_of(problem: grpc.RpcError) -> tuple[str, str]:
    return problem.code().name, error_of(problem).code


class TestStoring:
    def test_over_rest(self, sidecar: SidecarProcess, name: str) -> None:
        first = store(sidecar, name, SECRET)
        assert first["name"] == name and first["created_at"] == first["updated_at"] and SECRET not in str(first)
        found = call(sidecar, "GET", f"/api/credentials/{name}")
        assert found == {"name": name, "value": SECRET, "updated_at": first["updated_at"]}
        second = store(sidecar, name, "another value")
        assert second["created_at"] == first["created_at"] < second["updated_at"]
        assert value_of(sidecar, name) == "another value"
        listed = call(sidecar, "GET", "/api/credentials")["credentials"]
        assert second in listed and all(set(each) == {"name", "created_at", "updated_at"} for each in listed)
        assert call(sidecar, "DELETE", f"/api/credentials/{name}") == {"deleted": True, "name": name}
        for method in ("GET", "DELETE"):
            refused(sidecar, 404, "CRD_001", method, f"/api/credentials/{name}", sidecar.operator)
        assert name not in names(sidecar)

    def test_over_grpc(self, sidecar: SidecarProcess, stub: Any, name: str) -> None:
        own = sidecar.operator.metadata
        stored = stub.StoreCredential(pb.StoreCredentialRequest(name=name, value=SECRET), metadata=own)
        assert stored.credential.name == name
        assert stub.GetCredential(pb.GetCredentialRequest(name=name), metadata=own).value == SECRET
        listed = stub.ListCredentials(pb.ListCredentialsRequest(), metadata=own)
        assert name in [each.name for each in listed.credentials] and SECRET not in str(listed)
        assert stub.DeleteCredential(pb.DeleteCredentialRequest(name=name), metadata=own).deleted
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetCredential(pb.GetCredentialRequest(name=name), metadata=own)
        assert code_of(caught.value) == ("NOT_FOUND", "CRD_001")

    @pytest.mark.parametrize(
        "value",
        ["x", " both ends ", "\n", "line\r\nline\n", LINES, "äöü €\U0001f511", '{"a": "\\"b\\""}', "a=b;$(c)`d`", "x" * 65_536],
    )  # fmt: skip
    def test_every_value_comes_back_as_it_was(self, sidecar: SidecarProcess, name: str, value: str) -> None:
        store(sidecar, name, value)
        assert value_of(sidecar, name) == value
        agent = spawn_scripted(sidecar, [proof(name)], credentials=[name])
        ended = agent.wait()
        assert (ended["status"], agent.logs()) == ("completed", [hash_of(value)])

    @pytest.mark.parametrize(
        "wrong", ["A-B", "1A", "É", "A B", "A=B", "A\n", "\nA", "A\0", "a" * 129, "A.B", "%", "名"]
    )
    def test_a_name_that_is_no_variables_is_refused(self, sidecar: SidecarProcess, stub: Any, wrong: str) -> None:
        body = {"value": SECRET}
        path = f"/api/credentials/{quote(wrong, safe='')}"
        answer = sidecar.request("PUT", path, sidecar.operator, json=body)
        assert answer.status_code == 400 and answer.json()["code"] == "REQ_001", answer.text
        assert SECRET not in answer.text
        with pytest.raises(grpc.RpcError) as caught:
            stub.StoreCredential(
                pb.StoreCredentialRequest(name=wrong, value=SECRET), metadata=sidecar.operator.metadata
            )
        assert code_of(caught.value) == ("INVALID_ARGUMENT", "REQ_001")
        assert wrong not in names(sidecar)

    @pytest.mark.parametrize(
        "taken", ["AGENT_ID", "JWT_TOKEN", "JWT_TOKEN_FILE", "SIDECAR_URL", "CONTEXT_FILE", "CCO_SIDECAR_JWT_SECRET"]
    )
    def test_a_variable_that_the_sidecar_sets_is_refused(self, sidecar: SidecarProcess, taken: str) -> None:
        """No agent would ever get it."""
        path = f"/api/credentials/{taken}"
        refused(sidecar, 400, "REQ_001", "PUT", path, sidecar.operator, json={"value": SECRET})

    def test_what_is_wrong_with_a_value_is_said_without_it(self, sidecar: SidecarProcess, stub: Any, name: str) -> None:
        mark = "Qw7-unsaid-Er9"
        path = f"/api/credentials/{name}"
        for body in (
            {"value": ""},
            {},
            {"value": mark + "\0"},
            {"value": mark + "x" * 65_536},
            {"value": {"it": mark}},
            {"value": [mark]},
            {"valeu": mark},
            {"value": mark, "nmae": "x"},
            [mark],
            mark,
        ):
            answer = sidecar.request("PUT", path, sidecar.operator, json=body)
            assert answer.status_code == 400 and answer.json()["code"] == "REQ_001", (body, answer.text)
            assert mark not in answer.text, body
        for text in (
            f'{{"value": "{mark}',
            f'{{"value": "{mark}"}}x',
            f'{{"value": {mark}}}',
            f'{{"value": "{mark}\\ud800"}}',
        ):
            answer = sidecar.request(
                "PUT", path, sidecar.operator, data=text, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 400 and mark not in answer.text, answer.text
        with pytest.raises(grpc.RpcError) as caught:
            request = pb.StoreCredentialRequest(name=name, value=mark + "x" * 65_536)
            stub.StoreCredential(request, metadata=sidecar.operator.metadata)
        assert mark not in str(caught.value.details()) and mark not in str(error_of(caught.value))
        assert name not in names(sidecar)
        assert files_with(sidecar.storage, mark) == []

    def test_only_the_operator_may(self, sidecar: SidecarProcess, stub: Any, name: str) -> None:
        store(sidecar, name, SECRET)
        for kind in ("chief-architect", "python-specialist", "security-auditor", "ui-ux-designer"):
            agent = sidecar.agent(kind)
            for method, path, body in (
                ("PUT", f"/api/credentials/{name}", {"value": "mine"}),
                ("GET", f"/api/credentials/{name}", None),
                ("GET", "/api/credentials/NOT_THERE", None),
                ("GET", "/api/credentials", None),
                ("DELETE", f"/api/credentials/{name}", None),
            ):
                problem = refused(sidecar, 403, "AUTH_003", method, path, agent, json=body)
                assert SECRET not in str(problem) and key_file(sidecar).name not in str(problem)
                assert sidecar.request(method, path, json=body).status_code == 401
            for rpc, request in (
                (stub.StoreCredential, pb.StoreCredentialRequest(name=name, value="mine")),
                (stub.GetCredential, pb.GetCredentialRequest(name=name)),
                (stub.ListCredentials, pb.ListCredentialsRequest()),
                (stub.DeleteCredential, pb.DeleteCredentialRequest(name=name)),
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    rpc(request, metadata=agent.metadata)
                assert code_of(caught.value) == ("PERMISSION_DENIED", "AUTH_003")
        assert value_of(sidecar, name) == SECRET


def database_of(sidecar: SidecarProcess) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(sidecar.storage / "records.db", timeout=10))


class TestAtRest:
    def test_nothing_in_the_storage_gives_it_away(self, house: House) -> None:
        sidecar = house.start()
        values = {f"NAME_{number}": f"{SECRET}-{number}" for number in range(30)} | {"LINES": LINES}
        assert not key_file(sidecar).exists(), "a key without a secret"
        for name, value in values.items():
            store(sidecar, name, value)
        store(sidecar, "NAME_0", "the-second-value-of-it")
        call(sidecar, "DELETE", "/api/credentials/NAME_1")
        assert (sidecar.storage / "records.db-wal").stat().st_size > 0
        for value in (SECRET, LINES, "the-second-value-of-it"):
            assert files_with(sidecar.storage, value) == []
        for name, value in {**values, "NAME_0": "the-second-value-of-it"}.items():
            if name != "NAME_1":
                assert value_of(sidecar, name) == value
        house.stop()
        for value in (SECRET, LINES, "the-second-value-of-it"):
            assert files_with(sidecar.storage, value) == []

    def test_the_key_is_outside_and_nobody_elses(self, house: House) -> None:
        sidecar = house.start()
        store(sidecar, "NAME", SECRET)
        path = key_file(sidecar)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        key = path.read_bytes().strip()
        assert re.fullmatch(rb"[0-9a-f]{64}", key)
        for wanted in (key, bytes.fromhex(key.decode())):
            assert not [each for each in sidecar.storage.rglob("*") if each.is_file() and wanted in each.read_bytes()]
        store(sidecar, "NAME_2", SECRET)
        sidecar = house.start()
        assert path.read_bytes().strip() == key and value_of(sidecar, "NAME") == value_of(sidecar, "NAME_2") == SECRET

    def test_the_same_secret_twice_is_not_the_same_on_disk(self, sidecar: SidecarProcess, name: str) -> None:
        seen = set()
        for each in (name, name + "_2", name):
            store(sidecar, each, SECRET)
            with database_of(sidecar) as database:
                (sealed,) = database.execute("SELECT sealed FROM credentials WHERE name = ?", (each,)).fetchone()
            seen |= {sealed, sealed[:12]}
        assert len(seen) == 6

    def test_what_was_sealed_for_one_name_is_nothing_for_another(self, sidecar: SidecarProcess, name: str) -> None:
        store(sidecar, name, SECRET)
        store(sidecar, name + "_2", "theirs-theirs")
        with database_of(sidecar) as database:
            mine = "(SELECT sealed FROM credentials WHERE name = ?)"
            database.execute(f"UPDATE credentials SET sealed = {mine} WHERE name = ?", (name, name + "_2"))
            database.commit()
        refused(sidecar, 500, "CRD_002", "GET", f"/api/credentials/{name}_2", sidecar.operator)
        assert value_of(sidecar, name) == SECRET

    @pytest.mark.parametrize("damage", ["", "x", "x" * 11, "x" * 12, "x" * 40])
    def test_a_damaged_record_is_said_to_be_one(self, sidecar: SidecarProcess, name: str, damage: str) -> None:
        store(sidecar, name, SECRET)
        with database_of(sidecar) as database:
            database.execute("UPDATE credentials SET sealed = ? WHERE name = ?", (damage.encode(), name))
            database.commit()
        refused(sidecar, 500, "CRD_002", "GET", f"/api/credentials/{name}", sidecar.operator)
        assert name in names(sidecar)
        store(sidecar, name, "anew")
        assert value_of(sidecar, name) == "anew"

    def test_it_is_configured(self, tmp_path: Path, house: House) -> None:
        by_file, by_environment = tmp_path / "a" / "b.key", tmp_path / "c" / "d.key"
        config = written(tmp_path / "config.json", agents={"credentials_key_file": str(by_file)})
        sidecar = house.start(config)
        store(sidecar, "NAME", SECRET)
        assert by_file.exists() and not key_file(sidecar).exists()
        sidecar = house.start(config, {"CCO_SIDECAR_CREDENTIALS_KEY_FILE": str(by_environment)})
        refused(sidecar, 500, "CRD_002", "GET", "/api/credentials/NAME", sidecar.operator)

    @pytest.mark.parametrize("way", ["plain", "dots", "linked directory", "linked file", "the directory itself"])
    def test_a_key_inside_the_storage_is_refused(self, tmp_path: Path, way: str) -> None:
        storage = tmp_path / "storage"
        storage.mkdir()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "link").symlink_to(storage)
        (tmp_path / "linked.key").symlink_to(storage / "sub" / "x.key")
        path = {
            "plain": storage / "x.key",
            "dots": tmp_path / "elsewhere" / ".." / "storage" / "sub" / "x.key",
            "linked directory": tmp_path / "link" / "x.key",
            "linked file": tmp_path / "linked.key",
            "the directory itself": storage,
        }[way]
        unused: Any = None
        for each in (storage, tmp_path / "link"):
            with pytest.raises(SettingsError) as caught:
                Vault(unused, path, each, Clock())
            assert "key file" in str(caught.value) and str(path) in str(caught.value)
        Vault(unused, tmp_path / "storage.key", storage, Clock())

    @pytest.mark.parametrize("by_environment", [False, True])
    def test_a_key_inside_the_storage_stops_the_start(self, tmp_path: Path, root: Path, by_environment: bool) -> None:
        path = str(tmp_path / "storage" / "x.key")
        agents = {} if by_environment else {"credentials_key_file": path}
        environment = {"CCO_SIDECAR_CREDENTIALS_KEY_FILE": path} if by_environment else None
        config = written(tmp_path / "config.json", agents=agents)
        line = start_refused(tmp_path, root, config, environment)
        assert "key file" in line and "inside the storage" in line and path in line


class TestTheWrongKey:
    """Said as such, and nothing is lost by it."""

    @pytest.fixture(scope="class")
    @classmethod
    def locked(cls, tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[SidecarProcess]:
        house = House(tmp_path_factory.mktemp("locked"), root)
        config = written(house.directory / "config.json", agents=AGENTS)
        sidecar = house.start(config)
        store(sidecar, "NAME", SECRET)
        store(sidecar, "RUNNER_KEY", SECRET)
        yield sidecar
        assert house.stop() == ""

    @pytest.fixture
    def key(self, locked: SidecarProcess) -> Iterator[Path]:
        """The key file; what it held is put back."""
        path = key_file(locked)
        kept = path.read_bytes()
        yield path
        if path.is_dir():
            path.rmdir()
        path.write_bytes(kept)
        path.chmod(0o600)
        assert value_of(locked, "NAME") == SECRET

    def test_it_is_missing(self, locked: SidecarProcess, key: Path) -> None:
        key.unlink()
        self.check(locked, key)
        assert not key.exists(), "a new key in the place of the lost one"

    def test_it_is_a_directory(self, locked: SidecarProcess, key: Path) -> None:
        key.unlink()
        key.mkdir()
        self.check(locked, key)
        problem = refused(locked, 500, "CRD_002", "PUT", "/api/credentials/OTHER", locked.operator, json={"value": "x"})
        assert str(key) in problem["message"]

    @pytest.mark.parametrize(
        "content", [b"ab" * 32, b"", b"zz" * 32, b"ab" * 31, b"ab" * 16, b"\xff\xfe" * 40, b"ab" * 33]
    )
    def test_it_is_another_or_none(self, locked: SidecarProcess, key: Path, content: bytes) -> None:
        key.write_bytes(content)
        self.check(locked, key)
        assert key.read_bytes() == content
        if content != b"ab" * 32:
            body = {"value": "x"}
            refused(locked, 500, "CRD_002", "PUT", "/api/credentials/OTHER", locked.operator, json=body)

    def test_a_lost_key_is_not_replaced_while_there_are_secrets(self, locked: SidecarProcess, key: Path) -> None:
        """Once the old one is put back, what was sealed with the new one could never be read again."""
        key.unlink()
        body = {"value": "sealed with which key?"}
        refused(locked, 500, "CRD_002", "PUT", "/api/credentials/ANOTHER", locked.operator, json=body)
        assert not key.exists()

    def check(self, sidecar: SidecarProcess, key: Path) -> None:
        """Reading and spawning are refused; the list is not."""
        before = len(of_run(sidecar.storage / "agents"))
        problem = refused(sidecar, 500, "CRD_002", "GET", "/api/credentials/NAME", sidecar.operator)
        assert str(key) in problem["message"] and SECRET not in str(problem)
        for body in (
            {"agent_type": "python-specialist", "credentials": ["NAME"]},
            {"agent_type": "go-specialist"},
        ):
            body |= {"issue_id": "i", "project_id": "p"}
            refused(sidecar, 500, "CRD_002", "POST", "/api/agents/spawn", sidecar.operator, json=body)
        assert {"NAME", "RUNNER_KEY"} <= set(names(sidecar))
        until(lambda: states(sidecar, "p") <= {"failed"}, "their end")
        assert len(of_run(sidecar.storage / "agents")) == before


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

    def test_a_credential_stands_above_the_spawns_environment(self, sidecar: SidecarProcess, name: str) -> None:
        store(sidecar, name, SECRET)
        agent = spawn_scripted(sidecar, [proof(name)], credentials=[name], environment={name: "from the environment"})
        agent.wait("completed")
        assert agent.logs() == [hash_of(SECRET)]

    def test_one_that_is_not_there_stops_the_spawn(self, sidecar: SidecarProcess, name: str, project: str) -> None:
        for body in (
            {"agent_type": "python-specialist", "credentials": [name]},
            {"agent_type": "rust-specialist"},
        ):
            body |= {"issue_id": "i", "project_id": project}
            problem = refused(sidecar, 404, "CRD_001", "POST", "/api/agents/spawn", sidecar.operator, json=body)
            assert name in problem["message"] or "NEVER_STORED" in problem["message"]
        until(lambda: states(sidecar, project) <= {"failed"}, "their end")

    def test_after_deletion_nobody_gets_it(self, sidecar: SidecarProcess, name: str) -> None:
        store(sidecar, name, SECRET)
        agent = spawn_scripted(sidecar, [proof(name)], credentials=[name])
        agent.wait("completed")
        call(sidecar, "DELETE", f"/api/credentials/{name}")
        refused(sidecar, 404, "CRD_001", "POST", f"/api/agents/{agent.id}/resume", sidecar.operator, json={})
        agent.wait("failed")

    def test_agents_name_none(self, sidecar: SidecarProcess, stubs: Any, name: str, project: str) -> None:
        """Nor do they learn which there are."""
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
    def test_agents_do_not_choose_the_program_that_gets_it(
        self, sidecar: SidecarProcess, tmp_path: Path, project: str, variable: str
    ) -> None:
        """By an environment in which the runner's program is another."""
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

    def test_no_command_line_and_no_keeper_shows_it(self, sidecar: SidecarProcess, name: str, tmp_path: Path) -> None:
        secret = unique(SECRET, name)
        store(sidecar, name, secret)
        steps = [{"do": "until", "path": str(tmp_path / "go")}]
        agent = spawn_scripted(sidecar, steps, credentials=[name])
        agent.wait("running")
        processes = [sidecar.process.pid, *(each.pid for each in of_run(sidecar.storage / "agents" / agent.id))]
        assert len(processes) == 3
        for pid in processes:
            process = psutil.Process(pid)
            assert secret not in " ".join(process.cmdline())
            if pid != agent.get()["process_id"]:
                assert secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        assert files_with(sidecar.storage, secret) == [], "also while it runs"
        (tmp_path / "go").touch()
        agent.wait("completed")

    @pytest.mark.parametrize("value", ["é" * 65_536, "\U0001f511" * 65_536])
    def test_one_that_no_environment_holds_is_refused_in_words(
        self, sidecar: SidecarProcess, name: str, value: str
    ) -> None:
        """Linux: 128 KiB a variable."""
        answer = sidecar.request("PUT", f"/api/credentials/{name}", sidecar.operator, json={"value": value})
        if answer.status_code == 200:
            body = {"agent_type": "python-specialist", "issue_id": "i", "credentials": [name]}
            answer = sidecar.request("POST", "/api/agents/spawn", sidecar.operator, json=body)
        assert answer.status_code in (400, 500) and answer.json()["code"] in ("REQ_001", "AGT_001"), answer.text[:300]
        assert value[:20] not in answer.text


# Python that prints each secret S, or ALL of them, in ways that are no encryption.
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
    def test_what_an_agent_prints_of_it_is_nowhere(
        self, sidecar: SidecarProcess, name: str, project: str, way: str
    ) -> None:
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
            nowhere(sidecar, agent, project, value)

    def test_of_two_secrets_the_longer_one_is_taken_whole(
        self, sidecar: SidecarProcess, name: str, project: str
    ) -> None:
        store(sidecar, name, "short-part-7")
        store(sidecar, name + "_2", "short-part-7-and-the-rest-of-it")
        steps = [{"do": "env", "name": name}, {"do": "env", "name": name + "_2"}]
        agent = spawn_scripted(sidecar, steps, credentials=[name, name + "_2"])
        agent.wait()
        assert agent.logs() == [f"{name}=[secret]", f"{name}_2=[secret]"]

    def test_a_big_one(self, sidecar: SidecarProcess, name: str, project: str) -> None:
        value = "".join(hashlib.sha256(str(number).encode()).hexdigest() for number in range(1024))
        assert len(value) == 65_536
        store(sidecar, name, value)
        steps = [{"do": "env", "name": name}, python(f"print('x' * 70_000 + os.environ[{name!r}] + 'y' * 70_000)")]
        agent = spawn_scripted(sidecar, steps, credentials=[name], project=project)
        agent.wait()
        assert agent.logs() == [f"{name}=[secret]", "x" * 70_000 + "[secret]" + "y" * 70_000]

    def test_a_full_disk_of_output_cuts_none_in_two(self, sidecar: SidecarProcess, name: str, project: str) -> None:
        """Nor does the end of the agent, in the middle of a line."""
        secret = unique(SECRET, name)
        store(sidecar, name, secret)
        steps = [python(f"os.write(1, b'z' * 300_000 + os.environb[b{name!r}])\nos.kill(os.getppid(), 9)")]
        agent = spawn_scripted(sidecar, steps, credentials=[name], project=project)
        assert agent.wait()["status"] == "failed"
        nowhere(sidecar, agent, project, secret)

    def test_also_when_the_sidecar_is_down_and_when_it_is_back(self, tmp_path: Path, root: Path) -> None:
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
            nowhere(line.sidecar, agent, "default", SECRET)
        finally:
            line.close()

    def test_the_context_file_has_none(self, sidecar: SidecarProcess, name: str, tmp_path: Path) -> None:
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
        nowhere(sidecar, SpawnedAgent(sidecar, {"jwt_token": None} | agent), project, secret)

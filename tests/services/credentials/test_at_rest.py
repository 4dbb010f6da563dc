"""The files on disk reveal no secret; the key, and a wrong key."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.services.credentials.vaults import (
    AGENTS,
    LINES,
    SECRET,
    database_of,
    files_with,
    key_file,
    names,
    states,
    store,
    value_of,
)
from tests.support.processes import of_run
from tests.support.sidecars import Deployment, call, records_file, refused, start_refused, until, written

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.storage.sealing import Seal
from cco_sidecar.testing.process import SidecarProcess


class TestAtRest:
    def test_nothing_in_the_storage_reveals_it(self, deployment: Deployment) -> None:
        sidecar = deployment.start()
        values = {f"NAME_{number}": f"{SECRET}-{number}" for number in range(30)} | {"LINES": LINES}
        assert not key_file(sidecar).exists(), "a key without a secret"
        for name, value in values.items():
            store(sidecar, name, value)
        store(sidecar, "NAME_0", "the-second-value-of-it")
        call(sidecar, "DELETE", "/api/credentials/NAME_1")
        assert records_file(sidecar.storage).with_name("records.db-wal").stat().st_size > 0
        for value in (SECRET, LINES, "the-second-value-of-it"):
            assert files_with(sidecar.storage, value) == []
        for name, value in {**values, "NAME_0": "the-second-value-of-it"}.items():
            if name != "NAME_1":
                assert value_of(sidecar, name) == value
        deployment.stop()
        for value in (SECRET, LINES, "the-second-value-of-it"):
            assert files_with(sidecar.storage, value) == []

    def test_the_key_is_outside_the_storage_and_private(self, deployment: Deployment) -> None:
        sidecar = deployment.start()
        store(sidecar, "NAME", SECRET)
        path = key_file(sidecar)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        key = path.read_bytes().strip()
        assert re.fullmatch(rb"[0-9a-f]{64}", key)
        for wanted in (key, bytes.fromhex(key.decode())):
            assert not [each for each in sidecar.storage.rglob("*") if each.is_file() and wanted in each.read_bytes()]
        store(sidecar, "NAME_2", SECRET)
        sidecar = deployment.start()
        assert path.read_bytes().strip() == key and value_of(sidecar, "NAME") == value_of(sidecar, "NAME_2") == SECRET

    def test_the_same_secret_twice_differs_on_disk(self, sidecar: SidecarProcess, name: str) -> None:
        seen = set()
        for each in (name, name + "_2", name):
            store(sidecar, each, SECRET)
            with database_of(sidecar) as database:
                (sealed,) = database.execute("SELECT sealed FROM credentials WHERE name = ?", (each,)).fetchone()
            seen |= {sealed, sealed[:12]}
        assert len(seen) == 6

    def test_a_secret_sealed_for_one_name_cannot_be_read_as_another(self, sidecar: SidecarProcess, name: str) -> None:
        store(sidecar, name, SECRET)
        store(sidecar, name + "_2", "theirs-theirs")
        with database_of(sidecar) as database:
            mine = "(SELECT sealed FROM credentials WHERE name = ?)"
            database.execute(f"UPDATE credentials SET sealed = {mine} WHERE name = ?", (name, name + "_2"))
            database.commit()
        refused(sidecar, 500, "CRD_002", "GET", f"/api/credentials/{name}_2", sidecar.operator)
        assert value_of(sidecar, name) == SECRET

    @pytest.mark.parametrize("damage", ["", "x", "x" * 11, "x" * 12, "x" * 40])
    def test_a_damaged_record_is_reported(self, sidecar: SidecarProcess, name: str, damage: str) -> None:
        store(sidecar, name, SECRET)
        with database_of(sidecar) as database:
            database.execute("UPDATE credentials SET sealed = ? WHERE name = ?", (damage.encode(), name))
            database.commit()
        refused(sidecar, 500, "CRD_002", "GET", f"/api/credentials/{name}", sidecar.operator)
        assert name in names(sidecar)
        store(sidecar, name, "anew")
        assert value_of(sidecar, name) == "anew"

    def test_the_key_path_is_configurable(self, tmp_path: Path, deployment: Deployment) -> None:
        by_file, by_environment = tmp_path / "a" / "b.key", tmp_path / "c" / "d.key"
        config = written(tmp_path / "config.json", agents={"credentials_key_file": str(by_file)})
        sidecar = deployment.start(config)
        store(sidecar, "NAME", SECRET)
        assert by_file.exists() and not key_file(sidecar).exists()
        sidecar = deployment.start(config, {"CCO_SIDECAR_CREDENTIALS_KEY_FILE": str(by_environment)})
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
                Seal(path, each, unused)
            assert "key file" in str(caught.value) and str(path) in str(caught.value)
        Seal(tmp_path / "storage.key", storage, unused)

    @pytest.mark.parametrize("by_environment", [False, True])
    def test_a_key_inside_the_storage_stops_the_start(self, tmp_path: Path, root: Path, by_environment: bool) -> None:
        path = str(tmp_path / "storage" / "x.key")
        agents = {} if by_environment else {"credentials_key_file": path}
        environment = {"CCO_SIDECAR_CREDENTIALS_KEY_FILE": path} if by_environment else None
        config = written(tmp_path / "config.json", agents=agents)
        line = start_refused(tmp_path, root, config, environment)
        assert "key file" in line and "inside the storage" in line and path in line


class TestWrongKey:
    """A wrong key is reported as such, and loses nothing."""

    @pytest.fixture(scope="class")
    @classmethod
    def locked(cls, tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[SidecarProcess]:
        deployment = Deployment(tmp_path_factory.mktemp("locked"), root)
        config = written(deployment.directory / "config.json", agents=AGENTS)
        sidecar = deployment.start(config)
        store(sidecar, "NAME", SECRET)
        store(sidecar, "RUNNER_KEY", SECRET)
        yield sidecar
        assert deployment.stop() == ""

    @pytest.fixture
    def key(self, locked: SidecarProcess) -> Iterator[Path]:
        """The key file; its former content is restored."""
        path = key_file(locked)
        kept = path.read_bytes()
        yield path
        if path.is_dir():
            path.rmdir()
        path.write_bytes(kept)
        path.chmod(0o600)
        assert value_of(locked, "NAME") == SECRET

    def test_a_missing_key(self, locked: SidecarProcess, key: Path) -> None:
        key.unlink()
        self.check(locked, key)
        assert not key.exists(), "a new key replaced the lost one"

    def test_a_key_that_is_a_directory(self, locked: SidecarProcess, key: Path) -> None:
        key.unlink()
        key.mkdir()
        self.check(locked, key)
        problem = refused(locked, 500, "CRD_002", "PUT", "/api/credentials/OTHER", locked.operator, json={"value": "x"})
        assert str(key) in problem["message"]

    @pytest.mark.parametrize(
        "content", [b"ab" * 32, b"", b"zz" * 32, b"ab" * 31, b"ab" * 16, b"\xff\xfe" * 40, b"ab" * 33]
    )
    def test_another_key_or_an_invalid_one(self, locked: SidecarProcess, key: Path, content: bytes) -> None:
        key.write_bytes(content)
        self.check(locked, key)
        assert key.read_bytes() == content
        if content != b"ab" * 32:
            body = {"value": "x"}
            refused(locked, 500, "CRD_002", "PUT", "/api/credentials/OTHER", locked.operator, json=body)

    def test_a_lost_key_is_not_replaced_while_there_are_secrets(self, locked: SidecarProcess, key: Path) -> None:
        """Once the old key was restored, anything sealed with the new one could never be read again."""
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

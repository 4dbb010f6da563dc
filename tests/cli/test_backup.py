"""`cco backup` and `cco restore`: nothing acknowledged is lost, and nothing corrupt is restored."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from tests.support.commands import fails, in_process, misused, printed, started
from tests.support.processes import process_alive
from tests.support.repositories import git
from tests.support.sidecars import agents, call, events, fresh, serving, until, written

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.storage import archive
from cco_sidecar.testing.agents import SpawnedAgent
from cco_sidecar.testing.process import SidecarProcess, run_cco

TREES = ("records.db", "signing-key.pem", "manifest.json", "events/", "results/", "agents/")
SECRET = "s3cr3t-of-the-backup"


def at(storage: Path) -> list[tuple[str, str]]:
    """The environment of a `cco` command on a given storage."""
    return [("CCO_SIDECAR_STORAGE", str(storage))]


def tree(directory: Path) -> dict[str, bytes | None]:
    """Everything in a directory: the names, and the contents of the files."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None for path in directory.rglob("*")
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[tuple[SidecarProcess, Path]]:
    """A sidecar with a result, an event, an ended agent and a credential; and a backup of it."""
    directory = tmp_path_factory.mktemp("saved")
    with serving(directory, root) as running:
        printed(run_cco(running, "credentials", "store", "KEY", SECRET))
        agent = running.agent(project="default")
        body = {"agent_type": agent.type, "issue_id": agent.issue, "result": {"status": "success"}}
        call(running, "POST", "/api/results", agent, json=body)
        assert started(running, "sh", "-c", "echo printed").wait()["status"] == "completed"
        printed(run_cco(running, "backup", str(directory / "backup.tar.gz")))
        yield running, directory / "backup.tar.gz"


class Load:
    """Stores results and publishes events without pause; remembers what was acknowledged."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self.results: list[str] = []
        self.events: list[str] = []
        self.problems: list[str] = []
        self._sidecar = sidecar
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._store, self._publish)]
        for thread in self._threads:
            thread.start()

    def until(self, number: int) -> None:
        """Waits until ``count`` of each are acknowledged."""
        until(lambda: self.problems or min(len(self.results), len(self.events)) >= number, "some load")

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _store(self) -> None:
        body = {"agent_type": "python-specialist", "issue_id": "loaded", "result": {"status": "success"}}
        self._go("/api/results", body, "id", self.results)

    def _publish(self) -> None:
        self._go("/api/events/loaded", {"topic": "testing", "data": {"text": "x" * 500}}, "event_id", self.events)

    def _go(self, path: str, body: Any, key: str, acknowledged: list[str]) -> None:
        with requests.Session() as session:
            session.headers.update(self._sidecar.operator.headers)
            while not self._over.is_set():
                answer = session.post(self._sidecar.url + path, json=body, timeout=20)
                if answer.status_code >= 300:
                    self.problems.append(answer.text)
                    return
                acknowledged.append(answer.json()[key])


def all_results(sidecar: SidecarProcess, issue: str) -> set[str]:
    found: set[str] = set()
    cursor: str | None = ""
    while cursor is not None:
        page = call(sidecar, "GET", f"/api/results?issue_id={issue}&limit=1000&cursor={cursor}")
        found |= {each["id"] for each in page["results"]}
        cursor = page["next_cursor"]
    return found


def test_a_backup_taken_under_load_has_everything_acknowledged(tmp_path: Path, root: Path) -> None:
    original = SidecarProcess(tmp_path / "storage", root)
    kept, revoked = original.agent(project="default"), original.agent(project="default")
    call(original, "POST", "/api/tokens/revoke", json={"agent_id": revoked.id})
    approval = call(original, "POST", "/api/approvals", kept, json={"question": "May I?"})
    printed(run_cco(original, "credentials", "store", "KEY", SECRET))
    copies = []
    load = Load(original)
    try:
        for number in range(2):
            load.until(100 * (number + 1))
            before = list(load.results), list(load.events)
            copy = tmp_path / f"backup-{number}.tar.gz"
            said = printed(run_cco(original, "backup", str(copy)))
            assert re.fullmatch(rf"copied \d+ files \(\d+ bytes\) to {re.escape(str(copy))}\n", said)
            copies.append((copy, *before))
    finally:
        load.stop()
    assert load.problems == []
    assert original.stop() == ""
    for number, (copy, results, published) in enumerate(copies):
        storage = tmp_path / f"restored-{number}"
        said = printed(run_cco(original, "restore", str(copy), environment=at(storage)))
        assert said == f"restored {storage}; start the sidecar with 'cco daemon start'\n"
        restored = SidecarProcess(storage, root)
        stored = all_results(restored, "loaded")
        assert set(results) <= stored
        copied = events(restored, "default")
        assert set(published) <= {event["event_id"] for event in copied}
        assert len({event["event_id"] for event in copied}) == len(copied)
        # Each result was announced, and none twice.
        announced = Counter(each["data"]["result_id"] for each in copied if each["event_type"] == "agent_completed")
        assert {announced[each] for each in stored} == {1}
        assert restored.request("GET", "/api/events", kept).status_code == 200
        assert restored.request("GET", "/api/events", revoked).status_code == 401
        waiting = call(restored, "GET", f"/api/approvals/{approval['approval_id']}")
        assert waiting["status"] == "pending"
        assert printed(run_cco(restored, "credentials", "get", "KEY")) == f"{SECRET}\n"
        # The restored sidecar continues from there.
        call(restored, "POST", "/api/events/after", kept, json={"topic": "testing", "data": {}})
        assert events(restored, "default")[-1]["event_type"] == "after"
        assert restored.stop() == ""


class TestArchive:
    def test_it_is_private_and_does_not_contain_the_key_of_the_credentials(
        self, saved: tuple[SidecarProcess, Path]
    ) -> None:
        sidecar, copy = saved
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        key = (sidecar.storage.parent / ".cco" / "credentials.key").read_bytes().strip()
        with tarfile.open(copy) as tar:
            names = tar.getnames()
            for member in tar.getmembers():
                assert member.isfile() and member.mode == 0o600
                data = tar.extractfile(member)
                assert data is not None
                content = data.read()
                assert key not in content and bytes.fromhex(key.decode()) not in content
                assert SECRET.encode() not in content and sidecar.operator.token.encode() not in content
        assert all(name.startswith(TREES) for name in names), names
        assert {"records.db", "signing-key.pem", "manifest.json"} <= set(names)
        assert [name for name in names if name.startswith("agents/")] and all(
            name.endswith("/output.log") for name in names if name.startswith("agents/")
        )

    def test_an_existing_backup_is_replaced_and_stays_private(
        self, saved: tuple[SidecarProcess, Path], tmp_path: Path
    ) -> None:
        sidecar, _ = saved
        target = tmp_path / "backup.tar.gz"
        target.write_text("an older one")
        target.chmod(0o644)
        fails(run_cco(sidecar, "backup", str(target)), "--force")
        assert target.read_text() == "an older one"
        printed(run_cco(sidecar, "backup", str(target), "--force"))
        assert tarfile.is_tarfile(target) and stat.S_IMODE(target.stat().st_mode) == 0o600
        assert [path.name for path in tmp_path.iterdir()] == ["backup.tar.gz"]

    def test_the_default_name_is_the_time(self, saved: tuple[SidecarProcess, Path], tmp_path: Path) -> None:
        sidecar, _ = saved
        said = printed(run_cco(sidecar, "backup", cwd=tmp_path))
        (made,) = tmp_path.iterdir()
        assert re.fullmatch(r"cco-backup-\d{8}-\d{6}\.tar\.gz", made.name) and said.endswith(
            f" bytes) to {made.name}\n"
        )

    def test_a_backup_works_while_the_sidecar_is_down(self, tmp_path: Path, root: Path) -> None:
        sidecar = SidecarProcess(tmp_path / "storage", root)
        call(sidecar, "POST", "/api/events/before", json={"topic": "testing", "data": {}})
        sidecar.kill()
        printed(run_cco(sidecar, "backup", str(tmp_path / "backup.tar.gz")))
        printed(run_cco(sidecar, "restore", str(tmp_path / "backup.tar.gz"), environment=at(tmp_path / "restored")))
        restored = SidecarProcess(tmp_path / "restored", root)
        assert [event["event_type"] for event in events(restored, "default")] == ["before"]
        assert restored.stop() == ""

    def test_a_failed_backup_is_one_clear_line(self, saved: tuple[SidecarProcess, Path], tmp_path: Path) -> None:
        sidecar, _ = saved
        fails(run_cco(sidecar, "backup", "/nowhere/backup.tar.gz"), "cannot write /nowhere/backup.tar.gz")
        nothing = at(tmp_path / "nothing")
        fails(run_cco(sidecar, "backup", "b.tar.gz", cwd=tmp_path, environment=nothing), "CCO_SIDECAR_STORAGE")
        damaged = tmp_path / "damaged"
        damaged.mkdir()
        (damaged / "records.db").write_text("this is no database at all" * 100)
        fails(run_cco(sidecar, "backup", "b.tar.gz", cwd=tmp_path, environment=at(damaged)), "records.db")
        assert not (tmp_path / "b.tar.gz").exists()


Members = dict[str, bytes]


def packed(members: Members, *more: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        for entry in more:
            tar.addfile(entry)
    return out.getvalue()


def unpacked(archive: bytes) -> Members:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {name: data.read() for name in tar.getnames() if (data := tar.extractfile(name)) is not None}


def changed(archive: bytes, **members: bytes | None) -> bytes:
    """The archive with changed contents of some members, and without those that are None."""
    content = unpacked(archive)
    for name, data in members.items():
        real = next(each for each in content if each.replace(".", "_").replace("-", "_") == name)
        if data is None:
            del content[real]
        else:
            content[real] = data
    return packed(content)


def flipped(archive: bytes) -> bytes:
    """With some bits of the compressed stream flipped."""
    data = bytearray(archive)
    for place in range(len(data) // 3, len(data) // 3 + 64):
        data[place] ^= 0xFF
    return bytes(data)


def manifest(**files: str) -> bytes:
    return json.dumps({"version": "1.0.0", "created_at": "2026-01-01T00:00:00Z", "files": files}).encode()


def symlink(name: str, target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry


WRONG: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda archive: b"",
    "text": lambda archive: b"a shopping list\n",
    "cut in the middle": lambda archive: archive[: len(archive) // 2],
    "cut short": lambda archive: archive[:-600],
    "damaged": flipped,
    "not compressed": lambda archive: b"\0" * 10_240,
    "a foreign archive": lambda archive: packed({"README.md": b"# Hello\n", "src/main.py": b"print()\n"}),
    "another database": lambda archive: changed(archive, records_db=b"SQLite format 3\0"),
    "a file is missing": lambda archive: changed(archive, signing_key_pem=None),
    "no manifest": lambda archive: changed(archive, manifest_json=None),
    "a manifest of text": lambda archive: changed(archive, manifest_json=b"all is well"),
    "a manifest that is a list": lambda archive: changed(archive, manifest_json=b"[1]"),
    "a manifest of another kind": lambda archive: changed(archive, manifest_json=b'{"files": ["records.db"]}'),
    "a manifest without files": lambda archive: changed(archive, manifest_json=b"{}"),
    "nothing but a manifest": lambda archive: packed({"manifest.json": manifest()}),
    "a file that is not in the manifest": lambda archive: packed(unpacked(archive) | {"operator.token": b"mine"}),
    "a path that leads out": lambda archive: packed(unpacked(archive) | {"../evil": b"x"}),
    "a link that leads out": lambda archive: packed(unpacked(archive), symlink("events/evil", "/etc")),
}


class TestRefused:
    @pytest.mark.parametrize("name", WRONG)
    def test_a_wrong_archive_changes_nothing(
        self, saved: tuple[SidecarProcess, Path], tmp_path: Path, name: str
    ) -> None:
        sidecar, copy = saved
        source = tmp_path / "wrong.tar.gz"
        source.write_bytes(WRONG[name](copy.read_bytes()))
        storage = tmp_path / "deployment" / "storage"
        storage.mkdir(parents=True)
        for kept in ("records.db", "events", "results", "logs", "context-cache", "sidecar.lock"):
            (storage / kept).write_text("kept") if "." in kept else (storage / kept).mkdir()
        before = tree(tmp_path)
        fails(run_cco(sidecar, "restore", str(source), "--force", environment=at(storage)), str(source))
        assert tree(tmp_path) == before

    def test_no_flipped_bit_is_restored(self, saved: tuple[SidecarProcess, Path], tmp_path: Path) -> None:
        """Whichever bit it is, either the archive is refused with a clear message or the bit does not matter."""
        sound = saved[1].read_bytes()
        archive.restore(saved[1], tmp_path / "right", force=False)
        right = tree(tmp_path / "right")
        chosen = random.Random(sound)
        source, storage = tmp_path / "wrong.tar.gz", tmp_path / "storage"
        for _ in range(300):
            data = bytearray(sound)
            data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
            source.write_bytes(data)
            try:
                archive.restore(source, storage, force=False)
            except SettingsError as problem:
                assert str(source) in str(problem) and "\n" not in str(problem)
                assert not storage.exists()
            else:
                assert tree(storage) == right
                shutil.rmtree(storage)

    def test_a_storage_with_data_is_kept_or_moved_aside(
        self, saved: tuple[SidecarProcess, Path], tmp_path: Path
    ) -> None:
        sidecar, copy = saved
        storage = tmp_path / "storage"
        printed(run_cco(sidecar, "restore", str(copy), environment=at(storage)))
        (storage / "results" / "mine.json").write_text("mine")
        before = {name: data for name, data in tree(storage).items() if data is not None}
        fails(run_cco(sidecar, "restore", str(copy), environment=at(storage)), "--force")
        assert tree(storage).items() >= before.items()
        said = printed(run_cco(sidecar, "restore", str(copy), "--force", environment=at(storage)))
        moved = re.fullmatch(r"moved the previous storage to (\S+)\nrestored \S+; start .*\n", said)
        assert moved is not None, said
        assert tree(Path(moved[1])).items() >= before.items()
        assert not (storage / "results" / "mine.json").exists() and (storage / "records.db").exists()
        assert stat.S_IMODE(storage.stat().st_mode) == 0o700
        assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in storage.rglob("*"))

    def test_a_directory_that_is_not_a_storage_is_not_moved_without_force(
        self, saved: tuple[SidecarProcess, Path], tmp_path: Path
    ) -> None:
        """CCO_SIDECAR_STORAGE=$HOME is an easy mistake."""
        sidecar, copy = saved
        storage = tmp_path / "thesis"
        storage.mkdir()
        (storage / "chapter-1.txt").write_text("It was a dark and stormy night.")
        before = tree(tmp_path)
        done = run_cco(sidecar, "restore", str(copy), environment=at(storage))
        assert tree(tmp_path) == before, done.stdout
        fails(done, "--force")

    @pytest.mark.parametrize("force", [[], ["--force"]])
    def test_a_storage_in_use_is_kept(self, saved: tuple[SidecarProcess, Path], force: list[str]) -> None:
        sidecar, copy = saved
        before = sidecar.storage.stat().st_ino
        fails(run_cco(sidecar, "restore", str(copy), *force), "in use by another sidecar; fix: stop it")
        assert sidecar.storage.stat().st_ino == before and not list(sidecar.storage.parent.glob("*.before-*"))
        assert sidecar.request("GET", "/health").status_code == 200

    def test_an_obstacle_is_one_clear_line(self, saved: tuple[SidecarProcess, Path], tmp_path: Path) -> None:
        sidecar, copy = saved
        (tmp_path / "file").write_text("x")
        for storage in (tmp_path / "file", tmp_path / "file" / "storage"):
            fails(run_cco(sidecar, "restore", str(copy), environment=at(storage)), str(tmp_path / "file"))
        assert (tmp_path / "file").read_text() == "x"

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            (["restore"], "SOURCE"),
            (["restore", "/nowhere/backup.tar.gz"], "/nowhere/backup.tar.gz"),
            (["restore", "/tmp"], "/tmp"),
            (["restore", "one", "two"], "one"),
            (["backup", "/tmp"], "/tmp"),
            (["backup", "one", "two"], "two"),
            (["backup", "--sorce"], "--sorce"),
        ],
    )
    def test_bad_usage_is_reported(self, line: list[str], says: str, tmp_path: Path) -> None:
        misused(in_process(*line, cwd=tmp_path), says)


class Pair(NamedTuple):
    """A sidecar whose agents are running, and another one restored from its backup."""

    original: SidecarProcess
    restored: SidecarProcess
    plain: SpawnedAgent
    retried: SpawnedAgent
    isolated: SpawnedAgent

    def there(self, agent: SpawnedAgent) -> dict[str, Any]:
        """The agent as the restored sidecar sees it."""
        return SpawnedAgent(self.restored, {"agent_id": agent.id, "jwt_token": None}).get()


class TestAgentsThatRan:
    @pytest.fixture
    def pair(self, tmp_path: Path, root: Path) -> Iterator[Pair]:
        command = ["sh", "-c", "while :; do sleep 0.1; done"]
        retry = {"command": command, "retry": {"attempts": 3, "backoff_seconds": 0}}
        config = written(tmp_path / "config.json", agents={"runners": {"go-specialist": retry}})
        with ExitStack() as stack:
            original = SidecarProcess(tmp_path / "storage", root, config=config)
            stack.callback(original.stop)
            ran = (
                started(original, *command, issue="plain"),
                started(original, issue="retried", agent_type="go-specialist"),
                started(original, *command, issue="isolated", isolation="worktree"),
            )
            copy = str(tmp_path / "backup.tar.gz")
            printed(run_cco(original, "backup", copy))
            printed(run_cco(original, "restore", copy, environment=at(tmp_path / "restored")))
            restored = SidecarProcess(tmp_path / "restored", root, config=config)
            stack.callback(restored.stop)
            yield Pair(original, restored, *ran)

    def seen(self, pair: Pair) -> dict[str, tuple[str, int]]:
        """What the restored sidecar reports, once it has checked all agents."""
        until(lambda: pair.there(pair.isolated)["status"] != "running", "the verdict of the restored sidecar")
        until(lambda: pair.there(pair.plain)["status"] != "running", "the verdict of the restored sidecar")
        # A retry without a pause would have started by now.
        marker = SpawnedAgent(pair.restored, started(pair.restored, "uname", issue=fresh("marker")).spawned)
        marker.wait("completed")
        return {each["issue_id"]: (each["status"], each["attempt"]) for each in agents(pair.restored, "default")}

    def test_agents_fail_in_the_copy_and_keep_running_in_the_original(self, pair: Pair) -> None:
        pids = {agent.get()["process_id"] for agent in (pair.plain, pair.retried, pair.isolated)}
        self.seen(pair)
        found = pair.there(pair.plain)
        assert found["status"] == "failed" and "process_id" not in found, found
        assert "exit status unknown: it ended while no sidecar was running" in found["reason"]
        failed = events(pair.restored, "default", "agent_failed")
        assert pair.plain.id in {event["data"]["agent_id"] for event in failed}
        assert {agent.get()["status"] for agent in (pair.plain, pair.retried)} == {"running"}
        assert all(process_alive(pid) for pid in pids)
        # Its token is still valid at the original.
        assert pair.original.request("GET", "/api/events", headers=pair.plain.headers).status_code == 200

    def test_the_worktree_of_an_agent_running_at_the_original_is_left_alone(self, pair: Pair) -> None:
        path, branch = Path(pair.isolated.get()["worktree"]), pair.isolated.get()["branch"]
        assert path.is_relative_to(pair.original.storage)
        self.seen(pair)
        assert (path / "README.md").exists(), "the restored sidecar removed a worktree of the original"
        assert git(pair.original.root, "branch", "--list", branch) != ""

    def test_no_agent_is_started_a_second_time(self, pair: Pair) -> None:
        found = self.seen(pair)
        assert found["retried"] == ("failed", 1), "two copies of it are running"


def test_restoring_in_place_brings_back_the_earlier_state(tmp_path: Path, root: Path) -> None:
    sidecar = SidecarProcess(tmp_path / "storage", root)
    call(sidecar, "POST", "/api/events/kept", json={"topic": "testing", "data": {}})
    printed(run_cco(sidecar, "backup", str(tmp_path / "backup.tar.gz")))
    call(sidecar, "POST", "/api/events/later", json={"topic": "testing", "data": {}})
    assert sidecar.stop() == ""
    printed(run_cco(sidecar, "restore", str(tmp_path / "backup.tar.gz"), "--force"))
    sidecar = SidecarProcess(tmp_path / "storage", root)
    assert [event["event_type"] for event in events(sidecar, "default")] == ["kept"]
    assert sidecar.stop() == ""


def test_the_default_target_is_the_storage_of_the_daemon(saved: tuple[SidecarProcess, Path], tmp_path: Path) -> None:
    """The last line says that `cco daemon start` starts with it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CCO_", "JWT_", "SIDECAR_"))}
    ours = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    # The data there makes it the target, whatever the foreground's default storage on this machine holds.
    place = tmp_path / "state" / "cco-sidecar"
    place.mkdir(parents=True)
    (place / "records.db").write_text("former")
    done = subprocess.run(
        [sys.executable, "-m", "cco_sidecar.cli.main", "restore", "--force", str(saved[1])],
        env=clean | ours, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.endswith(f"\nrestored {place}; start the sidecar with 'cco daemon start'\n")
    assert (place / "records.db").read_bytes().startswith(b"SQLite format 3")

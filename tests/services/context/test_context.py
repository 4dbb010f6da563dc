"""Contexts of real repositories: never stale, never a secret, never over the limit, always the same bytes."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.support.repositories import commit_all, git

from cco_sidecar.bus.embedded import EmbeddedBus
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.metrics import CacheFigures
from cco_sidecar.core.projects import Projects
from cco_sidecar.core.settings import Settings
from cco_sidecar.repository.snapshot import Scanner
from cco_sidecar.services.context.build import LIMIT_BYTES
from cco_sidecar.services.context.chunks import parts_of
from cco_sidecar.services.context.service import ContextService
from cco_sidecar.storage.eventlog.log import SegmentLog
from cco_sidecar.storage.files import open_storage
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.sqlite import Sqlite
from cco_sidecar.storage.sql.stores import SqlStores
from cco_sidecar.storage.trust import load_agent_types
from orchestra.v1.context_service_pb2 import DISPOSITION_LEFT_OUT, GetContextResponse

Get = Callable[..., object]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "tests").mkdir()
    (root / "docs").mkdir()
    (root / "src" / "app.py").write_text("def main():\n    return 1\n")
    (root / "src" / "auth_token.py").write_text("# how tokens are checked\ndef check(token):\n    return bool(token)\n")
    (root / "src" / "main.go").write_text("// Package main is the entry.\npackage main\n")
    (root / "tests" / "test_app.py").write_text("def test_main():\n    assert True\n")
    (root / "docs" / "guide.md").write_text("# Guide\n")
    (root / "pyproject.toml").write_text(
        '[project]\nname = "x"\nrequires-python = ">=3.11"\ndependencies = ["httpx>=0.27"]\n'
    )
    (root / ".gitignore").write_text("ignored/\n*.log\n")
    commit_all(root)
    return root


@pytest.fixture
async def service(tmp_path: Path, root: Path) -> AsyncIterator[ContextService]:
    storage = tmp_path / "storage"
    lock = open_storage(storage)
    log, database = SegmentLog(storage / "events"), Database(Sqlite(storage / "records.db"))
    settings = Settings(storage=storage, project_root=root)
    bus = EmbeddedBus(log, Clock(), settings)
    service = ContextService(
        settings,
        Projects(settings),
        load_agent_types(root),
        SqlStores(database),
        bus,
        Clock(),
        CacheFigures(),
    )
    yield service
    await bus.close()
    service.close()
    database.close()
    await log.close()
    os.close(lock)


async def get(service: ContextService, agent_type: str = "python-specialist", task: str = "") -> GetContextResponse:
    answer = await service.get("default", "issue-1", agent_type, task)
    return GetContextResponse.FromString(answer.cached.wire)


async def files(service: ContextService, agent_type: str = "python-specialist", task: str = "") -> dict[str, str]:
    answer = await get(service, agent_type, task)
    return {file.path: file.content for file in answer.context.relevant_files}


@pytest.mark.parametrize(
    ("agent_type", "has", "has_not"),
    [
        ("python-specialist", {"src/app.py", "tests/test_app.py", "pyproject.toml"}, {"src/main.go", "docs/guide.md"}),
        ("go-specialist", {"src/main.go"}, {"src/app.py", "docs/guide.md"}),
        ("chief-architect", {"src/app.py", "src/main.go", "pyproject.toml", "docs/guide.md"}, set()),
        (
            "test-engineer",
            {"tests/test_app.py", "src/auth_token.py", "src/main.go", "pyproject.toml"},
            {"docs/guide.md"},
        ),
        (
            "security-auditor",
            {"tests/test_app.py", "src/auth_token.py", "src/main.go", "pyproject.toml"},
            {"docs/guide.md"},
        ),
        ("technical-writer", {"docs/guide.md", "src/main.go"}, {"pyproject.toml"}),
        ("business-analyst", {"docs/guide.md"}, {"src/app.py"}),
    ],
)
async def test_which_files_each_type_gets(
    service: ContextService, agent_type: str, has: set[str], has_not: set[str]
) -> None:
    got = set(await files(service, agent_type))
    assert has <= got and not has_not & got


async def test_documentation_agents_get_code_comments(service: ContextService) -> None:
    got = await files(service, "technical-writer")
    assert "Package main is the entry" in got["src/main.go"] and "package main\n" not in got["src/main.go"]
    assert "src/app.py" not in got


async def test_all_119_types_have_a_context(service: ContextService, root: Path) -> None:
    types = load_agent_types(root)
    assert len(types) == 119
    for agent_type in types:
        answer = await get(service, agent_type)
        assert answer.context.project_structure.total_files == 7


async def test_a_user_defined_type_needs_no_code(root: Path, service: ContextService) -> None:
    (root / "config").mkdir()
    (root / "config" / "orchestra-config.json").write_text(
        '{"codingAgents": [{"name": "Mine", "type": "my-custom-agent", "model": "sonnet", "role": "Does custom work",'
        ' "capabilities": ["x"], "languages": ["go"]}]}'
    )
    types = load_agent_types(root)
    assert len(types) == 120
    assert types["my-custom-agent"].permissions == types["python-specialist"].permissions
    assert "*.go" in types["my-custom-agent"].file_patterns


# -- freshness ------------------------------------------------------------------------------------------


def edit(root: Path) -> None:
    (root / "src" / "app.py").write_text("def main():\n    return 2\n")


def same_size_and_time(root: Path) -> None:
    path = root / "src" / "app.py"
    info = path.stat()
    path.write_text(path.read_text().replace("1", "7"))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def delete(root: Path) -> None:
    (root / "src" / "app.py").unlink()


def rename(root: Path) -> None:
    (root / "src").rename(root / "lib")


def new_directories(root: Path) -> None:
    (root / "a" / "b" / "c").mkdir(parents=True)
    (root / "a" / "b" / "c" / "new.py").write_text("x = 1\n")


def ignored_no_more(root: Path) -> None:
    (root / ".gitignore").write_text("")


def branch(root: Path) -> None:
    git(root, "checkout", "--quiet", "-b", "other")


def nested_branch(root: Path) -> None:
    git(root, "checkout", "--quiet", "-b", "feature/deep")


def commit(root: Path) -> None:
    git(root, "commit", "--quiet", "--allow-empty", "--message", "nothing")


def report(root: Path) -> None:
    (root / "coverage.xml").write_text('<coverage line-rate="0.875"/>')


def stage(root: Path) -> None:
    (root / "src" / "staged.py").write_text("")
    git(root, "add", "src/staged.py")


@pytest.mark.parametrize(
    "change",
    [
        edit,
        same_size_and_time,
        delete,
        rename,
        new_directories,
        ignored_no_more,
        branch,
        nested_branch,
        commit,
        report,
        stage,
    ],
)
async def test_every_change_is_visible_at_once(
    service: ContextService, root: Path, change: Callable[[Path], None]
) -> None:
    (root / "ignored").mkdir()
    (root / "ignored" / "hidden.py").write_text("hidden = True\n")
    first = await get(service)
    assert (await service.get("default", "issue-1", "python-specialist")).hit
    change(root)
    answer = await service.get("default", "issue-1", "python-specialist")
    assert not answer.hit
    assert GetContextResponse.FromString(answer.cached.wire) != first


async def test_changes_in_new_directories_are_visible(service: ContextService, root: Path) -> None:
    await get(service)
    (root / "late").mkdir()
    await get(service)
    (root / "late" / "x.py").write_text("x = 1\n")
    assert "late/x.py" in await files(service)
    (root / "late" / "x.py").write_text("x = 2\n")
    assert (await files(service))["late/x.py"] == "x = 2\n"


async def test_an_ignored_change_leaves_the_cache_alone(service: ContextService, root: Path) -> None:
    (root / "ignored").mkdir()
    await get(service)
    (root / "ignored" / "noise.py").write_text("x")
    assert (await service.get("default", "issue-1", "python-specialist")).hit


async def test_a_plain_directory_works_too(service: ContextService, root: Path) -> None:
    subprocess.run(["rm", "-rf", str(root / ".git")], check=True)
    got = await get(service)
    assert "src/app.py" in [file.path for file in got.context.relevant_files]
    assert not got.context.git_context.HasField("branch")
    edit(root)
    assert "return 2" in (await files(service))["src/app.py"]


# -- what is left out -----------------------------------------------------------------------------------


async def test_secrets_binaries_and_links_are_left_out(service: ContextService, root: Path, tmp_path: Path) -> None:
    key = "AKIA" + "ABCDEFGHIJKLMNOP"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "private.py").write_text("outside = True\n")
    (root / ".env").write_text(f"AWS={key}\n")
    (root / "deploy.pem").write_text("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n")
    (root / "src" / "logo.py").write_bytes(b"\0\1\2binary")
    (root / "src" / "config.py").write_text(f'ACCESS = "{key}"\npassword = "hunter2hunter2"\nok = 1\n')
    (root / "src" / "link.py").symlink_to(outside / "private.py")
    (root / "linked").symlink_to(outside)
    answer = await get(service, "chief-architect")
    wire = answer.SerializeToString()
    for secret in (key, "hunter2hunter2", "outside = True", "BEGIN PRIVATE"):
        assert secret.encode() not in wire
    got = {file.path: file.content for file in answer.context.relevant_files}
    assert got["src/config.py"] == 'ACCESS = "[masked]"\npassword = "[masked]"\nok = 1\n'
    assert answer.manifest.secrets_masked == 2
    left_out = {e.path: e.reason for e in answer.manifest.entries if e.disposition == DISPOSITION_LEFT_OUT}
    assert left_out[".env"] == left_out["deploy.pem"] == "secret_file"
    assert left_out["src/logo.py"] == "binary"
    assert left_out["src/link.py"] == left_out["linked"] == "symlink"


async def test_a_directory_replaced_by_a_link_is_not_followed(
    service: ContextService, root: Path, tmp_path: Path
) -> None:
    await get(service)
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "app.py").write_text("stolen = True\n")
    (root / "src").rename(root / "was")
    (root / "src").symlink_to(tmp_path / "evil")
    assert b"stolen" not in (await get(service, "chief-architect")).SerializeToString()


async def test_credentials_of_the_remote_are_not_shown(service: ContextService, root: Path) -> None:
    git(root, "remote", "add", "origin", "https://kim:s3cr3tw0rd@example.com/x.git")
    history = (await get(service)).context.git_context
    assert (history.remote, history.remote_url) == ("origin", "https://example.com/x.git")


# -- git, metadata, priority ---------------------------------------------------------------------------


async def test_history_and_uncommitted_changes(service: ContextService, root: Path) -> None:
    (root / "src" / "app.py").write_text("def main():\n    return 2\n\n\n# more\n")
    (root / "new file.py").write_text("x = 1\n")
    history = (await get(service)).context.git_context
    assert history.branch == git(root, "branch", "--show-current").strip()
    (commit_,) = history.recent_commits
    assert commit_.hash == git(root, "rev-parse", "HEAD").strip()
    assert (commit_.message, commit_.author) == ("Everything", "Tester")
    assert "src/app.py" in commit_.files_changed
    changes = {change.path: (change.status, change.diff) for change in history.uncommitted_changes}
    assert changes == {"src/app.py": ("modified", "+4 -1"), "new file.py": ("untracked", "")}


async def test_a_repository_without_commits(tmp_path: Path, service: ContextService, root: Path) -> None:
    subprocess.run(["rm", "-rf", str(root / ".git")], check=True)
    git(root, "init", "--quiet")
    answer = await get(service)
    assert answer.file_count == 4 and not answer.context.git_context.recent_commits


async def test_metadata_is_read_or_absent(service: ContextService, root: Path) -> None:
    known = (await get(service)).context.metadata
    assert (known.project_type, list(known.dependencies), known.python_version) == ("python", ["httpx>=0.27"], ">=3.11")
    for name in ("test_coverage", "last_build_status", "last_build_time", "security_scan_status"):
        assert not known.HasField(name)
    (root / "coverage.xml").write_text('<coverage line-rate="0.875"/>')
    (root / "junit.xml").write_text('<testsuites><testsuite failures="1" errors="0"/></testsuites>')
    (root / "results.sarif").write_text('{"runs": [{"results": []}]}')
    (root / "package.json").write_text('{"dependencies": {"left-pad": "^1.0"}}')
    known = (await get(service)).context.metadata
    assert (known.test_coverage, known.last_build_status, known.security_scan_status) == (87.5, "failed", "clean")
    assert (known.project_type, list(known.dependencies)) == ("mixed", ["httpx>=0.27", "left-pad@^1.0"])


@pytest.mark.parametrize(
    "name", ["pyproject.toml", "package.json", "go.mod", "Cargo.toml", "coverage.xml", "junit.xml", "results.sarif"]
)
@pytest.mark.parametrize(
    "content", [b"", b"[", b"{}", b"[1]", b"\xff\xfe", b'{"dependencies": 5}', b"<a", b'{"total": 1}', b'{"runs": 3}']
)
async def test_odd_manifests_are_harmless(service: ContextService, root: Path, name: str, content: bytes) -> None:
    (root / name).write_bytes(content)
    assert (await get(service)).file_count >= 2


async def test_files_named_by_the_task_come_first(service: ContextService) -> None:
    answer = await get(service, task="Fix the return value in src/main.go, see guide")
    paths = [file.path for file in answer.context.relevant_files]
    assert paths[:2] == ["docs/guide.md", "src/main.go"]


async def test_the_same_tree_gives_the_same_bytes(service: ContextService) -> None:
    first = await get(service)
    service.clear(None, "")
    second = await get(service)
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert first.manifest.checksum.startswith("sha256:")


async def test_the_limit_holds_and_truncation_is_visible(service: ContextService, root: Path) -> None:
    for number in range(60):
        (root / "src" / f"big_{number:02}.py").write_text(f"line = {number}\n" * 60_000)
    answer = await get(service)
    assert answer.truncated and answer.truncation_strategy == "smart"
    assert answer.context.ByteSize() <= LIMIT_BYTES and answer.total_size_bytes == answer.context.ByteSize()
    cut = [file for file in answer.context.relevant_files if "bytes left out here" in file.content]
    assert cut and all(file.content.startswith("line = ") and file.content.endswith("\n") for file in cut)
    assert answer.manifest.files_cut == len(cut)
    assert any(entry.reason == "no_room" for entry in answer.manifest.entries)


# -- untrusted content ----------------------------------------------------------------------------------


async def test_lock_files_of_package_managers_are_detected(service: ContextService, root: Path) -> None:
    (root / "poetry.lock").write_text("one")
    first = (await get(service)).context.project_structure.total_size_bytes
    (root / "poetry.lock").write_text("longer")
    assert (await get(service)).context.project_structure.total_size_bytes == first + 3


async def test_a_request_during_a_scan_waits_for_it(service: ContextService, root: Path) -> None:
    project = service._project("default")
    before = await project.current()
    edit(root)
    one, other = await asyncio.gather(project.current(), project.current())
    assert one == other != before and await project.current() == one


async def test_a_cancelled_scan_leaves_nothing_stale(service: ContextService, root: Path) -> None:
    project = service._project("default")
    await project.current()
    (root / "src" / "app.py").write_text("changed = True\n")
    task = asyncio.create_task(project.current())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "changed = True" in (await files(service))["src/app.py"]


async def test_odd_commits_and_remotes(service: ContextService, root: Path) -> None:
    subject = "odd \x1e\x1f subject " + "ghp_" + "a1" * 20
    subprocess.run(["git", "-c", "user.name=A\x1fB", "-c", "user.email=x@y.z", "commit", "-q", "--allow-empty", "-m", subject], cwd=root, check=True)  # fmt: skip
    git(root, "config", "remote.my fork.url", "https://user:pw12345678@[broken/x")
    history = (await get(service)).context.git_context
    assert history.recent_commits[0].message == "odd \x1e\x1f subject [masked]"
    assert history.remote == "my fork" and "pw12345678" not in history.remote_url


async def test_a_repository_cannot_run_programs(service: ContextService, root: Path, tmp_path: Path) -> None:
    git(root, "config", "filter.evil.clean", f"touch {tmp_path}/ran; cat")
    git(root, "config", "filter.evil.process", f"touch {tmp_path}/ran")
    git(root, "config", "core.fsmonitor", f"touch {tmp_path}/ran")
    (root / ".gitattributes").write_text("*.py filter=evil\n")
    edit(root)
    assert (await get(service)).context.git_context.uncommitted_changes
    assert not (tmp_path / "ran").exists()


async def test_a_repository_that_git_cannot_read_is_not_treated_as_a_plain_directory(
    service: ContextService, root: Path
) -> None:
    (root / ".gitignore").write_text("private.py\n")
    (root / "private.py").write_text("private = True\n")
    (root / ".git" / "HEAD").write_text("broken")
    with pytest.raises(SidecarError) as caught:
        await get(service)
    assert caught.value.code == "CTX_001"


async def test_a_project_below_the_root_of_its_repository(tmp_path: Path, service: ContextService, root: Path) -> None:
    snapshot, _ = Scanner(root / "src", tmp_path / "storage").scan(afresh=False)
    assert set(snapshot.files) == {"app.py", "auth_token.py", "main.go"}
    assert set(snapshot.git.recent_commits[0].files_changed) == {"app.py", "auth_token.py", "main.go"}


async def test_a_storage_inside_the_project_is_left_out(tmp_path: Path, root: Path) -> None:
    (root / ".cco").mkdir()
    (root / ".cco" / "operator.token").write_text("secret")
    snapshot, _ = Scanner(root, root / ".cco").scan(afresh=False)
    assert not [path for path in snapshot.files if path.startswith(".cco")] and not snapshot.barred
    assert not snapshot.git.uncommitted_changes


async def test_the_limit_holds_for_lists_too(service: ContextService, root: Path) -> None:
    (root / "requirements.txt").write_text("".join(f"package-{n}-{'x' * 150}==1.0\n" for n in range(60_000)))
    answer = await get(service)
    assert answer.context.ByteSize() <= LIMIT_BYTES
    sizes = [part.ByteSize() for part in parts_of(answer, hit=False)]
    assert max(sizes) <= 2 * 2**20

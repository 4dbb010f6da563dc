"""Contexts within a budget: never over it, never a secret, always the same bytes."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.repositories import commit_all, git

from cco_sidecar.core.budget import Budget
from cco_sidecar.core.codec import to_json
from cco_sidecar.repository.watch import NO_QUEUE
from cco_sidecar.services.context import tokens
from cco_sidecar.services.context.documents import NamedDocument
from cco_sidecar.services.context.material import Material
from cco_sidecar.services.context.worker import Wanted, Worker
from cco_sidecar.storage.trust import load_agent_types
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1 import context_service_pb2 as pb
from orchestra.v1.context_service_pb2_grpc import ContextServiceStub
from orchestra.v1.knowledge_service_pb2 import KnowledgeEntry

KEY = "ghp_" + "Zq3xW7eR5tY9uI1oP2aS4dF6gH8jK0lM" + "abcd"
TASK = "the queue loses entries when a worker stops"
WORDS = [
    "queue",
    "worker",
    "entry",
    "def stop(worker):",
    "    return queue",
    "",
    "é" * 40,
    "x" * 300,
    '"\\\t',
    KEY,
    "a\r",
]
contents = st.lists(st.sampled_from(WORDS), max_size=300).map("\n".join)
trees = st.dictionaries(
    st.sampled_from(
        [f"{d}{n}.{s}" for d in ("", "src/", "tests/deep/er/") for n in "abcde" for s in ("py", "md", "json")]
    ),
    contents,
    max_size=25,
)


def made(
    root: Path,
    task: str,
    max_bytes: int | None,
    agent_type: str = "python-specialist",
    max_tokens: int | None = None,
    outputs: Sequence[pb.PreviousAgentOutput] = (),
    documents: Sequence[NamedDocument] = (),
    knowledge: Sequence[KnowledgeEntry] = (),
) -> pb.GetContextResponse:
    with tempfile.TemporaryDirectory() as storage:
        worker = Worker(NO_QUEUE, Path(storage), 2**26, [root])
        digest = worker.scan(root, afresh=False, keep=False).digest
        types = load_agent_types(root)
        budget = Budget(max_bytes, max_tokens)
        material = Material(
            [each.SerializeToString() for each in outputs], documents, [each.SerializeToString() for each in knowledge]
        )
        wanted = Wanted(root, digest, "issue-1", types.require(agent_type), types.file_sets, task, material, budget)
        return pb.GetContextResponse.FromString(worker.make(wanted).wire)


@given(trees, st.integers(4096, 60_000), st.sampled_from(["", TASK]))
@settings(max_examples=25, deadline=None)
def test_any_tree_within_any_budget(tree: dict[str, str], max_bytes: int, task: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for path, text in tree.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, newline="")
        (root / ".env").write_text(f"KEY={KEY}")
        response = made(root, task, max_bytes)
        text = to_json(response)
        assert len(text) <= max_bytes and KEY.encode() not in text
        assert made(root, task, max_bytes) == response
        _adds_up(response, tree)


def _adds_up(response: pb.GetContextResponse, tree: dict[str, str]) -> None:
    manifest = response.manifest
    included = [each for each in manifest.entries if each.disposition != pb.DISPOSITION_LEFT_OUT]
    left = [each for each in manifest.entries if each.disposition == pb.DISPOSITION_LEFT_OUT]
    files = response.context.relevant_files
    assert [each.path for each in included] == [file.path for file in files]
    assert [each.bytes for each in included] == [len(file.content.encode()) for file in files]
    assert manifest.files_included == len(files) == response.file_count
    assert manifest.files_left_out == sum(each.files for each in left)
    assert len(files) + manifest.files_left_out == len(tree) + 1
    assert response.total_size_bytes == response.context.ByteSize()
    for file in files:
        lines = tree[file.path].replace(KEY, "[masked]").split("\n")
        shown = [line for line in file.content.split("\n") if not line.startswith("[... line")]
        assert all(line in lines for line in shown)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    padding = "".join(f"def helper_{n}(x):\n    return x + {n}\n\n\n" for n in range(900))
    (root / "src" / "queue.py").write_text(f"{padding}def stop(worker):\n    worker.entries.clear()\n\n\n{padding}")
    (root / "src" / "other.py").write_text(padding)
    (root / "README.md").write_text("# Words\n")
    commit_all(root)
    return root


def test_the_place_that_the_task_names_is_shown_with_its_lines(root: Path) -> None:
    response = made(root, TASK, 16_384)
    file = response.context.relevant_files[0]
    assert file.path == "src/queue.py" and "worker.entries.clear()" in file.content
    assert re.search(r"^\[\.\.\. lines \d+-\d+ left out \.\.\.\]$", file.content, re.MULTILINE)
    assert response.manifest.entries[0].disposition == pb.DISPOSITION_CUT
    assert (response.manifest.entries[0].reason, response.manifest.entries[0].score) == ("relevant", 1)


def test_what_is_chosen_is_not_truncated(root: Path) -> None:
    (root / "src" / "queue.py").write_text("def stop(worker):\n    worker.entries.clear()\n")
    git(root, "commit", "-qam", "smaller")
    response = made(root, TASK, 65_536)
    assert (response.truncated, response.truncation_strategy) == (False, "none")


def test_a_file_that_the_task_names_comes_first(root: Path) -> None:
    for name in ("src/other.py", "other.py"):
        manifest = made(root, f"look at {name}", 32_768).manifest
        assert (manifest.entries[0].path, manifest.entries[0].reason) == ("src/other.py", "named_by_task")


def test_the_best_that_is_left_out_is_named_and_the_rest_is_a_map(root: Path) -> None:
    for number in range(40):
        (root / "src" / f"stop_{number:02}.py").write_text(
            f"def stop(worker):\n    worker.entries.clear({number})\n" * 40
        )
    (root / "docs" / "deep").mkdir(parents=True)
    (root / "docs" / "deep" / "a.txt").write_text("nothing\n")
    commit_all(root)
    left = [each for each in made(root, TASK, 32_768).manifest.entries if each.disposition == pb.DISPOSITION_LEFT_OUT]
    named = [each for each in left if each.HasField("score")]
    assert any(each.path.startswith("src/stop_") for each in named) and all(each.files == 1 for each in named)
    assert [each.score for each in named] == sorted((each.score for each in named), reverse=True)
    assert {"docs/**", "src/**"} <= {each.path for each in left}


@pytest.mark.parametrize("max_tokens", [4096, 9_000, 40_000])
def test_a_budget_in_tokens(root: Path, max_tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    response = made(root, TASK, None, max_tokens=max_tokens)
    count = tokens.tokenizer().count(to_json(response))
    assert response.tokenizer == "o200k_base"
    assert count <= response.total_tokens <= max_tokens
    assert count > max_tokens * 0.8 or not response.truncated
    monkeypatch.setattr(tokens, "_Vocabulary", lambda: __import__("a_package_that_is_not_there"))
    tokens.tokenizer.cache_clear()
    estimated = made(root, TASK, None, max_tokens=max_tokens)
    tokens.tokenizer.cache_clear()
    assert estimated.tokenizer == "estimate"
    assert len(to_json(estimated)) / 3 <= estimated.total_tokens <= max_tokens


def test_a_large_budget_in_tokens_is_counted(root: Path) -> None:
    for part in range(3):
        (root / "src" / f"large_{part}.py").write_text("".join(f"queue_{n} = worker({n})\n" for n in range(35_000)))
    response = made(root, TASK, None, max_tokens=1_000_000)
    assert 200_000 < response.total_tokens <= 1_000_000


def test_both_budgets_hold(root: Path) -> None:
    response = made(root, TASK, 6_000, max_tokens=9_000)
    assert len(to_json(response)) <= 6_000 and response.total_tokens <= 9_000


def test_a_task_that_says_nothing_gets_the_files_of_the_type(root: Path) -> None:
    paths = {file.path for file in made(root, "zzzz qqqq", 16_384).context.relevant_files}
    assert {"src/queue.py", "src/other.py"} <= paths


def test_every_file_of_an_agent_type_gets_a_beginning_without_a_task(root: Path) -> None:
    paths = {file.path for file in made(root, "", 16_384).context.relevant_files}
    assert paths == {"src/queue.py", "src/other.py", "README.md"}


@pytest.mark.parametrize("length", [900, 2800, 5000])
def test_the_smallest_budget_holds_whatever_the_repository_has(root: Path, length: int) -> None:
    for number in range(60):
        (root / f"{number}{'n' * 200}").write_text("queue worker\n")
    (root / "pyproject.toml").write_text(
        f"[project]\nname = 'x'\ndependencies = {[f'package-{n}' for n in range(400)]}\n"
    )
    git(root, "checkout", "-qb", "b" * 200)
    git(root, "remote", "add", "origin", f"https://example.org/{'r' * length}")
    commit_all(root, "m" * 3000)
    for task in ("", TASK):
        response = made(root, task, 4096)
        assert len(to_json(response)) <= 4096 and response.truncated
        assert response.manifest.files_left_out + response.file_count == 64


def test_a_masked_secret_does_not_change_scores(root: Path) -> None:
    secret = "Kq7Zt2Xw9LmP4vRb8NcD"
    (root / "conf.yaml").write_text(f'api_key: "{secret}"\n')
    commit_all(root)

    def scores(guess: str) -> list[float]:
        entries = made(root, f"worker {guess}", 32_768).manifest.entries
        return [each.score for each in entries if each.path == "conf.yaml"]

    assert scores(secret) == scores(secret[:6]) == scores("Kq7Yyyyyyyyyyyy")


def test_a_file_with_many_secrets_does_not_displace_the_others(root: Path) -> None:
    lines = "".join(f'password: "aB3{number:05}fG7h"\n' for number in range(3000))
    (root / "stop_worker.yaml").write_text(f"# stop the worker of the queue\n{lines}")
    response = made(root, TASK, 32_768)
    assert "src/queue.py" in {file.path for file in response.context.relevant_files}
    assert all(len(each.masked_secrets) <= 50 for each in response.manifest.entries)


def test_names_that_are_long_as_json_stay_within_the_budget(root: Path) -> None:
    for number in range(4):
        (root / f"{chr(1) * 200}{number}.py").write_text("queue worker entries\n" * 5)
    for max_bytes in (4096, 10_000, 32_768):
        assert len(to_json(made(root, TASK, max_bytes))) <= max_bytes


def test_the_line_that_the_task_names_is_shown(root: Path) -> None:
    for task in ("crash at src/other.py:3001", 'File "/build/src/other.py", line 3001, in helper_750'):
        (file,) = [each for each in made(root, task, 8_192).context.relevant_files if each.path == "src/other.py"]
        assert "def helper_750(x):" in file.content


@pytest.mark.parametrize("place", ["src/tag.py", "src/tag.py:1", 'File "/build/src/tag.py", line 2, in tagged'])
def test_files_that_findings_name_lead(root: Path, place: str) -> None:
    for number in range(30):
        (root / "src" / f"found_{number}.py").write_text("def audit(found):\n    return fix(found)\n" * 10)
    (root / "src" / "tag.py").write_text("def tagged(value):\n    return value\n")
    commit_all(root)
    finding = pb.PreviousAgentOutput(agent="a", status="failed", errors=[f"Path traversal in {place}"])
    response = made(root, "Fix what the audit found", 32_768, outputs=[finding])
    assert response.context.relevant_files[0].path == "src/tag.py"
    assert response.manifest.entries[0].reason == "named_by_finding"


def test_a_task_in_chinese_finds_its_words(root: Path) -> None:
    (root / "src" / "login.py").write_text("# 登录失败后重试\ndef login():\n    pass\n")
    commit_all(root)
    assert made(root, "修复登录失败后的重试逻辑", 32_768).context.relevant_files[0].path == "src/login.py"


class TestTransports:
    @pytest.fixture
    def sidecar(self, tmp_path: Path, root: Path) -> Iterator[SidecarProcess]:
        running = SidecarProcess(tmp_path / "storage", root)
        yield running
        running.stop()

    def test_rest_and_grpc(self, sidecar: SidecarProcess) -> None:
        agent = sidecar.agent(project="default")
        path = f"{sidecar.url}/api/context/{agent.issue}/python-specialist"
        answer = requests.get(path, params={"task": TASK, "max_bytes": 12_000}, headers=agent.headers, timeout=30)
        assert answer.status_code == 200 and len(answer.content) <= 12_000
        body = answer.json()
        assert "worker.entries.clear()" in body["context"]["relevant_files"][0]["content"]
        request = pb.GetContextRequest(
            issue_id=agent.issue, agent_type="python-specialist", task=TASK, max_bytes=12_000
        )
        with grpc.insecure_channel(sidecar.target) as channel:
            stub = ContextServiceStub(channel)
            response = stub.GetContext(request, metadata=agent.metadata, timeout=30)
            streamed = pb.Context()
            stream = pb.StreamContextRequest.FromString(request.SerializeToString())
            for part in stub.StreamContext(stream, metadata=agent.metadata, timeout=30):
                streamed.MergeFrom(part.fragment)
        assert response.ByteSize() <= 12_000 and streamed == response.context
        assert response.manifest.checksum == body["manifest"]["checksum"]

    @pytest.mark.parametrize("budget", ["0", "4095", "10485761", "-1", "x"])
    def test_a_budget_out_of_range_is_refused(self, sidecar: SidecarProcess, budget: str) -> None:
        agent = sidecar.agent(project="default")
        path = f"{sidecar.url}/api/context/{agent.issue}/python-specialist?max_bytes={budget}"
        answer = requests.get(path, headers=agent.headers, timeout=30)
        assert answer.status_code == 400 and "max_bytes" in json.dumps(answer.json())

"""Why a context holds what it holds, and rules that change it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tests.support.repositories import commit_all

from cco_sidecar.testing.process import SidecarProcess

TASK = "the retry of an upload waits too long"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for path, text in {
        "src/upload.py": "def retry(upload):\n    wait(upload)\n" * 30,
        "src/other.py": "def other():\n    pass\n",
        "docs/guide.md": "# Guide\n\nAn upload is retried.\n",
        "customers/list.py": "retry = upload\n",
        "ARCHITECTURE.md": "# Parts\n",
        "image.bin": "\0\1",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    commit_all(root)
    return root


@pytest.fixture
def sidecar(tmp_path: Path, root: Path) -> Iterator[SidecarProcess]:
    running = SidecarProcess(tmp_path / "storage", root)
    yield running
    running.stop()


def rules(root: Path, text: str) -> None:
    (root / ".cco").mkdir(exist_ok=True)
    (root / ".cco" / "context.toml").write_text(text)


class Caller:
    def __init__(self, sidecar: SidecarProcess) -> None:
        self._agent = sidecar.agent(project="default")
        self._base = f"{sidecar.url}/api/context/{self._agent.issue}/python-specialist"

    def get(self, suffix: str = "", **params: object) -> requests.Response:
        return requests.get(f"{self._base}{suffix}", params=params, headers=self._agent.headers, timeout=30)  # type: ignore[arg-type]


def test_each_candidate_has_a_score_and_says_what_it_is_made_of(sidecar: SidecarProcess) -> None:
    answer = Caller(sidecar).get("/explain", task=TASK, max_bytes=16_384).json()
    first = answer["candidates"][0]
    assert (first["path"], first["score"], first["disposition"]) == ("src/upload.py", 1, "included")
    assert first["lines"] == [{"first": 1, "last": 60}] and first["line_count"] == 60
    for each in answer["candidates"]:
        if each.get("score"):
            whole = sum(each["signals"].values()) * each["factor"]
            assert whole == pytest.approx(each["score"], abs=0.01)
    factors = {each["path"]: each.get("factor") for each in answer["candidates"]}
    # A document, of a kind that this type does not read.
    assert (factors["src/upload.py"], factors["docs/guide.md"]) == (1, 0.3)
    reasons = {each["path"]: each["reason"] for each in answer["candidates"]}
    assert reasons["image.bin"] == "binary"
    assert answer["total_candidates"] == len(answer["candidates"]) == 6
    assert answer["used_bytes"] <= answer["max_bytes"] == 16_384


def test_it_explains_the_context_that_is_given(sidecar: SidecarProcess) -> None:
    caller = Caller(sidecar)
    context = caller.get(task=TASK, max_bytes=8_192).json()
    explained = caller.get("/explain", task=TASK, max_bytes=8_192).json()
    given = {each["path"] for each in context["context"]["relevant_files"]}
    assert given == {each["path"] for each in explained["candidates"] if each["disposition"] != "left_out"}


def test_lines_are_those_that_the_context_shows(sidecar: SidecarProcess, root: Path) -> None:
    padding = "".join(f"value_{n} = {n}\n\n\n" for n in range(400))
    (root / "src" / "long.py").write_text(f"{padding}def retry_upload(long):\n    wait(long)\n\n\n{padding}")
    caller = Caller(sidecar)
    task = "retry_upload waits too long"
    (shown,) = [
        each["content"]
        for each in caller.get(task=task, max_bytes=6_000).json()["context"]["relevant_files"]
        if each["path"] == "src/long.py"
    ]
    (candidate,) = [
        each
        for each in caller.get("/explain", task=task, max_bytes=6_000).json()["candidates"]
        if each["path"] == "src/long.py"
    ]
    assert candidate["disposition"] == "cut" and candidate["lines"][-1]["first"] > 1
    lines = (root / "src" / "long.py").read_text().split("\n")
    given = [line for each in candidate["lines"] for line in lines[each["first"] - 1 : each["last"]]]
    assert given == [line for line in shown.removesuffix("\n").split("\n") if not line.startswith("[... line")]


def test_a_limit(sidecar: SidecarProcess) -> None:
    answer = Caller(sidecar).get("/explain", task=TASK, limit=2).json()
    assert len(answer["candidates"]) == 2 and answer["total_candidates"] == 6 and answer["max_bytes"] == 128_000


def test_rules_are_in_force_at_once(sidecar: SidecarProcess, root: Path) -> None:
    caller = Caller(sidecar)

    def paths(**params: object) -> list[str]:
        answer = caller.get(**params).json()
        return [each["path"] for each in answer["context"]["relevant_files"]]

    assert {"src/upload.py", "customers/list.py"} <= set(paths(task=TASK, max_bytes=16_384))
    rules(
        root,
        'always = ["ARCHITECTURE.md"]\nnever = ["customers/"]\nexclude = ["docs/"]\n[weights]\n"src/upload.py" = 0\n',
    )
    for params in ({"task": TASK, "max_bytes": 16_384}, {"task": TASK}, {}):
        found = paths(**params)
        assert found[0] == "ARCHITECTURE.md"
        assert not {"customers/list.py", "docs/guide.md"} & set(found)
    reasons = {each["path"]: each["reason"] for each in caller.get("/explain", task=TASK).json()["candidates"]}
    assert (reasons["customers/list.py"], reasons["docs/guide.md"]) == ("never", "excluded")
    assert reasons["src/upload.py"] == "less_relevant" and reasons["ARCHITECTURE.md"] == "always"
    refused = caller.get("/files", path="customers/list.py")
    assert refused.status_code == 404 and "never" in json.dumps(refused.json())
    assert caller.get("/files", path="docs/guide.md").status_code == 200


def test_weights_of_signals(sidecar: SidecarProcess, root: Path) -> None:
    caller = Caller(sidecar)

    def signals() -> set[str]:
        (first, *_) = caller.get("/explain", task="upload: the retry of src/upload.py waits").json()["candidates"]
        assert first["path"] == "src/upload.py"
        return set(first["signals"])

    assert {"words", "scope", "named_by_task"} <= signals()
    rules(root, "[signals]\nwords = 0\nscope = 0\n")
    assert "named_by_task" in signals() and not {"words", "scope"} & signals()


def test_invalid_rules_are_an_error_that_names_them(sidecar: SidecarProcess, root: Path) -> None:
    rules(root, "nevr = []\n")
    answer = Caller(sidecar).get(task=TASK)
    assert answer.status_code == 409
    assert answer.json()["code"] == "CTX_004" and "did you mean 'never'" in answer.json()["message"]
    rules(root, "")
    assert Caller(sidecar).get(task=TASK).status_code == 200


def test_rules_that_git_ignores_are_in_force_at_once(sidecar: SidecarProcess, root: Path) -> None:
    (root / ".gitignore").write_text(".cco/\n")
    caller = Caller(sidecar)
    assert caller.get(task=TASK, max_bytes=16_384).status_code == 200
    rules(root, 'never = ["src/"]\n')
    answer = caller.get(task=TASK, max_bytes=16_384).json()
    assert not any(each["path"].startswith("src/") for each in answer["context"]["relevant_files"])

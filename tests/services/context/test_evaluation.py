"""`cco context eval`: contexts measured on the commits of a repository."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.support.commands import fails, in_process, printed
from tests.support.repositories import commit_all, git

from cco_sidecar.repository.trees import Trees
from cco_sidecar.services.context.evaluation import evaluate as module
from cco_sidecar.services.context.evaluation.baselines import Bm25, filled
from cco_sidecar.services.context.evaluation.cases import cases, task_of

NAMES = ("parser", "server", "storage", "worker", "printer")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    for name in NAMES:
        text = "".join(f"def {name}_{n}(x):\n    return x + {n}\n\n\n" for n in range(60))
        (root / "src" / f"{name}.py").write_text(text)
    (root / ".env").write_text("PASSWORD=x\n")
    commit_all(root, "Begin with five modules of a program")
    for number, name in enumerate(NAMES):
        path = root / "src" / f"{name}.py"
        path.write_text(path.read_text().replace(f"x + {number + 20}\n", f"x - {number + 20}\n"))
        commit_all(root, f"Subtract in the {name} when src/{name}.py is called again\n\nSigned-off-by: A <a@b.c>")
    git(root, "commit", "-q", "--allow-empty", "-m", "An empty commit that changes nothing at all")
    (root / "src" / "new.py").write_text("x = 1\n")
    commit_all(root, "Add a module that was not there before")
    (root / "src" / "new.py").write_text("x = 2\n")
    commit_all(root, "Bump the number of the new module to two")
    return root


@pytest.fixture
def trees(root: Path, tmp_path: Path) -> Trees:
    return Trees(root, tmp_path / "scratch", 2**24)


def test_tasks_and_what_they_want(trees: Trees) -> None:
    skipped: Counter[str] = Counter()
    found = list(cases(trees, 100, skipped))
    assert [case.task for case in found] == [f"Subtract in the {name} when is called again" for name in reversed(NAMES)]
    # Line 22 of the printer's block: the definition of x + 24 begins at line 97.
    assert found[0].wanted == {"src/printer.py": [(95, 101)]}
    assert set(found[0].snapshot.files) == {f"src/{name}.py" for name in NAMES}
    assert found[0].snapshot.git.recent_commits[0].message.startswith("Subtract in the worker")
    before = trees.blob(found[0].snapshot.files["src/printer.py"]).decode().split("\n")
    assert before[97] == "    return x + 24"


def test_hunks_of_unusual_files(tmp_path: Path) -> None:
    root = tmp_path / "odd"
    (root / "pkg").mkdir(parents=True)
    names = ["b c.py", 'q"x.py', "über.py", "tab\tx.py"]
    for name in names:
        (root / "pkg" / name).write_text("".join(f"line {n}\n" for n in range(20)))
    (root / "pkg" / "a.sql").write_text("-- a/legacy table\nx\n" * 5)
    commit_all(root, "Begin")
    for name in names:
        path = root / "pkg" / name
        path.write_text(path.read_text().replace("line 9\n", "changed\n"))
    (root / "pkg" / "a.sql").write_text("x\n" * 4 + "y\n")
    commit_all(root, "Change line ten of all of these files")
    trees = Trees(root, tmp_path / "scratch", 2**20)
    (commit,) = trees.commits(5)
    found = trees.hunks(commit)
    assert set(found) == {f"pkg/{name}" for name in (*names, "a.sql")}
    assert all(found[f"pkg/{name}"] == [(7, 13)] for name in names)
    below = Trees(root / "pkg", tmp_path / "below", 2**20)
    assert set(below.hunks(commit)) == {*names, "a.sql"} == set(below.snapshot(commit.parent).files)


def test_lines_around_an_insertion(root: Path, tmp_path: Path) -> None:
    path = root / "src" / "parser.py"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([*lines[:10], "added = 1", *lines[10:]]))
    commit_all(root, "Add one line after the tenth line of the parser")
    (commit, *_) = (trees := Trees(root, tmp_path / "scratch2", 2**24)).commits(1)
    assert trees.hunks(commit) == {"src/parser.py": [(8, 13)]}


def test_rules_apply_to_the_past(root: Path, tmp_path: Path) -> None:
    (root / ".cco").mkdir()
    (root / ".cco" / "context.toml").write_text('exclude = ["src/w*.py"]\nnever = ["src/server.py"]\n')
    found = module.evaluate(root, tmp_path / "s", commits=10, budgets=[65_536], baselines=False)
    assert {miss.path for miss in found.misses} == {"src/worker.py"}
    assert found.commits == 4


def test_precision_counts_each_line_once(root: Path, tmp_path: Path) -> None:
    given = {"src/parser.py": [(1, 100)]}
    case = next(cases(Trees(root, tmp_path / "scratch3", 2**24), 1, Counter()))
    case = case._replace(wanted={"src/parser.py": [(1, 10), (5, 14), (99, 120)]})
    assert module.precision_of(case, given) == 0.14
    assert module.recall_of(case, given) == pytest.approx(2 / 3)


def test_a_task_names_no_files(trees: Trees) -> None:
    snapshot = trees.snapshot("HEAD")
    message = "Call `parser.py` (see docs/a.md, src/x.go:3)\n\nCo-authored-by: A <a@b.c>\nFixes #12\nand more"
    assert task_of(message, snapshot) == "Call (see\n\nand more"


def test_the_table(root: Path, tmp_path: Path) -> None:
    found = module.evaluate(root, tmp_path / "s", commits=10, budgets=[4096, 65_536], baselines=True)
    assert found.commits == 5
    by = {(row.method, row.max_bytes): row for row in found.rows}
    assert by[module.OURS, 65_536].recall == 1 and by[module.BM25, 65_536].recall == 1
    assert by[module.OURS, 4096].recall > by[module.DIRECTORY, 4096].recall
    assert all(0 <= row.precision <= 1 for row in found.rows)
    assert found.misses == []


def test_misses_are_named(root: Path, tmp_path: Path) -> None:
    path = root / "src" / "worker.py"
    path.write_text(path.read_text().replace("x + 59\n", "x * 59\n"))
    commit_all(root, "Nothing about any place, only words such as these")
    found = module.evaluate(root, tmp_path / "s", commits=1, budgets=[4096], baselines=False)
    assert [(miss.path, miss.lines) for miss in found.misses] == [("src/worker.py", [(235, 240)])]


def test_whole_files_fill_a_budget() -> None:
    files = [("a", b"1\n2\n"), ("b", b"3\n4\n5"), ("c", b"6\n7\n8\n")]
    assert filled(iter(files), 12) == {"a": [(1, 2)], "b": [(1, 3)], "c": [(1, 1)]}
    assert filled(iter(files), 4) == {"a": [(1, 2)]}


def test_bm25_finds_the_file_with_the_rare_word(trees: Trees) -> None:
    snapshot = trees.snapshot("HEAD")
    assert next(iter(Bm25(trees.texts).order(snapshot, "the storage_7 of it")))[0] == "src/storage.py"


class TestCommand:
    def test_text_plot_and_json(self, root: Path, tmp_path: Path) -> None:
        plot = tmp_path / "plot.svg"
        done = in_process("context", "eval", "--repo", str(root), "--budget", "8192", "--plot", str(plot))
        assert (
            printed(done).startswith("5 commits; not counted: 2 with changes only in new, binary or lock files, ")
            and "BM25 over whole files" in done.stdout
        )
        drawn = ElementTree.parse(plot).getroot()
        assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(drawn.findall("{http://www.w3.org/2000/svg}polyline")) == 3
        line = ("context", "eval", "--repo", str(root), "--no-baselines", "--format", "json")
        rows = json.loads(printed(in_process(*line)))["rows"]
        assert [(row["method"], row["max_bytes"]) for row in rows] == [
            ("contexts", size) for size in (32_000, 128_000, 512_000)
        ]

    def test_a_type_counts(self, root: Path) -> None:
        line = ("context", "eval", "--repo", str(root), "--no-baselines", "--format", "json", "--agent-type")
        done = in_process(*line, "python-specialist")
        assert json.loads(printed(done))["commits"] == 5
        fails(in_process(*line, "nobody"), "unknown agent type 'nobody'")

    def test_what_cannot_be_measured_is_said(self, tmp_path: Path) -> None:
        fails(in_process("context", "eval", "--repo", str(tmp_path)), "is not in a git repository")
        git(tmp_path, "init", "-q")
        fails(in_process("context", "eval", "--repo", str(tmp_path)), "has no commits that can be measured")

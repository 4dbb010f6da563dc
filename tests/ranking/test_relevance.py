"""Which pieces of a repository come first for a task."""

from __future__ import annotations

from typing import Any

from cco_sidecar.ranking.chunks import Chunked
from cco_sidecar.ranking.kinds import kind_of
from cco_sidecar.ranking.past import Change
from cco_sidecar.ranking.relevance import rank

PADDING = "".join(f"value_{number} = {number}\n" for number in range(100))
FILES = {
    "src/cache.py": PADDING + "\n\ndef evict(entry):\n    drop(entry)\n    return oldest(entry)\n",
    "src/server.py": "import cache\n\n\ndef serve(request):\n    return answer(request)\n",
    "tests/test_cache.py": "def test_it():\n    assert lru() == 1\n",
    "docs/guide.md": "# Guide\n\nThe cache evicts the oldest entry.\n",
    "vendor/lib/evict.js": "function evict(entry) { return oldest(entry) }\n",
    "CHANGELOG.md": "# Changes\n\n- a\n",
    "pkg/sql/open.go": "package sql\n\nfunc Open() {}\n",
    "README.md": "words\n",
}


def ranked(task: str, changes: tuple[Change, ...] = (), files: dict[str, str] = FILES, **more: Any) -> list[str]:
    chunked = {path: Chunked(path, text.encode()) for path, text in files.items()}
    pieces = rank(chunked, task, changes, **({"max_bytes": 32_000} | more)).pieces
    return list(dict.fromkeys(piece.path for piece in pieces))


def test_the_piece_that_the_words_of_the_task_name_comes_first() -> None:
    chunked = {path: Chunked(path, text.encode()) for path, text in FILES.items()}
    first = rank(chunked, "the oldest entry is not evicted", (), max_bytes=32_000).pieces[0]
    assert first.path == "src/cache.py"
    start = chunked[first.path].chunks[first.chunk].start
    assert start > 20


def test_vendored_and_documents_come_after_source() -> None:
    order = ranked("evict the oldest entry")
    assert order.index("src/cache.py") < order.index("docs/guide.md")
    assert order.index("src/cache.py") < order.index("vendor/lib/evict.js")


def test_a_task_about_documentation_brings_documents_first() -> None:
    assert ranked("docs: say that the cache evicts the oldest entry")[0] == "docs/guide.md"


def test_a_prefix_names_a_package() -> None:
    assert ranked("pkg/sql: handle a failure")[0] == "pkg/sql/open.go"
    assert ranked("fix(sql): handle a failure")[0] == "pkg/sql/open.go"


def test_the_test_of_a_leading_file_follows() -> None:
    files = FILES | {"tests/test_server.py": "def test_x():\n    assert 1\n"}
    order = ranked("evict the oldest entry", files=files)
    assert "tests/test_cache.py" in order
    assert "tests/test_server.py" not in order


def test_files_that_change_together_with_a_leading_one_follow() -> None:
    changes = (Change("x", ["src/cache.py", "README.md"]),) * 5
    assert "README.md" not in ranked("evict the oldest entry")
    assert "README.md" in ranked("evict the oldest entry", changes)


def test_commits_with_a_similar_message_count() -> None:
    changes = (Change("unrelated", ["src/server.py"]), Change("timeouts of uploads", ["pkg/sql/open.go"]))
    order = ranked("timeout of an upload", changes)
    assert order[0] == "pkg/sql/open.go"


def test_a_change_log_that_every_commit_touches_is_there() -> None:
    changes = tuple(Change(f"change {n}", ["CHANGELOG.md", "src/server.py"]) for n in range(50))
    assert ranked("evict the oldest entry", changes)[0] == "CHANGELOG.md"
    assert "CHANGELOG.md" not in ranked("evict the oldest entry")


def test_what_else_is_known_of_files_counts() -> None:
    assert "README.md" in ranked("evict the oldest entry", known={"named_by_task": {"README.md": 1.0}})
    order = ranked("evict the oldest entry", factors={"src/cache.py": 0.2})
    assert order.index("docs/guide.md") < order.index("src/cache.py")


def test_equal_arguments_give_equal_results() -> None:
    changes = (Change("evict entries", ["src/cache.py", "docs/guide.md"]),)
    assert ranked("evict the oldest entry", changes) == ranked(
        "evict the oldest entry", changes, dict(reversed(FILES.items()))
    )


def test_nothing_is_relevant_to_nothing() -> None:
    assert ranked("zzzz qqqq") == [] and ranked("", files={}) == []


def test_a_change_log_is_known_by_its_whole_name() -> None:
    logs = ("CHANGELOG.md", "docs/changes.rst", "HISTORY", "News.txt", "changelog/unreleased.md", "release-notes.md")
    assert all(kind_of(path).change_log for path in logs)
    for path in ("src/history.py", "src/newsletter.py", "pkg/releases.ts", "changes.go"):
        assert not kind_of(path).change_log
    assert not kind_of("CMakeLists.txt").document and not kind_of("src/doc/parser.c").document
    assert kind_of("docs/conf.py").document


def test_what_stands_for_a_secret_is_no_word() -> None:
    """A task with the word would tell whether its other words are in the secret."""
    files = {
        "a.py": Chunked("a.py", b'key = "Falcon-93kq"\n', lambda _: b'key = "[masked]"\n'),
        "b.py": Chunked("b.py", b"x\n"),
    }
    assert rank(files, "masked falcon", (), max_bytes=32_000).scores == {}

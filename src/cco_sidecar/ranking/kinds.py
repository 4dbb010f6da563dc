"""Kinds of files by path: tests, documentation, change logs, generated files, lock files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

# What a directory says; it ends with a slash. All paths are matched in lower case.
_TEST_DIRECTORY = re.compile(r"(^|/)(tests?|specs?|__tests__|testing|testdata|t|e2e)/|(^|[/_.-])(test|spec)s?[_.-]")
_GENERATED_DIRECTORY = re.compile(
    r"(^|/)(vendor|third_party|node_modules|dist|build|generated|gen|fixtures?|examples?|samples?|playground|snapshots?"
    r"|__snapshots__|locales?|translations?|i18n|benches|benchmarks?|\.github|\.vscode|\.circleci)/|_pb2"
)
_DOCUMENT_DIRECTORY = re.compile(r"(^|/)docs?/")
_CHANGE_LOG_DIRECTORY = re.compile(r"(^|/)changelogs?/")
# What a name says.
_TEST_NAME = re.compile(
    r"(^|[_.-])(test|spec)s?[_.-]|[_.-](test|spec|tests)\.\w+$|tests?\.(java|kt|cs|php|swift)$|^conftest\.py"
)
_CHANGE_LOG_NAME = re.compile(
    r"(changelog|changes|history|news|releases?)(([-_. ].*)?\.(md|rst|txt|adoc|markdown|org))?$"
)
_CODE = frozenset(("c", "cc", "cpp", "h", "go", "rs", "java", "kt", "rb", "php"))
_DOCUMENTS = frozenset(("md", "rst", "txt", "adoc", "mdx"))
_NO_DOCUMENTS = ("cmakelists.txt", "requirements.txt")
_LOCKS = frozenset(("lock", "snap", "map", "svg"))
_LOCK_ENDS = (".min.js", ".min.css")
_GENERATED = _LOCKS | {"csv", "sum", "po", "pot"}
_GENERATED_ENDS = (*_LOCK_ENDS, ".pb.go")
_GENERATED_PARTS = ("_pb2", "package-lock", "pnpm-lock")
_LOCK_FILES = frozenset(("package-lock.json", "pnpm-lock.yaml", "go.sum"))
_TEST_AFFIX = re.compile(r"(^tests?_|_tests?$|^test(?=[a-z])|tests?$|_spec$|spec$|-test$)")
_ABOUT_DOCUMENTS = re.compile(r"\b(docs?|readme|documentation|typo)\b")
# Factors on the score of a file.
TEST_FACTOR, DOCUMENT_FACTOR, CHANGE_LOG_FACTOR, _GENERATED_FACTOR, _LOCK_FACTOR = 0.85, 0.5, 0.3, 0.5, 0.1
# In a repository with more such files than this, they are what it is about.
_MOST_GENERATED = 0.3


class Kind(NamedTuple):
    """What a path says about a file. ``generated``: also vendored files, examples, fixtures and translations."""

    test: bool
    document: bool
    change_log: bool
    generated: bool
    lock: bool


@lru_cache(maxsize=200_000)
def kind_of(path: str) -> Kind:
    """Returns the kind of a file."""
    directory, slash, name = path.lower().rpartition("/")
    _, dot, suffix = name.rpartition(".")
    suffix = suffix if dot else ""
    test, documents, change_log, generated = _kind_of_directory(directory + slash)
    return Kind(
        test or (("test" in name or "spec" in name) and _TEST_NAME.search(name) is not None),
        (documents and suffix not in _CODE) or (suffix in _DOCUMENTS and not name.endswith(_NO_DOCUMENTS)),
        change_log or _CHANGE_LOG_NAME.match(name) is not None,
        generated
        or suffix in _GENERATED
        or name.endswith(_GENERATED_ENDS)
        or any(part in name for part in _GENERATED_PARTS),
        suffix in _LOCKS or name in _LOCK_FILES or name.endswith(_LOCK_ENDS),
    )


@lru_cache(maxsize=50_000)
def _kind_of_directory(directory: str) -> tuple[bool, ...]:
    patterns = (_TEST_DIRECTORY, _DOCUMENT_DIRECTORY, _CHANGE_LOG_DIRECTORY, _GENERATED_DIRECTORY)
    return tuple(pattern.search(directory) is not None for pattern in patterns)


@lru_cache(maxsize=200_000)
def stem_of(path: str) -> str:
    """Returns a name that a source file and its test share: ``cache`` for ``cache.go`` and ``cache_test.go``."""
    name = path.rpartition("/")[2].lower()
    return _TEST_AFFIX.sub("", name.partition(".")[0] if not name.startswith(".") else name)


def factors(paths: tuple[str, ...], task: str) -> Mapping[str, float]:
    """Returns the factor of each file; what the task names keeps its score."""
    task = task.lower()
    return _factors(paths, "changelog" in task, _ABOUT_DOCUMENTS.search(task) is not None)


@lru_cache(maxsize=4)
def _factors(paths: tuple[str, ...], about_changes: bool, about_documents: bool) -> Mapping[str, float]:
    kinds = {path: kind_of(path) for path in paths}
    generated = sum(kind.generated and not kind.lock for kind in kinds.values())
    penalised = generated <= _MOST_GENERATED * len(kinds)
    found = {}
    for path, kind in kinds.items():
        factor = 1.0
        if kind.change_log:
            factor *= 1.0 if about_changes else CHANGE_LOG_FACTOR
        elif kind.document:
            factor *= 1.0 if about_documents else DOCUMENT_FACTOR
        if kind.test:
            factor *= TEST_FACTOR
        if kind.generated and penalised:
            factor *= _GENERATED_FACTOR
        found[path] = factor * (_LOCK_FACTOR if kind.lock else 1.0)
    return found

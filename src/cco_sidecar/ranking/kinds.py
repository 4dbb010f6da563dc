"""Kinds of files by path: tests, documentation, change logs, generated files, lock files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

_TEST = re.compile(
    r"(?i)(^|/)(tests?|specs?|__tests__|testing|testdata|t|e2e)/|(^|[/_.-])(test|spec)s?[_.-]|[_.-](test|spec|tests)\.\w+$"
    r"|Tests?\.(java|kt|cs|php|swift)$|(^|/)conftest\.py"
)
_GENERATED = re.compile(
    r"(?i)(^|/)(vendor|third_party|node_modules|dist|build|generated|gen|fixtures?|examples?|samples?|playground"
    r"|snapshots?|__snapshots__|locales?|translations?|i18n|benches|benchmarks?)/|\.min\.(js|css)$"
    r"|\.(lock|snap|svg|map|pb\.go|csv|sum|po|pot)$|_pb2|package-lock|pnpm-lock|yarn\.lock|go\.sum"
    r"|(^|/)\.(github|vscode|circleci)/"
)
_LOCK = re.compile(r"(?i)(package-lock\.json|pnpm-lock\.yaml|[^/]*\.lock|go\.sum|.*\.(snap|map|min\.js|min\.css|svg))$")
_DOCUMENT = re.compile(
    r"(?i)(?<!CMakeLists)(?<!requirements)\.(md|rst|txt|adoc|mdx)$|(^|/)docs?/(?!.*\.(c|cc|cpp|h|go|rs|java|kt|rb|php)$)"
)
_CHANGE_LOG = re.compile(
    r"(?i)(^|/)(changelog|changes|history|news|releases?)([-_. ][^/]*)?(\.(md|rst|txt|adoc|markdown|org))$"
    r"|(^|/)(changelog|changes|history|news|releases?)$|(^|/)changelogs?/"
)
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
    patterns = (_TEST, _DOCUMENT, _CHANGE_LOG, _GENERATED, _LOCK)
    return Kind(*(pattern.search(path) is not None for pattern in patterns))


@lru_cache(maxsize=200_000)
def stem_of(path: str) -> str:
    """Returns a name that a source file and its test share: ``cache`` for ``cache.go`` and ``cache_test.go``."""
    name = path.rpartition("/")[2].lower()
    return _TEST_AFFIX.sub("", name.partition(".")[0] if not name.startswith(".") else name)


def factors(paths: Iterable[str], task: str) -> dict[str, float]:
    """Returns the factor of each file; what the task names keeps its score."""
    kinds = {path: kind_of(path) for path in paths}
    task = task.lower()
    about_changes, about_documents = "changelog" in task, _ABOUT_DOCUMENTS.search(task) is not None
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

"""How much of what commits changed is in the contexts for their messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.ranking.selection import FileSets, choose
from cco_sidecar.repository.trees import Trees
from cco_sidecar.services.context.candidates import CandidateCache
from cco_sidecar.services.context.documents import WithDocuments
from cco_sidecar.services.context.evaluation.baselines import Bm25, Given, filled, in_directory_order
from cco_sidecar.services.context.evaluation.cases import Case, cases
from cco_sidecar.services.context.focused import build_focused
from cco_sidecar.services.context.parts import Parts
from cco_sidecar.services.context.plan import Query, plan

OURS, BM25, DIRECTORY = "contexts", "BM25 over whole files", "whole files by name"
# Every kind of file counts, whatever the type.
ANY_TYPE = AgentType("any", "any", "coding", "", "", (), (), ("*",), (), ())
_CACHE_BYTES = 512 * 2**20
_ISSUE = "eval"


class Miss(NamedTuple):
    """Lines that a commit changed and the context for its message does not have."""

    sha: str
    subject: str
    path: str
    lines: list[tuple[int, int]]


class Row(NamedTuple):
    """Results of one method at one budget, averaged over the commits.

    ``recall``: of each changed file, the share of its hunks that are given whole; ``precision``: the share of changed
    lines among those given.
    """

    method: str
    max_bytes: int
    recall: float
    precision: float


class Evaluation(NamedTuple):
    commits: int
    rows: list[Row]
    # At the largest budget.
    misses: list[Miss]
    # How many other commits were looked at, and why they do not count.
    skipped: Mapping[str, int]


def evaluate(
    root: Path,
    scratch: Path,
    *,
    commits: int,
    budgets: Sequence[int],
    baselines: bool,
    agent: AgentType = ANY_TYPE,
    file_sets: FileSets | None = None,
) -> Evaluation:
    """Builds a context for the message of each of the newest commits, as of the commit before it.

    Raises GitFailed, RulesInvalid.
    """
    trees = Trees(root, scratch, _CACHE_BYTES)
    candidates = CandidateCache(trees.texts, _CACHE_BYTES // 2)
    bm25 = Bm25(trees.texts)
    sums: dict[tuple[str, int], tuple[float, float]] = {}
    misses: list[Miss] = []
    done = 0
    skipped: Counter[str] = Counter()
    for case in cases(trees, commits, skipped):
        for max_bytes in budgets:
            given = {OURS: lines_given(case, trees, candidates, agent, file_sets or {}, max_bytes)}
            if baselines:
                given[BM25] = filled(bm25.order(case.snapshot, case.task), max_bytes)
                given[DIRECTORY] = filled(in_directory_order(case.snapshot, trees.texts), max_bytes)
            for method, lines in given.items():
                recall, precision = sums.get((method, max_bytes), (0.0, 0.0))
                sums[method, max_bytes] = (recall + recall_of(case, lines), precision + precision_of(case, lines))
            if max_bytes == max(budgets):
                misses += _misses(case, given[OURS])
        done += 1
    rows = [
        Row(method, max_bytes, recall / done, precision / done)
        for (method, max_bytes), (recall, precision) in sums.items()
    ]
    return Evaluation(
        done, sorted(rows, key=lambda row: (row.method != OURS, row.method, row.max_bytes)), misses, skipped
    )


def lines_given(
    case: Case,
    trees: Trees,
    candidates: CandidateCache,
    agent: AgentType,
    file_sets: FileSets,
    max_bytes: int,
) -> Given:
    """Returns the lines that the context for a case has."""
    choices = choose(case.snapshot, agent, file_sets, case.task, ())
    query = Query(case.task, group=agent.group)
    planned = plan(case.snapshot, choices, candidates.of(case.snapshot), query, max_bytes)
    parts = Parts(case.snapshot, choices, (), (), WithDocuments((), trees.texts))
    focused = build_focused(parts, planned, issue=_ISSUE, agent=agent, max_bytes=max_bytes)
    return {path: [(part.start + 1, part.end) for part in parts] for path, parts in focused.excerpts}


def _has(given: Given, path: str, hunk: tuple[int, int]) -> bool:
    return any(first <= hunk[0] and hunk[1] <= last for first, last in given.get(path, ()))


def recall_of(case: Case, given: Given) -> float:
    """Returns the mean, over the changed files, of the share of the hunks that are given whole."""
    shares = [sum(_has(given, path, hunk) for hunk in hunks) / len(hunks) for path, hunks in case.wanted.items()]
    return sum(shares) / len(shares)


def precision_of(case: Case, given: Given) -> float:
    """Returns the share of the lines of found hunks among the lines given."""
    lines = sum(last - first + 1 for ranges in given.values() for first, last in ranges)
    found = {
        (path, line)
        for path, hunks in case.wanted.items()
        for hunk in hunks
        if _has(given, path, hunk)
        for line in range(hunk[0], hunk[1] + 1)
    }
    return len(found) / lines if lines else 0.0


def _misses(case: Case, given: Given) -> Iterator[Miss]:
    subject = case.commit.message.partition("\n")[0]
    for path, hunks in case.wanted.items():
        missing = [hunk for hunk in hunks if not _has(given, path, hunk)]
        if missing:
            yield Miss(case.commit.sha, subject, path, missing)

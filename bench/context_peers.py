"""Contexts beside repomix, gitingest and aider's repository map, on the same commits: `make bench-context-peers
REPO=path`.

Each gets the files as of the commit before, and the commit's message where it has a place for it (aider's map). What it
writes counts up to the budget, as for `cco context eval`: recall of the changed hunks, precision of lines, time and
memory.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cco_sidecar.core.lru import ByteLru
from cco_sidecar.repository.trees import Trees
from cco_sidecar.services.context.evaluation import evaluate as ours
from cco_sidecar.services.context.evaluation.baselines import Bm25, Given, filled
from cco_sidecar.services.context.evaluation.cases import Case, cases

_TOOLS = Path(__file__).resolve().parents[1] / ".build" / "peers"
_BUDGETS = (32_000, 128_000, 512_000)
_CACHE_BYTES = 256 * 2**20
_SECONDS = 300
# aider's RepoMap, with the words of the task as the identifiers that the conversation mentions.
_AIDER = """
import json, re, sys
from pathlib import Path
from aider.io import InputOutput
from aider.repomap import RepoMap

class Model:
    def token_count(self, text):
        return len(text) / 4

root, budget, task = Path(sys.argv[1]), int(sys.argv[2]), sys.stdin.read()
files = [str(path) for path in sorted(root.rglob("*")) if path.is_file()]
words = set(re.findall(r"[A-Za-z_]\\w{2,}", task))
maps = RepoMap(map_tokens=budget // 4, root=str(root), main_model=Model(), io=InputOutput(pretty=False, yes=True),
               map_mul_no_files=1, refresh="always")
print(maps.get_repo_map([], files, mentioned_fnames=set(), mentioned_idents=words, force_refresh=True) or "")
"""


class Written(NamedTuple):
    """What a tool wrote, in seconds."""

    text: str
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--commits", type=int, default=20)
    chosen = parser.parse_args()
    root = chosen.repo.resolve()
    sums: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        trees = Trees(root, Path(scratch), _CACHE_BYTES)
        bm25 = Bm25(trees.texts)
        done = 0
        for case in cases(trees, chosen.commits):
            done += 1
            for name, max_bytes, given, seconds in _tried(case, trees, bm25):
                row = sums.setdefault((name, max_bytes), [0.0, 0.0, 0.0])
                for at, value in enumerate((ours.recall_of(case, given), ours.precision_of(case, given), seconds)):
                    row[at] += value
    print(f"{root.name}, {done} commits")
    for (name, max_bytes), (recall, precision, seconds) in sorted(sums.items()):
        print(f"{name:12} {max_bytes:>7}  {recall / done:.3f}  {precision / done:.4f}  {seconds / done:6.2f} s")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"most memory of a tool: {peak:.0f} MB")


def _tried(case: Case, trees: Trees, bm25: Bm25) -> Iterator[tuple[str, int, Given, float]]:
    for max_bytes in _BUDGETS:
        started = time.perf_counter()
        given = ours.lines_given(case, trees, ByteLru(_CACHE_BYTES), ours.ANY_TYPE, {}, max_bytes)
        yield "contexts", max_bytes, given, time.perf_counter() - started
        started = time.perf_counter()
        given = filled(bm25.order(case.snapshot, case.task), max_bytes)
        yield "BM25", max_bytes, given, time.perf_counter() - started
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory).resolve() / "project"
        _write(case, trees, place)
        for name, command in (
            (
                "repomix",
                [
                    _TOOLS / "node_modules" / ".bin" / "repomix",
                    "--quiet",
                    "--style",
                    "plain",
                    "--no-git-sort-by-changes",
                ],
            ),
            ("gitingest", [_TOOLS / "bin" / "gitingest"]),
        ):
            output = place.parent / f"{name}.txt"
            written = _run([*map(str, command), str(place), "-o", str(output)], place, output)
            for max_bytes in _BUDGETS:
                yield (
                    name,
                    max_bytes,
                    _lines_of(written.text.encode()[:max_bytes].decode(errors="ignore"), case, trees),
                    written.seconds,
                )
        for max_bytes in _BUDGETS:
            line = [str(_TOOLS / "bin" / "python"), "-c", _AIDER, str(place), str(max_bytes)]
            written = _run(line, place, None, case.task)
            yield (
                "aider",
                max_bytes,
                _lines_of(written.text.encode()[:max_bytes].decode(errors="ignore"), case, trees),
                written.seconds,
            )


def _write(case: Case, trees: Trees, place: Path) -> None:
    for path, info in case.snapshot.files.items():
        target = place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(trees.blob(info))


def _run(command: list[str], place: Path, output: Path | None, given: str = "") -> Written:
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=place.parent, input=given, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    seconds = time.perf_counter() - started
    text = output.read_text(errors="replace") if output is not None and output.exists() else done.stdout
    if not text.strip():
        print(f"{command[0]} wrote nothing: {done.stderr[-300:]}", file=sys.stderr)
    return Written(text, seconds)


# Where the text of a file begins: `File: x` (repomix), `FILE: x` (gitingest), `x:` (aider).
_BEGINS = re.compile(r"^(?:File: |FILE: )?(?P<path>[^\s:│⋮][^:\n]*?):?$", re.MULTILINE)
_MARGIN = re.compile(r"^[│█] ?")


def _lines_of(text: str, case: Case, trees: Trees) -> Given:
    """Returns the lines of files that a text shows: each line of the text is looked for after the one before."""
    given: Given = {}
    current, at = "", 0
    known: list[str] = []
    places: dict[str, list[int]] = {}
    for line in text.split("\n"):
        match = _BEGINS.match(line)
        if match and match["path"] in case.snapshot.files:
            current, at = match["path"], 0
            known = trees.texts.raw(case.snapshot.root, current, case.snapshot.files[current]).data.decode().split("\n")
            places = {}
            for number, each in enumerate(known):
                places.setdefault(each.rstrip(), []).append(number)
            continue
        shown = _MARGIN.sub("", line).rstrip()
        number = next((each for each in places.get(shown, ()) if each >= at), None) if current else None
        if number is not None:
            at = number + 1
            given.setdefault(current, []).append((at, at))
    return {path: _merged(lines) for path, lines in given.items()}


def _merged(lines: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(lines):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


if __name__ == "__main__":
    main()

"""How long documents take: ``python -m bench.documents [--documents N] [--rounds N]``.

Texts of 1 MB, with words as often as in English (Zipf), are stored. Then a client over gRPC lists them, searches them
and reads parts, beside the same work on files: a listing with `os.scandir`, `grep -rlw` for a search, and a part read
from a file that is opened, decoded and cut.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cco_sidecar.client import Client
from cco_sidecar.testing.process import SidecarProcess

_WORDS = 50_000
_BYTES = 2**20
# A rank of a word and the one after it, so that a document in a hundred or so has both.
_RARE = 4_000


def texts(count: int, seed: int = 1) -> list[str]:
    chosen = random.Random(seed)
    words = [f"w{number}" for number in range(_WORDS)]
    weights = [1 / (rank + 3) for rank in range(_WORDS)]
    # Drawing a million words for each would take minutes: paragraphs are drawn once, and put together in other ways.
    paragraphs = [" ".join(chosen.choices(words, weights, k=200)) for _ in range(4_000)]
    made = []
    for _ in range(count):
        parts, size = [], 0
        while size < _BYTES:
            part = chosen.choice(paragraphs)
            parts.append(part)
            size += len(part) + 1
        made.append("\n".join(parts)[:_BYTES])
    return made


def measured(what: str, work: Callable[[int], object], rounds: int) -> float:
    """Prints and returns the 99th percentile, in milliseconds."""
    times = []
    for number in range(rounds):
        began = time.perf_counter()
        work(number)
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    print(f"  {what:<44} p50 {p50:8.2f}   p99 {p99:8.2f} ms")
    return p99


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-documents-") as name:
        base = Path(name)
        (base / "root").mkdir()
        (base / "files").mkdir()
        sidecar = SidecarProcess(
            base / "storage", base / "root", environment={"CCO_SIDECAR_DOCUMENTS_QUOTA_MB": "8192"}
        )
        with Client(sidecar.url, grpc_target=sidecar.target, token=sidecar.operator.token) as client:
            run(client, base / "files", given.documents, given.rounds)
        sidecar.kill()


def run(client: Client, files: Path, count: int, rounds: int) -> None:
    print(f"{count} documents of 1 MB, {rounds} rounds")
    ids = []
    began = time.perf_counter()
    for number, text in enumerate(texts(count)):
        ids.append(client.documents.create(f"text-{number}.md", text, tags=[f"t{number % 10}"]).document_id)
        (files / f"text-{number}.md").write_text(text)
    print(f"  stored in {time.perf_counter() - began:.0f} s")
    chosen = random.Random(2)

    def part(number: int) -> None:
        client.documents.read(chosen.choice(ids), offset=chosen.randrange(_BYTES), limit=2000)

    def part_of_file(number: int) -> str:
        at = chosen.randrange(_BYTES)
        return (files / f"text-{chosen.randrange(count)}.md").read_text()[at : at + 2000]

    def search(number: int) -> None:
        client.documents.search(f"w{_RARE + number} w{_RARE + number + 1}")

    measured("list 100, by a tag", lambda number: client.documents.list(tags=[f"t{number % 10}"]), rounds)
    measured("list 100, by a part of the name", lambda number: client.documents.list(name=f"-{number % 10}"), rounds)
    measured("  beside os.scandir", lambda number: sorted(entry.stat().st_mtime for entry in os.scandir(files)), rounds)
    measured("read 2,000 characters", part, rounds)
    measured("  beside a file that is read and cut", part_of_file, rounds)
    measured("search two words, 10 documents with parts", search, rounds)
    if (grep := shutil.which("grep")) is not None:
        few = max(3, rounds // 40)
        line = [grep, "-rlwF", "--", "", str(files)]

        def with_grep(number: int) -> None:
            line[3] = f"w{_RARE + number}"
            subprocess.run(line, capture_output=True, check=False)

        measured("  beside grep -rlwF for one of them", with_grep, few)


if __name__ == "__main__":
    main()

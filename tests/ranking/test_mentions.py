"""Places that a task names."""

from __future__ import annotations

import pytest

from cco_sidecar.ranking.mentions import places
from cco_sidecar.ranking.selection import named_by

PATHS = ["src/app.py", "lib/app.py", "src/routes/+page.svelte", "app/[slug]/page.tsx", "app/about/page.tsx", "my file.py",
         "docs/größe.md", "src/retry_queue.py", "src/queue.py"]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see src/app.py:12 and src/app.py:30", {"src/app.py": {12, 30}}),
        ('Traceback:\n  File "/build/x/src/app.py", line 7, in f', {"src/app.py": {7}}),
        ("at queue.py:5", {"src/queue.py": {5}}),
        ("at src/routes/+page.svelte:3", {"src/routes/+page.svelte": {3}}),
        ("other.py:5, port:8080, 12:30", {}),
    ],
)
def test_lines(text: str, found: dict[str, set[int]]) -> None:
    assert places(text, PATHS) == found


@pytest.mark.parametrize(
    ("task", "found"),
    [
        ("Fix app/[slug]/page.tsx", {"app/[slug]/page.tsx"}),
        ("Fix page.tsx", {"app/[slug]/page.tsx", "app/about/page.tsx"}),
        ("`src/routes/+page.svelte` fails", {"src/routes/+page.svelte"}),
        ("translate docs/größe.md, and my file.py.", {"docs/größe.md", "my file.py"}),
        ("the retry_queue is full", {"src/retry_queue.py"}),
        ("the queue is full", set()),
        ("src/app.pyc is stale", set()),
        ("vendor/src/app.py", set()),
    ],
)
def test_files(task: str, found: set[str]) -> None:
    assert named_by(task, tuple(PATHS)) == found

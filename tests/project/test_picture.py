"""The picture of docs/architecture.md is the one that the imports make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.repositories import OURS

PAGE = OURS / "docs" / "architecture.md"


def check(page: Path) -> subprocess.CompletedProcess[str]:
    script = OURS / "scripts" / "picture.py"
    return subprocess.run(
        [sys.executable, script, "--check", "--page", page], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_picture_is_current() -> None:
    done = check(PAGE)
    assert done.returncode == 0, done.stderr


def test_a_stale_picture_is_found(tmp_path: Path) -> None:
    text = PAGE.read_text()
    assert text.count("    bus --> storage\n") == 1
    page = tmp_path / PAGE.name
    page.write_text(text.replace("    bus --> storage\n", "    bus --> runners\n"))
    done = check(page)
    assert done.returncode == 1
    assert "architecture.md: the picture does not match the imports; fix: make picture" in done.stderr
    assert "-    bus --> runners" in done.stderr and "+    bus --> storage" in done.stderr

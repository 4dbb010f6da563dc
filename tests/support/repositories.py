"""Real git repositories."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

OURS = Path(__file__).resolve().parents[2]
_WHO = (
    "-c",
    "user.name=Tester",
    "-c",
    "user.email=tester@example.com",
    "-c",
    "commit.gpgsign=false",
    "-c",
    "init.defaultBranch=main",
)


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *_WHO, *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout


def clone_of_ours(target: Path) -> Path:
    """A clone of this very repository; outside a checkout, its files committed to a new one."""
    if (OURS / ".git").exists():
        git(target.parent, "clone", "--quiet", str(OURS), str(target))
    else:
        shutil.copytree(OURS, target, ignore=shutil.ignore_patterns(".venv", ".tools", ".build"))
        commit_all(target)
    return target


def large(target: Path, least: int = 2000) -> Path:
    """A repository with at least ``count`` real source files: the libraries installed next to us."""
    libraries = Path(sysconfig.get_paths()["purelib"])
    copied = 0
    for package in sorted(libraries.iterdir()):
        if copied >= least:
            break
        if package.is_dir() and not package.name.endswith(".dist-info") and package.name != "__pycache__":
            for file in package.rglob("*.py"):
                place = target / file.relative_to(libraries)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
                copied += 1
    assert copied >= least
    (target / "README.md").write_text("# Many files\n")
    commit_all(target)
    return target


def commit_all(root: Path, message: str = "Everything") -> None:
    if not (root / ".git").exists():
        git(root, "init", "--quiet")
    git(root, "add", "--all", "--force")
    git(root, "commit", "--quiet", "--message", message)

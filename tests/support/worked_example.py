"""The worked example of CONTRIBUTING.md, applied to a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import google.api
from tests.support.repositories import OURS

_STEP = re.compile(
    r'^<!-- (?:file: (?P<file>\S+)|insert after "(?P<after>[^\n]*)" in: (?P<edited>\S+)) -->\n'
    r"```\w+\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_COPIED = ("config", "docs", "gen/python", "proto", "src", "tests", "pyproject.toml", "README.md")


class Step(NamedTuple):
    """A new file, or lines to insert after the line that starts with ``after``."""

    path: str
    after: str
    text: str

    @property
    def name(self) -> str:
        """The path; for an insertion also its first word, because a file may have several."""
        return f"{self.path}: {self.text.split()[0]}" if self.after else self.path


def steps(page: Path) -> list[Step]:
    return [
        Step(found["file"] or found["edited"], found["after"] or "", found["text"])
        for found in _STEP.finditer(page.read_text())
    ]


class Copy:
    """A copy of what the example changes, reads and runs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # With the compiled files, which make each start of the copy faster.
        for name in _COPIED:
            source = OURS / name
            if source.is_dir():
                shutil.copytree(source, root / name)
            else:
                shutil.copy(source, root / name)

    @property
    def environment(self) -> dict[str, str]:
        """For processes that shall import the copy."""
        return {"PYTHONPATH": f"{self.root / 'src'}:{self.root / 'gen/python'}"}

    def apply(self, step: Step) -> None:
        path = self.root / step.path
        if not step.after:
            path.parent.mkdir(exist_ok=True)
            path.write_text(step.text)
            return
        lines = path.read_text().splitlines(keepends=True)
        (place,) = (number for number, line in enumerate(lines) if line.startswith(step.after))
        path.write_text("".join([*lines[: place + 1], step.text, *lines[place + 1 :]]))

    def replace(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text()
        assert text.count(old) == 1, (path, old)
        (self.root / path).write_text(text.replace(old, new))

    def generate(self, proto: str) -> None:
        """Writes the Python stubs, as `make gen` does."""
        self._protoc(
            "--python_out=gen/python",
            "--pyi_out=gen/python",
            "--grpc_python_out=gen/python",
            f"proto/orchestra/v1/{proto}",
        )

    def generate_openapi(self) -> None:
        """Writes the OpenAPI document, as `make gen` does."""
        image = self.root / "image.binpb"
        protos = [str(path.relative_to(self.root)) for path in (self.root / "proto").rglob("*.proto")]
        self._protoc("--include_imports", "--include_source_info", f"--descriptor_set_out={image}", *protos)
        done = self.run(sys.executable, "-m", "cco_sidecar.gateway.openapi", image)
        assert done.returncode == 0, done.stderr
        target = self.root / "gen" / "openapi"
        target.mkdir()
        (target / "orchestra.v1.json").write_text(done.stdout)

    def test(self, *tests: str) -> subprocess.CompletedProcess[str]:
        """Runs tests of the copy."""
        return self.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs a command in the copy, with its modules."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def _protoc(self, *arguments: str) -> None:
        done = self.run(sys.executable, "-m", "grpc_tools.protoc", "-I", "proto", "-I", _googleapis(), *arguments)
        assert done.returncode == 0, done.stderr


def _googleapis() -> Path:
    """The directory that has google/api/annotations.proto."""
    return Path(next(iter(google.api.__path__))).parents[1]

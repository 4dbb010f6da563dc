"""Runs every command and code block of README and docs, parses every JSON block, and checks every link.

Blocks: ``bash`` and ``python`` run in the order of their page, ``bash background`` is started and keeps running until
the page ends, ``json`` is parsed, ``text`` and ``mermaid`` are only shown.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
from tests.support.clocked import free_ports
from tests.support.repositories import OURS

from cco_sidecar.core.services import services
from cco_sidecar.testing.process import SidecarProcess, agent_environment

PAGES = [OURS / "README.md", *sorted((OURS / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_KINDS = {"bash", "bash background", "python", "json", "text", "toml", "mermaid"}


class Block(NamedTuple):
    kind: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(kind.strip(), text) for kind, text in _BLOCK.findall(page.read_text())]


@pytest.fixture
def checkout(tmp_path: Path, repository: Path) -> Path:
    """A clone as a reader has it, with the environment that `make setup` creates."""
    root = tmp_path / "checkout"
    shutil.copytree(repository, root)
    shutil.copytree(OURS / "docs", root / "docs", dirs_exist_ok=True)
    shutil.copy(OURS / "Makefile", root / "Makefile")
    (root / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (root / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    # Both are needed, or `make run` would install this clone into the environment that runs the tests.
    for name in (".ready", ".runs"):
        (root / ".venv" / name).touch()
    return root


def environment(sidecar: SidecarProcess) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CCO_", "JWT_", "SIDECAR_"))}
    return clean | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(sidecar.storage.parent),
        "CCO_SIDECAR_PORT": str(sidecar.port),
        "CCO_SIDECAR_GRPC_PORT": str(sidecar.grpc_port),
        "CCO_SIDECAR_STORAGE": str(sidecar.storage),
    }


def run_bash(text: str, sidecar: SidecarProcess, root: Path, extra: dict[str, str]) -> None:
    script = re.sub(r"(localhost|127\.0\.0\.1):3001", f"127.0.0.1:{sidecar.port}", text)
    script = (
        script.replace("curl ", "curl -sS --fail-with-body ")
        if "issue-999" not in text and "==" not in text
        else script
    )
    # Moves the ports and the storage of a second sidecar on the page out of the way.
    script = script.replace("4400", str(free_ports()[0])).replace("/tmp/cco-docs", str(root / "second"))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=root,
        env=environment(sidecar) | extra,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n--- stdout\n{done.stdout[-2000:]}\n--- stderr\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_does_what_it_says(page: Path, sidecar: SidecarProcess, checkout: Path) -> None:
    found = blocks(page)
    assert {block.kind for block in found} <= _KINDS
    agent = sidecar.agent(issue="issue-123", project="default")
    extra: dict[str, str] = {}
    for block in found:
        # Exports of a page apply to the rest of it.
        for name, value in re.findall(r"^export (JWT_TOKEN)=\$\((.*)\)$", block.text, re.MULTILINE):
            extra[name] = subprocess.run(
                ["bash", "-c", value], env=environment(sidecar), capture_output=True, text=True, check=True
            ).stdout.strip()
        if block.kind == "bash":
            run_bash(block.text, sidecar, checkout, extra)
        elif block.kind == "python":
            done = subprocess.run(
                [sys.executable, "-"],
                input=block.text,
                env=environment(sidecar) | agent_environment(sidecar, agent) | extra,
                cwd=checkout,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, f"{block.text}\n{done.stderr}"
        elif block.kind == "json":
            json.loads(block.text)


def test_make_run_starts_the_sidecar_on_this_repository(checkout: Path, tmp_path: Path) -> None:
    (command,) = [block.text.strip() for block in blocks(OURS / "README.md") if block.kind == "bash background"]
    assert command == "make run"
    port = free_ports()[0]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CCO_", "MAKE", "ARGS", "PROJECT"))}
    ours = {
        "HOME": str(tmp_path),
        "CCO_SIDECAR_PORT": str(port),
        "CCO_SIDECAR_GRPC_PORT": "0",
        "CCO_SIDECAR_STORAGE": str(tmp_path / "s"),
    }
    process = subprocess.Popen(
        command.split(), cwd=checkout, env=clean | ours, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        screen = ""
        while "Ready to coordinate 119 agents" not in screen:
            line = process.stdout.readline()
            assert line, screen
            screen += line
        assert "\nOrchestration Sidecar v1.0.0\n" in f"\n{screen}"
        assert f"Listening on http://127.0.0.1:{port}\n" in screen
        assert requests.get(f"http://127.0.0.1:{port}/health", timeout=10).status_code == 200
    finally:
        (pid,) = (tmp_path / "s" / "sidecar.pid").read_text().split()
        os.kill(int(pid), 15)
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            process.stdout.readline()  # type: ignore[union-attr]
        process.stdout.close()  # type: ignore[union-attr]


def test_links_resolve() -> None:
    for page in (*PAGES, OURS / "CONTRIBUTING.md", OURS / "SECURITY.md"):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_named_source_files_exist() -> None:
    """The architecture page names files below src/cco_sidecar, or at the top."""
    named = re.findall(
        r"`([a-z_]+(?:/[a-z_0-9]+)*(?:\.py|/[a-z_0-9]+))`", (OURS / "docs" / "architecture.md").read_text()
    )
    assert len(named) > 40
    gone = [name for name in named if not any((top / name).exists() for top in (OURS / "src" / "cco_sidecar", OURS))]
    assert not gone


VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def test_all_services_are_documented() -> None:
    page = (OURS / "docs" / "grpc.md").read_text()
    for service in services():
        assert f"`{service.name}`" in page, service.name


def test_all_paths_are_documented() -> None:
    described = json.loads((OURS / "gen" / "openapi" / "orchestra.v1.json").read_text())["paths"]
    calls = {(verb.upper(), path) for path, verbs in described.items() for verb in verbs if verb.upper() in VERBS}
    # Without a type; a sentence says so.
    calls -= {("GET", "/api/events/wait"), ("GET", "/api/events/stream")}
    listed = set()
    for row in re.findall(r"^\| (.+?) \| \d+(?:, \d+)* \|", (OURS / "docs" / "rest.md").read_text(), re.MULTILINE):
        verbs: list[str] = []
        given = False
        for word in re.findall(r"[^`\s]+", row.replace(",", " ")):
            if word in VERBS:
                # Verbs in a row share the paths that follow.
                verbs, given = ([word] if given else [*verbs, word]), False
            elif word.startswith("/"):
                listed |= {(verb, word.partition("?")[0]) for verb in verbs}
                given = True
    missing = [" ".join(call) for call in sorted(calls - listed)]
    assert not missing, missing

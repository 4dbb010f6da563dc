"""A served repository cannot run programs: whatever its own configuration names, the context is built without it.

Each vector is a real repository whose configuration would run a program that writes its name to a marker file. Where
plain git would run it, a control shows that the trap works before the sidecar reads the repository.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from tests.support.repositories import commit_all, git
from tests.support.sidecars import Deployment, call, serving, small_repository, until, written

from cco_sidecar.testing.agents import SpawnedAgent
from cco_sidecar.testing.process import SidecarProcess

AGENT_TYPE = "python-specialist"
# The time limit of an answer when a pipe is in the way.
PROMPTLY = 5.0
_CONTROL_SECONDS = 30.0
_STALE = 946_684_800
_FILTER = "* filter=evil\n"
OUTSIDE = "outside"


# -- a repository with a trap -----------------------------------------------------------------------------


class Names(NamedTuple):
    """The paths of the newest commit and its branch, below the git directory."""

    commit: str
    ref: str


@cache
def names_in(template: Path) -> Names:
    commit = git(template, "rev-parse", "HEAD").strip()
    return Names(f"objects/{commit[:2]}/{commit[2:]}", git(template, "symbolic-ref", "HEAD").strip())


class Trap:
    """``root`` is what is served; ``git_dir`` has the hostile configuration."""

    def __init__(self, base: Path, template: Path, url_of_server: str = "", secret: Path | None = None) -> None:
        self.base = base
        self.root = base / "root"
        self.marker = base / "marker"
        self.server = url_of_server
        self.secret = secret
        self.names = names_in(template)
        self._spoilt = 0
        shutil.copytree(template, self.root)

    @property
    def git_dir(self) -> Path:
        return self.root / ".git"

    def program(self, label: str, then: str = "exit 1") -> Path:
        """A program that writes ``label`` to the marker."""
        return self.script(self.base / f"run-{label}", label, then)

    def script(self, path: Path, label: str, then: str = "exit 1") -> Path:
        """It also records whether it could see the operator's token."""
        path.parent.mkdir(parents=True, exist_ok=True)
        outside = f'test -s "{self.secret}" && echo "{label}, {OUTSIDE}" >> "{self.marker}"' if self.secret else ":"
        path.write_text(f'#!/bin/sh\necho "{label}" >> "{self.marker}"\n{outside}\n{then}\n')
        path.chmod(0o755)
        return path

    def configure(self, text: str, path: Path | None = None) -> None:
        """Appends to the repository's configuration, or to a similar file."""
        with (path or self.git_dir / "config").open("a") as config:
            config.write(text)

    def attributes(self, text: str) -> None:
        (self.root / ".gitattributes").write_bytes(os.fsencode(text))

    def run(self) -> str:
        """The labels of the programs that ran."""
        return self.marker.read_text() if self.marker.exists() else ""

    def spoil(self) -> None:
        """Invalidates all file times in the index, so that git has to read every file."""
        self._spoilt += 1
        time_of_all = _STALE + self._spoilt * 1000
        for path in self.base.rglob("*"):
            if path.is_file() and not path.is_symlink() and ".git" not in path.parts:
                os.utime(path, (time_of_all, time_of_all))


def plain_environment(home: Path) -> dict[str, str]:
    """A user's environment, without any variables of git's own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return clean | {"HOME": str(home), "GIT_TERMINAL_PROMPT": "0", "TERM": "xterm"}


def run_plain(trap: Trap, arguments: Sequence[str], *, terminal: bool) -> None:
    """Runs git as a user would, in a terminal or not. The exit code does not matter."""
    words = ["git", *arguments]
    environment = plain_environment(trap.base)
    if not terminal:
        subprocess.run(words, cwd=trap.root, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                       timeout=_CONTROL_SECONDS, check=False)  # fmt: skip
        return
    ours, theirs = pty.openpty()
    with subprocess.Popen(words, cwd=trap.root, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        deadline = time.monotonic() + _CONTROL_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([ours], [], [], 0.02)[0]:
                with contextlib.suppress(OSError):
                    os.read(ours, 65536)
        process.kill()
    os.close(ours)


# -- vectors ----------------------------------------------------------------------------------------------

Arm = Callable[[Trap], None]


@dataclass(frozen=True)
class Vector:
    """``control``: the git arguments that spring the trap with plain git; empty if plain git is safe too. ``whole``:
    the context must have files; otherwise a refusal is fine as well.
    """

    name: str
    arm: Arm
    control: Sequence[str] = ()
    terminal: bool = False
    whole: bool = True


def cat(trap: Trap, label: str) -> Path:
    return trap.program(label, "exec cat")


def filter_of(key: str, *, required: bool = True) -> Arm:
    def arm(trap: Trap) -> None:
        program = cat(trap, key)
        trap.configure(f'[filter "evil"]\n\t{key} = {program}\n\trequired = {str(required).lower()}\n')
        trap.attributes(_FILTER)

    return arm


def filter_named(name: str, section: str = "", attribute: str = "") -> Arm:
    """``section``: the spelling in the configuration, if it differs from the name."""

    def arm(trap: Trap) -> None:
        spelled = section or '[filter "{}"]'.format(name.replace("\\", "\\\\").replace('"', '\\"'))
        program = cat(trap, "filter")
        with (trap.git_dir / "config").open("ab") as config:
            config.write(os.fsencode(f"{spelled}\n\tCLEAN = {program}\n\tprocess = {program}\n"))
        trap.attributes(f"* filter={attribute or name}\n")

    return arm


def attributes_elsewhere(path: str, setting: str = "") -> Arm:
    def arm(trap: Trap) -> None:
        filter_of("clean")(trap)
        (trap.root / ".gitattributes").rename(trap.base / "attributes")
        place = trap.root / path
        place.parent.mkdir(exist_ok=True)
        (trap.base / "attributes").rename(place)
        trap.configure(setting.format(place=place) if setting else "")

    return arm


def attribute_macro(trap: Trap) -> None:
    filter_of("clean")(trap)
    trap.attributes("[attr]harmless filter=evil\n* harmless\n")


def diff_driver(*keys: str) -> Arm:
    def arm(trap: Trap) -> None:
        lines = "".join(f"\t{key} = {trap.program(key, 'exit 0')}\n" for key in keys)
        trap.configure(f'[diff "evil"]\n{lines}\tcachetextconv = true\n')
        trap.attributes("* diff=evil\n")

    return arm


def setting(text: str) -> Arm:
    """``{program}`` in the configuration is a program that leaves a mark."""

    def arm(trap: Trap) -> None:
        trap.configure(text.format(program=trap.program("program"), base=trap.base, server=trap.server))

    return arm


def hook(name: str, directory: str = ".git/hooks", config: str = "") -> Arm:
    def arm(trap: Trap) -> None:
        trap.script(trap.root / directory / name, name, "exit 0")
        trap.configure(config)

    return arm


def promisor(config: str, *, missing: Sequence[str] = ("HEAD:src/app.py", "HEAD~1^{tree}")) -> Arm:
    """A partial clone: missing objects are fetched on first access."""

    def arm(trap: Trap) -> None:
        trap.configure(
            "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tpartialClone = origin\n"
            '[remote "origin"]\n\tpromisor = true\n\tpartialclonefilter = blob:none\n'
        )
        setting(config)(trap)
        # Everything is named before anything is missing.
        names = [git(trap.root, "rev-parse", each).strip() for each in missing]
        for name in names:
            (trap.git_dir / "objects" / name[:2] / name[2:]).unlink()

    return arm


def local_promisor(trap: Trap) -> None:
    """The remote is a directory, so the program that serves it is configured here."""
    shutil.copytree(trap.git_dir, trap.base / "origin.git")
    promisor('[remote "origin"]\n\turl = {base}/origin.git\n\tuploadpack = {program}\n')(trap)


def signed(armour: str, config: str) -> Arm:
    """The newest commit claims to be signed."""

    def arm(trap: Trap) -> None:
        head, _, message = git(trap.root, "cat-file", "commit", "HEAD").partition("\n\n")
        signature = f"gpgsig -----BEGIN {armour}-----\n \n aGVsbG8=\n -----END {armour}-----"
        text = f"{head}\n{signature}\n\n{message}"
        words = ["git", "hash-object", "-t", "commit", "-w", "--stdin"]
        made = subprocess.run(words, cwd=trap.root, input=text, capture_output=True, text=True, check=True).stdout
        git(trap.root, "update-ref", "HEAD", made.strip())
        setting(config)(trap)

    return arm


def everything(trap: Trap) -> str:
    """A configuration that names as many programs as fit into one file."""
    clean, odd = cat(trap, "clean"), cat(trap, "odd-clean")
    trap.attributes("* filter=evil\nREADME.md filter=a=b\n")
    return (
        f'[filter "evil"]\n\tclean = {clean}\n[filter "a=b"]\n\tclean = {odd}\n'
        f"[core]\n\tfsmonitor = {trap.program('fsmonitor')}\n[diff]\n\texternal = {trap.program('external')}\n"
    )


def included(condition: str, before: str = "") -> Arm:
    def arm(trap: Trap) -> None:
        trap.configure(everything(trap), trap.base / "more-config")
        trap.configure(before + condition.format(git_dir=trap.git_dir) + f"\n\tpath = {trap.base / 'more-config'}\n")

    return arm


def included_chain(trap: Trap) -> None:
    """One file includes the next, by a relative path."""
    trap.configure("[include]\n\tpath = two\n", trap.git_dir / "one")
    trap.configure(everything(trap), trap.git_dir / "two")
    trap.configure("[include]\n\tpath = one\n")


def worktree_config(trap: Trap) -> None:
    trap.configure("[core]\n\trepositoryformatversion = 1\n[extensions]\n\tworktreeConfig = true\n")
    trap.configure(everything(trap), trap.git_dir / "config.worktree")


def linked_worktree(trap: Trap) -> None:
    """The served directory has its configuration in another directory."""
    main = trap.base / "main"
    trap.root.rename(main)
    git(main, "worktree", "add", "--quiet", "--force", str(trap.root), "HEAD")
    (trap.root / "src" / "app.py").write_text("value = 7\n")
    trap.configure(everything(trap), main / ".git" / "config")


def git_file(trap: Trap) -> None:
    trap.configure(everything(trap))
    trap.git_dir.rename(trap.base / "elsewhere")
    trap.git_dir.write_text("gitdir: ../elsewhere\n")


def git_link(trap: Trap) -> None:
    trap.configure(everything(trap))
    trap.git_dir.rename(trap.base / "elsewhere")
    trap.git_dir.symlink_to("../elsewhere")


def worktree_above(trap: Trap) -> None:
    """The repository claims that its worktree begins in a parent directory."""
    trap.configure(everything(trap))
    listed = git(trap.root, "ls-files", "--stage").splitlines()
    git(trap.root, "read-tree", "--empty")
    moved = "".join(f"{line.partition(chr(9))[0]}\troot/{line.partition(chr(9))[2]}\n" for line in listed)
    words = ["git", "update-index", "--index-info"]
    subprocess.run(words, cwd=trap.root, input=moved, text=True, capture_output=True, check=True)
    trap.configure("[core]\n\tworktree = ../..\n")


def bare_below(trap: Trap) -> None:
    """The served directory is itself a bare repository, without any `.git`, inside a repository."""
    trap.configure(everything(trap))
    outer = trap.base / "outer"
    outer.mkdir()
    nested = outer / "nested"
    trap.root.rename(nested)
    for part in (nested / ".git").iterdir():
        part.rename(nested / part.name)
    (nested / ".git").rmdir()
    with (nested / "config").open("a") as config:
        config.write(f"[core]\n\tbare = false\n\tworktree = {nested}\n")
    git(outer, "init", "--quiet")
    trap.root = nested


def submodule(config: str = "", *, absorbed: bool = False, own: Callable[[Trap, Path], str] | None = None) -> Arm:
    """``own``: the submodule's own configuration; ``config``: what the repository says about the submodule."""

    def arm(trap: Trap) -> None:
        inner = trap.root / "sub"
        shutil.copytree(trap.root, trap.base / "copy")
        (trap.base / "copy").rename(inner)
        git(trap.root, "-c", "advice.addEmbeddedRepo=false", "add", "sub")
        (trap.root / ".gitmodules").write_text('[submodule "sub"]\n\tpath = sub\n\turl = ./sub\n')
        git(trap.root, "add", ".gitmodules")
        git(trap.root, "commit", "--quiet", "--message", "With a submodule")
        if absorbed:
            git(trap.root, "submodule", "absorbgitdirs")
        settings = trap.root / ".git" / "modules" / "sub" if absorbed else inner / ".git"
        if own is not None:
            trap.configure(own(trap, inner), settings / "config")
        git(inner, "commit", "--quiet", "--allow-empty", "--message", "Ahead")
        setting(config)(trap)

    return arm


def submodule_filter(trap: Trap, inner: Path) -> str:
    (inner / ".gitattributes").write_text(_FILTER)
    return f'[filter "evil"]\n\tclean = {cat(trap, "submodule-clean")}\n'


def submodule_fsmonitor(trap: Trap, inner: Path) -> str:
    return f"[core]\n\tfsmonitor = {trap.program('submodule-fsmonitor')}\n"


def merge_driver(trap: Trap) -> None:
    setting('[merge "evil"]\n\tdriver = {program}\n')(trap)
    trap.attributes("* merge=evil\n")


def aliases(trap: Trap) -> None:
    """Aliases for every command that a reader of repositories may use."""
    names = ("status", "log", "diff", "config", "ls-files", "rev-parse", "check-ignore", "cat-file", "worktree")
    lines = "".join(f"\t{name} = !{trap.program(f'alias-{name}')}\n" for name in names)
    trap.configure(f"[alias]\n{lines}")


def pagers(trap: Trap) -> None:
    program = trap.program("pager", "exec cat")
    names = ("log", "status", "diff", "config", "ls-files")
    lines = "".join(f"\t{name} = {program}\n" for name in names)
    trap.configure(f"[core]\n\tpager = {program}\n[pager]\n{lines}")


def a_program_named_git(trap: Trap) -> None:
    """In the working directory of git."""
    for name in ("git", "git-status", "ssh", "sh"):
        trap.script(trap.root / name, name)


STATUS, DIFF, LOG = ("status",), ("diff", "HEAD"), ("log", "-p")
_SSH = '[remote "origin"]\n\turl = ssh://127.0.0.1/x\n'
_HTTP = '[remote "origin"]\n\turl = {server}/x.git\n'

VECTORS = [
    Vector("filter-clean", filter_of("clean"), STATUS),
    Vector("filter-smudge", filter_of("smudge"), ("checkout", "--force", "HEAD~1", "--", ".")),
    Vector("filter-process", filter_of("process"), STATUS),
    Vector("filter-equals", filter_named("a=b"), STATUS),
    Vector("filter-equals-twice", filter_named("=x=.clean=y"), STATUS),
    Vector("filter-dots", filter_named("a.b.c"), STATUS),
    Vector("filter-named-as-a-key", filter_named("clean.process.required"), STATUS),
    Vector("filter-upper-case", filter_named("EVIL"), STATUS),
    Vector("filter-section-upper-case", filter_named("Evil", '[FILTER "Evil"]'), STATUS),
    Vector("filter-section-dotted", filter_named("evil", "[filter.EVIL]"), STATUS),
    Vector("filter-space", filter_named("a b")),
    Vector("filter-other-space", filter_named("a\v\u00a0b"), STATUS),
    Vector("filter-quotes", filter_named("a\"b'c"), STATUS),
    Vector("filter-backslash-n", filter_named("a\\nb"), STATUS),
    Vector("filter-no-utf-8", filter_named("\udcff\udcfe"), STATUS),
    Vector("filter-without-a-name", filter_named("", '[filter ""]'), STATUS),
    Vector("filter-dollar", filter_named("$(x)`y`;%s"), STATUS),
    Vector("attributes-info", attributes_elsewhere(".git/info/attributes"), STATUS),
    Vector("attributes-below", attributes_elsewhere("src/.gitattributes"), STATUS),
    Vector(
        "attributes-file",
        attributes_elsewhere("other", "[core]\n\tattributesFile = {place}\n"),
        STATUS,
    ),
    Vector("attributes-macro", attribute_macro, STATUS),
    Vector("diff-textconv", diff_driver("textconv"), DIFF),
    Vector("diff-command", diff_driver("command"), DIFF),
    Vector("diff-external", setting("[diff]\n\texternal = {program}\n"), DIFF),
    Vector("fsmonitor", setting("[core]\n\tfsmonitor = {program}\n\tfsmonitorHookVersion = 2\n"), STATUS),
    Vector("fsmonitor-twice", setting("[CORE]\n\tFSMonitor = false\n\tfsMonitor = {program}\n"), STATUS),
    Vector("hook-post-index-change", hook("post-index-change"), STATUS),
    Vector(
        "hook-fsmonitor-watchman",
        hook("fsmonitor-watchman", config="[core]\n\tfsmonitor = .git/hooks/fsmonitor-watchman\n"),
        STATUS,
    ),
    Vector("hook-reference-transaction", hook("reference-transaction"), ("update-ref", "refs/heads/new", "HEAD")),
    Vector("hook-post-checkout", hook("post-checkout"), ("checkout", "-b", "new")),
    Vector(
        "hooks-path",
        hook("post-index-change", directory="tools", config="[core]\n\thooksPath = tools\n"),
        STATUS,
    ),
    Vector("promisor-ssh", promisor(_SSH + "[core]\n\tsshCommand = {program}\n"), DIFF),
    Vector("promisor-ssh-history", promisor(_SSH + "[core]\n\tsshCommand = {program}\n"), ("log", "--name-only")),
    Vector(
        "promisor-ssh-newest-tree",
        promisor(_SSH + "[core]\n\tsshCommand = {program}\n", missing=["HEAD^{tree}"]),
        STATUS,
        whole=False,
    ),
    Vector("promisor-uploadpack", local_promisor, DIFF),
    Vector(
        "promisor-ext",
        promisor('[remote "origin"]\n\turl = ext::{program} %S\n[protocol "ext"]\n\tallow = always\n'),
        DIFF,
    ),
    Vector(
        "promisor-instead-of",
        promisor(
            '[remote "origin"]\n\turl = https://example.com/x\n[url "ext::{program} "]\n\tinsteadOf = https:\n'
            "[protocol]\n\tallow = always\n"
        ),
        DIFF,
    ),
    Vector(
        "promisor-vcs",
        promisor('[remote "origin"]\n\tvcs = ext\n\turl = {program} %S\n[protocol]\n\tallow = always\n'),
        DIFF,
    ),
    Vector(
        "promisor-git-proxy",
        promisor('[remote "origin"]\n\turl = git://127.0.0.1/x\n[core]\n\tgitProxy = {program}\n'),
        DIFF,
    ),
    Vector("promisor-credential-helper", promisor(_HTTP + "[credential]\n\thelper = !{program}\n"), DIFF),
    Vector("promisor-askpass", promisor(_HTTP + "[core]\n\taskPass = {program}\n"), DIFF),
    Vector("alias-of-builtins", aliases),
    Vector("pager", pagers, LOG, terminal=True),
    Vector(
        "gpg",
        signed("PGP SIGNATURE", "[log]\n\tshowSignature = true\n[gpg]\n\tprogram = {program}\n"),
        LOG,
    ),
    Vector(
        "gpg-ssh",
        signed(
            "SSH SIGNATURE",
            '[log]\n\tshowSignature = true\n[gpg "ssh"]\n\tprogram = {program}\n\tallowedSignersFile = {program}\n',
        ),
        LOG,
    ),
    Vector(
        "gpg-x509",
        signed("SIGNED MESSAGE", '[log]\n\tshowSignature = true\n[gpg "x509"]\n\tprogram = {program}\n'),
        LOG,
    ),
    Vector("gpg-by-format", signed("PGP SIGNATURE", "[format]\n\tpretty = %G?\n[gpg]\n\tprogram = {program}\n"), LOG),
    Vector("include", included("[include]"), STATUS),
    Vector("include-if-gitdir", included('[includeIf "gitdir:{git_dir}"]'), STATUS),
    Vector("include-if-branch", included('[includeIf "onbranch:**"]'), STATUS),
    Vector(
        "include-if-remote",
        included('[includeIf "hasconfig:remote.*.url:https://**"]', '[remote "o"]\n\turl = https://example.com/x\n'),
        STATUS,
    ),
    Vector("include-chain", included_chain, STATUS),
    Vector("worktree-config", worktree_config, STATUS),
    Vector("linked-worktree", linked_worktree, STATUS),
    Vector("submodule-filter", submodule(own=submodule_filter), STATUS),
    Vector("submodule-fsmonitor", submodule(own=submodule_fsmonitor), STATUS),
    Vector("submodule-absorbed", submodule(own=submodule_filter, absorbed=True), STATUS),
    Vector(
        "submodule-shown-whole",
        submodule("[diff]\n\tsubmodule = diff\n[status]\n\tsubmoduleSummary = true\n", own=submodule_filter),
        ("diff",),
    ),
    Vector(
        "submodule-update",
        submodule(
            '[submodule]\n\trecurse = true\n[submodule "sub"]\n\tactive = true\n\turl = ./sub\n\tupdate = !{program}\n'
        ),
        ("submodule", "update"),
    ),
    Vector("bare-repository-below", bare_below, STATUS),
    Vector("git-file", git_file, STATUS, whole=False),
    Vector("git-link", git_link, STATUS, whole=False),
    Vector("worktree-above", worktree_above, STATUS),
    Vector("merge-driver", merge_driver, ("merge", "--no-edit", "other")),
    Vector("editor", setting("[core]\n\teditor = {program}\n"), ("commit", "--allow-empty")),
    Vector(
        "trailer",
        setting('[trailer "evil"]\n\tkey = Evil\n\tifmissing = add\n\tcmd = {program}\n'),
        ("interpret-trailers", "--trailer", "evil=x", "README.md"),
    ),
    Vector("program-named-git", a_program_named_git),
]  # fmt: skip
ids = [vector.name for vector in VECTORS]


# -- fixtures ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits, a branch with another one, and an uncommitted change; all objects are loose."""
    root = tmp_path_factory.mktemp("template") / "root"
    (root / "src").mkdir(parents=True)
    (root / "README.md").write_text("# Hostile\n")
    (root / "src" / "app.py").write_text("value = 1\n")
    (root / "src" / "more.py").write_text("more = 1\n")
    commit_all(root, "First")
    git(root, "config", "user.name", "Tester")
    git(root, "config", "user.email", "tester@example.com")
    git(root, "checkout", "--quiet", "-b", "other")
    (root / "README.md").write_text("# Hostile, of another\n")
    git(root, "commit", "--quiet", "--all", "--message", "Of another")
    git(root, "checkout", "--quiet", "-")
    (root / "README.md").write_text("# Hostile, newest\n")
    (root / "src" / "app.py").write_text("value = 2\n")
    commit_all(root, "Second")
    (root / "src" / "app.py").write_text("value = 3\n")
    return root


class Refusing(BaseHTTPRequestHandler):
    """Asks every client for a password."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def asking_server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture(scope="module")
def traps(tmp_path_factory: pytest.TempPathFactory, template: Path, asking_server: str) -> dict[str, Trap]:
    base = tmp_path_factory.mktemp("traps")
    made = {}
    for vector in VECTORS:
        (base / vector.name).mkdir()
        trap = made[vector.name] = Trap(base / vector.name, template, asking_server)
        vector.arm(trap)
        trap.marker.unlink(missing_ok=True)
    return made


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory, traps: Mapping[str, Trap]) -> Iterator[SidecarProcess]:
    """One for all: each repository is a project."""
    base = tmp_path_factory.mktemp("sidecar")
    config = written(base / "config.json", projects={name: str(trap.root) for name, trap in traps.items()})
    with serving(base, small_repository(base / "root"), config=config) as running:
        yield running


def context(sidecar: SidecarProcess, project: str, **more: Any) -> requests.Response:
    path = f"/api/context/issue-1/{AGENT_TYPE}?project_id={project}"
    return sidecar.request("GET", path, sidecar.operator, **more)


def refresh(sidecar: SidecarProcess, project: str) -> requests.Response:
    body = {"issue_id": "issue-1", "agent_type": AGENT_TYPE, "project_id": project, "force": True}
    return sidecar.request("POST", "/api/context/refresh", sidecar.operator, json=body, timeout=60)


def assert_answered(answer: requests.Response, *, whole: bool) -> None:
    """The context has the files; a vector that may be refused says why."""
    if not whole and answer.status_code != 200:
        assert answer.json()["message"], answer.text
        return
    assert answer.status_code == 200, answer.text
    paths = {file["path"] for file in answer.json()["context"]["relevant_files"]}
    assert {"src/app.py", "src/more.py"} <= paths, paths


# -- nothing is run -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=ids)
def test_nothing_is_run_for_a_context(sidecar: SidecarProcess, traps: Mapping[str, Trap], vector: Vector) -> None:
    trap = traps[vector.name]
    trap.spoil()
    if vector.control:
        run_plain(trap, vector.control, terminal=vector.terminal)
        assert trap.run(), f"the trap does not work: git {' '.join(vector.control)} ran nothing"
        trap.marker.unlink()
    trap.spoil()
    first = context(sidecar, vector.name, timeout=60)
    trap.spoil()
    again = refresh(sidecar, vector.name)
    second = context(sidecar, vector.name, timeout=60)
    assert trap.run() == ""
    assert_answered(first, whole=vector.whole)
    assert_answered(second, whole=vector.whole)
    assert again.status_code == 200 or not vector.whole, again.text


def test_a_configuration_that_keeps_changing(tmp_path: Path, template: Path) -> None:
    """The configuration may change between the sidecar's check and git's own read."""
    (tmp_path / "trap").mkdir()
    trap = Trap(tmp_path / "trap", template)
    trap.attributes(_FILTER)
    harmless = (trap.git_dir / "config").read_bytes()
    hostile = harmless + f'[filter "evil"]\n\tclean = {cat(trap, "clean")}\n'.encode()
    fresh = trap.git_dir / "config.fresh"
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            for text in (hostile, harmless):
                fresh.write_bytes(text)
                fresh.replace(trap.git_dir / "config")

    with serving(tmp_path, trap.root) as running:
        flipping = threading.Thread(target=flip)
        flipping.start()
        try:
            for _ in range(15):
                trap.spoil()
                assert refresh(running, "default").status_code == 200
                if trap.run():
                    break
        finally:
            stop.set()
            flipping.join(10)
    assert trap.run() == ""


# -- nothing is run for a worktree --------------------------------------------------------------------------

OF_WORKTREES = [
    Vector("smudge", filter_of("smudge", required=False)),
    Vector("clean", filter_of("clean", required=False)),
    Vector("process", filter_of("process", required=False)),
    Vector("post-checkout", hook("post-checkout")),
    Vector("reference-transaction", hook("reference-transaction")),
    Vector("post-index-change", hook("post-index-change")),
    Vector("hooks-path", hook("post-checkout", "tools", "[core]\n\thooksPath = {}\n")),
    Vector("promisor", promisor(_SSH + "[core]\n\tsshCommand = {program}\n", missing=["HEAD:README.md"]), whole=False),
]  # fmt: skip


@pytest.fixture(scope="module")
def worktree_traps(tmp_path_factory: pytest.TempPathFactory, template: Path) -> dict[str, Trap]:
    """Attributes are committed, so that the worktree has them from the start."""
    base = tmp_path_factory.mktemp("of-worktrees")
    made = {}
    for vector in OF_WORKTREES:
        (base / vector.name).mkdir()
        trap = Trap(base / vector.name, template, secret=base / "storage" / "operator.token")
        made[vector.name] = trap
        trap.attributes(_FILTER)
        commit_all(trap.root, "Attributes")
        vector.arm(trap)
        text = (trap.git_dir / "config").read_text()
        (trap.git_dir / "config").write_text(text.replace("{}", str(trap.root / "tools")))
    return made


@pytest.fixture(scope="module")
def spawning(worktree_traps: Mapping[str, Trap]) -> Iterator[SidecarProcess]:
    base = next(iter(worktree_traps.values())).base.parent
    config = written(base / "config.json", projects={name: str(trap.root) for name, trap in worktree_traps.items()})
    with serving(base, small_repository(base / "root"), config=config) as running:
        yield running


@pytest.mark.parametrize("vector", OF_WORKTREES, ids=[vector.name for vector in OF_WORKTREES])
def test_a_worktree_runs_nothing_outside_the_sandbox(
    spawning: SidecarProcess, worktree_traps: Mapping[str, Trap], vector: Vector
) -> None:
    """A worktree is made, inspected and discarded. If anything runs meanwhile, it runs like the agent, where nothing of
    the sidecar can be seen.
    """
    if "not sandboxed" in (spawning.storage / "logs" / "orchestration.log").read_text():
        pytest.skip("this system cannot confine agents")
    trap = worktree_traps[vector.name]
    trap.spoil()
    run_plain(trap, ("worktree", "add", "--force", "--detach", str(trap.base / "control")), terminal=False)
    run_plain(trap, ("status",), terminal=False)
    assert OUTSIDE in trap.run(), "the trap does not work"
    trap.marker.unlink()
    body = {
        "agent_type": AGENT_TYPE,
        "issue_id": "issue-1",
        "project_id": vector.name,
        "isolation": "worktree",
        "command": ["sh", "-c", "echo work >> README.md"],
    }
    answer = spawning.request("POST", "/api/agents/spawn", spawning.operator, json=body, timeout=60)
    if answer.status_code != 201 and not vector.whole:
        assert answer.json()["message"], answer.text
    else:
        assert answer.status_code == 201, answer.text
        agent = SpawnedAgent(spawning, answer.json())
        assert agent.wait()["status"] == "completed" or not vector.whole
        if vector.whole:
            call(spawning, "DELETE", f"/api/agents/{agent.id}/worktree")
    assert OUTSIDE not in trap.run()


# -- nothing waits ------------------------------------------------------------------------------------------

PIPES = {
    "gitignore": ".gitignore",
    "gitignore-below": "src/.gitignore",
    "gitattributes": ".gitattributes",
    "gitattributes-below": "src/.gitattributes",
    "gitmodules": ".gitmodules",
    "mailmap": ".mailmap",
    "manifest": "pyproject.toml",
    "report": "coverage.xml",
    "tracked-file": "README.md",
    "git-exclude": ".git/info/exclude",
    "git-attributes": ".git/info/attributes",
    "git-head": ".git/HEAD",
    "git-config": ".git/config",
    "git-index": ".git/index",
    "git-packed-refs": ".git/packed-refs",
    "git-shallow": ".git/shallow",
    "git-alternates": ".git/objects/info/alternates",
    "git-commit-graph": ".git/objects/info/commit-graph",
    "git-pack-index": f".git/objects/pack/pack-{'0' * 40}.idx",
    "git-many-packs-index": ".git/objects/pack/multi-pack-index",
    "git-newest-commit": ".git/{commit}",
    "git-ref": ".git/{ref}",
    "git-commondir": ".git/commondir",
    "git-itself": ".git",
    "included": ".git/pipe",
    "excludes-file": ".git/pipe",
    "attributes-file": ".git/pipe",
    "mailmap-file": ".git/pipe",
    "diff-order-file": ".git/pipe",
}
# Settings that refer to `.git/pipe`.
POINTERS = {
    "included": "[include]\n\tpath = pipe\n",
    "excludes-file": "[core]\n\texcludesFile = {pipe}\n",
    "attributes-file": "[core]\n\tattributesFile = {pipe}\n",
    "mailmap-file": "[mailmap]\n\tfile = {pipe}\n",
    "diff-order-file": "[diff]\n\torderFile = {pipe}\n",
}


# Pipes that are in the way all at once.
CROWD = (
    "gitignore", "gitattributes", "mailmap", "git-exclude", "git-attributes", "git-head", "git-index",
    "git-packed-refs", "git-shallow", "git-alternates", "git-newest-commit", "git-config",
)  # fmt: skip
# Files that must be next to a pipe before anything reads it.
BESIDE = {"git-pack-index": f".git/objects/pack/pack-{'0' * 40}.pack"}


def place_in(trap: Trap, path: str) -> Path:
    """A free path; whatever was there is removed."""
    place = trap.root / path.format(**trap.names._asdict())
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


class Pipe:
    """A FIFO in place of a file, which nobody writes to."""

    def __init__(self, trap: Trap, path: str, beside: str = "") -> None:
        if beside:
            (trap.root / beside).write_bytes(b"PACK")
        self.path = place_in(trap, path)
        os.mkfifo(self.path)

    def release(self) -> None:
        """Ends all readers, and removes the pipe."""
        if self.path.is_fifo():
            writer = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
            self.path.unlink()
            os.close(writer)


@pytest.fixture(scope="module")
def pipes(tmp_path_factory: pytest.TempPathFactory, template: Path) -> dict[str, Trap]:
    base = tmp_path_factory.mktemp("pipes")
    made = {}
    for name in (*PIPES, *LINKS, *(f"crowd-{each}" for each in CROWD), "healthy"):
        (base / name).mkdir()
        trap = made[name] = Trap(base / name, template)
        trap.configure(POINTERS.get(name, "").format(pipe=trap.git_dir / "pipe") + LINKS.get(name, ("", ""))[1])
    return made


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory, pipes: Mapping[str, Trap]) -> Iterator[SidecarProcess]:
    base = tmp_path_factory.mktemp("waiting")
    config = written(base / "config.json", projects={name: str(trap.root) for name, trap in pipes.items()})
    with serving(base, small_repository(base / "root"), config=config) as running:
        yield running


@contextlib.contextmanager
def piped(*traps_and_names: tuple[Trap, str]) -> Iterator[None]:
    """Pipes that exist while the block runs; after it, no reader is left."""
    made = [Pipe(trap, PIPES[name], BESIDE.get(name, "")) for trap, name in traps_and_names]
    try:
        yield
    finally:
        for pipe in made:
            pipe.release()


def asked(sidecar: SidecarProcess, project: str, answers: list[tuple[float, requests.Response | None]]) -> None:
    began = time.monotonic()
    answer = None
    with contextlib.suppress(requests.Timeout):
        answer = context(sidecar, project, timeout=PROMPTLY)
    answers.append((time.monotonic() - began, answer))


@pytest.mark.parametrize("name", PIPES)
def test_a_pipe_does_not_block_a_context(waiting: SidecarProcess, pipes: Mapping[str, Trap], name: str) -> None:
    """Any answer is fine, as long as it comes and says what is wrong."""
    answers: list[tuple[float, requests.Response | None]] = []
    with piped((pipes[name], name)):
        asked(waiting, name, answers)
    took, answer = answers[0]
    # No reader is left waiting.
    until(lambda: context(waiting, "healthy", timeout=60).status_code == 200, "the next answer")
    assert answer is not None, f"no answer in {took:.1f} s"
    assert took < PROMPTLY
    if answer.status_code != 200:
        assert re.search(r"\w+ \w+", answer.json()["message"]), answer.text


def test_pipes_delay_nobody_else(waiting: SidecarProcess, pipes: Mapping[str, Trap]) -> None:
    """As many as the machine has threads for, and a few more."""
    answers: list[tuple[float, requests.Response | None]] = []
    healthy: list[tuple[float, requests.Response | None]] = []
    with piped(*((pipes[f"crowd-{name}"], name) for name in CROWD)):
        threads = [threading.Thread(target=asked, args=(waiting, f"crowd-{name}", answers)) for name in CROWD]
        for thread in threads:
            thread.start()
        asked(waiting, "healthy", healthy)
        for thread in threads:
            thread.join(60)
    took, answer = healthy[0]
    assert answer is not None and answer.status_code == 200, f"no answer in {took:.1f} s"


# -- nothing is shown ---------------------------------------------------------------------------------------

_SHA256 = "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tobjectFormat = sha256\n"
# git's own files that link to a file elsewhere: the path, and the configuration that makes git read it.
LINKS = {
    "link-packed-refs": (".git/packed-refs", ""),
    "link-packed-refs-alone": (".git/packed-refs", ""),
    "link-shallow": (".git/shallow", ""),
    "link-head": (".git/HEAD", ""),
    "link-head-sha256": (".git/HEAD", _SHA256),
    "link-ref": (".git/{ref}", ""),
    "link-ref-sha256": (".git/{ref}", _SHA256),
    "link-index": (".git/index", ""),
    "link-config": (".git/config", ""),
    "link-config-worktree": (
        ".git/config.worktree",
        "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tworktreeConfig = true\n",
    ),
    "link-included": (".git/more", "[include]\n\tpath = more\n"),
    "link-exclude": (".git/info/exclude", ""),
    "link-attributes": (".git/info/attributes", ""),
    "link-sparse-checkout": (".git/info/sparse-checkout", "[core]\n\tsparseCheckout = true\n"),
    "link-grafts": (".git/info/grafts", ""),
    "link-alternates": (".git/objects/info/alternates", ""),
    "link-commit-graph": (".git/objects/info/commit-graph", ""),
    "link-newest-commit": (".git/{commit}", ""),
    "link-commondir": (".git/commondir", ""),
    "link-log": (".git/logs/HEAD", ""),
    "link-merge-head": (".git/MERGE_HEAD", ""),
    "link-rebase": (".git/rebase-merge/head-name", ""),
    "link-bisect": (".git/BISECT_START", ""),
    "link-cherry-pick": (".git/CHERRY_PICK_HEAD", ""),
    "link-git-itself": (".git", ""),
    "link-gitignore": (".gitignore", ""),
    "link-gitattributes": (".gitattributes", ""),
    "link-gitmodules": (".gitmodules", ""),
    "link-mailmap": (".mailmap", ""),
    "link-source": ("src/app.py", ""),
    "link-manifest": ("pyproject.toml", ""),
    "link-requirements": ("requirements.txt", ""),
    "link-report": ("coverage.json", ""),
}
SECRETS = {
    "a token": "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJvcGVyYXRvciIsImV4cCI6MX0.c2lnbmF0dXJlLW9mLW5vYm9keQ\n",
    "a key": "5f0c1e9a7b3d42866e1d0a9cbb54e7f3218a6d90c4fe7b1598d3a2647e0fbc12\n",
    "a line": "hunter2-is-no-longer-a-good-password\n",
    "settings": "[account]\n\tlast = hunter2-is-no-longer-a-good-password\n",
}
# What is removed so that the link is read.
GONE = {"link-packed-refs-alone": ".git/{ref}"}
_LEAST_LEAK = 16


def leaked(secret: str, text: str) -> str:
    """The first piece of the secret's last word that occurs in the text."""
    word = secret.split()[-1]
    pieces = (word[at : at + _LEAST_LEAK] for at in range(len(word) - _LEAST_LEAK + 1))
    return next((piece for piece in pieces if piece in text), "")


@pytest.mark.parametrize("name", LINKS)
def test_a_link_reveals_nothing_of_another_file(waiting: SidecarProcess, pipes: Mapping[str, Trap], name: str) -> None:
    """Neither in a context nor in an error message."""
    trap = pipes[name]
    secret = trap.base / "secret"
    if name in GONE:
        place_in(trap, GONE[name])
    place_in(trap, LINKS[name][0]).symlink_to(secret)
    for kind, text in SECRETS.items():
        secret.write_text(text)
        said = [context(waiting, name), refresh(waiting, name), context(waiting, name)]
        assert [leaked(text, each.text) for each in said] == ["", "", ""], (kind, said[0].text[:2000])


def test_an_agent_types_file_that_is_a_pipe(tmp_path: Path, template: Path) -> None:
    """A project's own agent types are read at startup."""
    (tmp_path / "trap").mkdir()
    trap = Trap(tmp_path / "trap", template)
    pipe = Pipe(trap, "config/orchestra-config.json")
    ended: list[str] = []

    def start() -> None:
        deployment = Deployment(tmp_path, trap.root)
        try:
            deployment.start()
            ended.append("started")
        except RuntimeError as problem:
            ended.append(str(problem))
        finally:
            deployment.stop()

    starting = threading.Thread(target=start)
    starting.start()
    try:
        until(lambda: ended, "the sidecar to start or to refuse", timeout=2 * PROMPTLY)
    finally:
        pipe.release()
        starting.join(60)
    assert ended[0] == "started" or "orchestra-config.json" in ended[0], ended

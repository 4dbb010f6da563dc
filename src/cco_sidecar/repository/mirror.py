"""A copy of a repository elsewhere: cloned once, then brought up to date as long as nobody has changed it here."""

from __future__ import annotations

import base64
import logging
import shutil
from pathlib import Path

from cco_sidecar.core.git_projects import GitProject
from cco_sidecar.repository import git
from cco_sidecar.repository.git import GitRepository
from cco_sidecar.repository.layout import GitFailed
from cco_sidecar.repository.remote import Remote

log = logging.getLogger(__name__)

_FETCH_SECONDS = 900.0
_REMOTE = "refs/remotes/origin/"
# The commit that was checked out last.
_FOLLOWED = "refs/cco/followed"
_USER = "x-access-token"


class Mirror:
    """``directory`` is a repository with its files checked out. Its methods block, and raise GitFailed."""

    def __init__(self, project: GitProject, directory: Path, scratch: Path) -> None:
        self._project = project
        self._directory = directory
        self._scratch = scratch
        # What is not checked out, because something was changed here.
        self._left = ""

    @property
    def exists(self) -> bool:
        """Whether it was cloned."""
        return (self._directory / ".git").is_dir()

    def update(self, secret: str = "") -> str:
        """Fetches all branches, and checks out what is new unless something was changed here; returns the commit that
        is checked out. ``secret``: the token for the remote."""
        remote = Remote(self._project.protocol, _configuration(secret))
        try:
            branch = self._project.branch or self._default_branch(remote)
            if self.exists:
                return self._follow(self._directory, branch, remote)
            # In a place of its own first, so that half of it is not taken for all.
            fresh = self._directory.with_name(f"{self._directory.name}.cloning")
            shutil.rmtree(fresh, ignore_errors=True)
            _create(fresh, branch)
            commit = self._follow(fresh, branch, remote)
            fresh.rename(self._directory)
            return commit
        except GitFailed as problem:
            raise GitFailed(_without(str(problem), secret)) from problem

    def _default_branch(self, remote: Remote) -> str:
        done = git.ask(("ls-remote", "--symref", "--", self._project.url, "HEAD"), remote)
        if done.code:
            raise GitFailed(f"cannot read {self._project.url}: {_reason(done.said)}")
        for line in done.output.decode(errors="replace").splitlines():
            if line.startswith("ref: refs/heads/"):
                return line.removeprefix("ref: refs/heads/").partition("\t")[0]
        raise GitFailed(f"{self._project.url} has no branch yet")

    def _follow(self, directory: Path, branch: str, remote: Remote) -> str:
        repository = GitRepository(directory, self._scratch)
        if repository.open() is None:
            raise GitFailed(f"{directory} is no repository any more")
        quietly = ("--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
        what = ("--no-auto-maintenance", "--", self._project.url, f"+refs/heads/*:{_REMOTE}*")
        done = repository.run("fetch", *quietly, *what, timeout=_FETCH_SECONDS, remote=remote)
        if done.code:
            raise GitFailed(f"cannot fetch {self._project.url}: {_reason(done.said)}")
        wanted = (repository.text("rev-parse", "--verify", "--quiet", f"{_REMOTE}{branch}^{{commit}}") or "").strip()
        if not wanted:
            raise GitFailed(f"{self._project.url} has no branch '{branch}'")
        here = (repository.text("rev-parse", "--verify", "--quiet", "HEAD^{commit}") or "").strip()
        if here == wanted:
            return here
        if here and not self._may_follow(repository, here):
            if self._left != wanted:
                self._left = wanted
                log.warning("%s stays at %s: something was changed there", directory, here[:12])
            return here
        done = repository.run("reset", "--quiet", "--hard", "--no-recurse-submodules", wanted, timeout=_FETCH_SECONDS)
        if done.code:
            raise GitFailed(f"cannot check out {self._project.url}: {_reason(done.said)}")
        if repository.run("update-ref", _FOLLOWED, wanted).code:
            raise GitFailed(f"cannot write {_FOLLOWED} in {directory}")
        return wanted

    @staticmethod
    def _may_follow(repository: GitRepository, here: str) -> bool:
        """Whether no work is lost: there is no change, and the checked-out commit is of the remote."""
        status = repository.run("status", "--porcelain", "--ignore-submodules=dirty")
        if status.code or status.output.strip():
            return False
        # Not whether a branch of the remote has it: that may have been rewritten since.
        followed = repository.text("rev-parse", "--verify", "--quiet", _FOLLOWED) or ""
        return followed.strip() == here


def _create(directory: Path, branch: str) -> None:
    directory.mkdir(parents=True, mode=0o700)
    place = str(directory / ".git")
    for command in (
        ("init", "--quiet", "--bare", "--template=", f"--initial-branch={branch}", place),
        ("config", "--file", f"{place}/config", "core.bare", "false"),
    ):
        done = git.ask(command)
        if done.code:
            raise GitFailed(f"cannot create a repository in {directory}: {_reason(done.said)}")


def _configuration(secret: str) -> dict[str, str]:
    """Returns what git needs for the remote. In its environment, where other users do not see it."""
    found = {"http.lowSpeedLimit": "1000", "http.lowSpeedTime": "60", "transfer.fsckObjects": "true"}
    if secret:
        encoded = base64.b64encode(f"{_USER}:{secret}".encode()).decode()
        found["http.extraHeader"] = f"Authorization: Basic {encoded}"
        # Nobody else gets it.
        found["http.followRedirects"] = "false"
    return found


def _reason(said: str) -> str:
    """Returns the first error that git names; what follows is advice."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    named = (line.removeprefix("fatal: ") for line in lines if line.startswith("fatal: "))
    return next(named, lines[-1] if lines else "git gave no reason")[:300]


def _without(text: str, secret: str) -> str:
    return text.replace(secret, "[secret]") if secret else text

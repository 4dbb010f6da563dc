"""Projects that are named by a URL: cloned, kept up to date, and never at the cost of what was changed here."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.repositories import commit_all, git

from cco_sidecar.core.git_projects import GitProject, git_project, is_url
from cco_sidecar.repository.layout import GitFailed
from cco_sidecar.repository.mirror import Mirror


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    path = tmp_path / "remote"
    path.mkdir()
    (path / "one.txt").write_text("one\n")
    commit_all(path)
    return path


def mirror_of(tmp_path: Path, url: str, **more: str) -> Mirror:
    return Mirror(GitProject(url, **more), tmp_path / "mirror", tmp_path / "scratch")


def head(path: Path) -> str:
    return git(path, "rev-parse", "HEAD").strip()


def add(path: Path, name: str) -> str:
    (path / name).write_text(f"{name}\n")
    commit_all(path, name)
    return head(path)


def test_it_is_cloned_and_follows(tmp_path: Path, remote: Path) -> None:
    mirror = mirror_of(tmp_path, f"file://{remote}")
    assert not mirror.exists
    assert mirror.update() == head(remote) == head(tmp_path / "mirror")
    assert (tmp_path / "mirror" / "one.txt").read_text() == "one\n"
    new = add(remote, "two.txt")
    assert mirror.update() == new
    assert (tmp_path / "mirror" / "two.txt").exists()
    # A branch that was rewritten is followed, too.
    git(remote, "commit", "--quiet", "--amend", "--message", "other")
    assert mirror.update() == head(remote)
    assert git(tmp_path / "mirror", "status", "--porcelain") == ""


def test_another_branch_than_the_remotes_own(tmp_path: Path, remote: Path) -> None:
    git(remote, "branch", "release")
    add(remote, "two.txt")
    mirror = mirror_of(tmp_path, f"file://{remote}", branch="release")
    assert mirror.update() == git(remote, "rev-parse", "release").strip()
    assert git(tmp_path / "mirror", "symbolic-ref", "HEAD").strip() == "refs/heads/release"


@pytest.mark.parametrize("change", ["file", "new file", "commit"])
def test_what_was_changed_here_stays(tmp_path: Path, remote: Path, change: str) -> None:
    mirror = mirror_of(tmp_path, f"file://{remote}")
    mirror.update()
    place = tmp_path / "mirror"
    (place / ("one.txt" if change == "file" else "mine.txt")).write_text("mine\n")
    if change == "commit":
        commit_all(place, "mine")
    before = head(place)
    add(remote, "two.txt")
    assert mirror.update() == before == head(place)
    assert "mine\n" in [path.read_text() for path in place.glob("*.txt")]
    # The commits are there all the same.
    assert git(place, "rev-parse", "refs/remotes/origin/main").strip() == head(remote)


def test_worktrees_of_agents_are_not_touched(tmp_path: Path, remote: Path) -> None:
    mirror = mirror_of(tmp_path, f"file://{remote}")
    mirror.update()
    git(tmp_path / "mirror", "worktree", "add", "--quiet", "-b", "agent/a", str(tmp_path / "tree"))
    add(tmp_path / "tree", "work.txt")
    new = add(remote, "two.txt")
    assert mirror.update() == new
    assert git(tmp_path / "mirror", "show", "agent/a:work.txt") == "work.txt\n"


@pytest.mark.parametrize("state", ["gone", "empty", "no branch"])
def test_a_remote_that_cannot_be_used_is_a_clear_error(tmp_path: Path, remote: Path, state: str) -> None:
    url, branch = f"file://{remote}", ""
    if state == "gone":
        url = f"file://{tmp_path}/nothing"
    elif state == "empty":
        git(tmp_path, "init", "--quiet", "--bare", str(tmp_path / "empty.git"))
        url = f"file://{tmp_path}/empty.git"
    else:
        branch = "no-such-branch"
    mirror = mirror_of(tmp_path, url, branch=branch)
    with pytest.raises(GitFailed) as failed:
        mirror.update()
    assert url in str(failed.value)
    assert not mirror.exists and not (tmp_path / "mirror").exists()


def test_a_clone_that_was_interrupted_is_made_again(tmp_path: Path, remote: Path) -> None:
    half = tmp_path / "mirror.cloning"
    half.mkdir()
    (half / "junk").write_text("junk")
    mirror = mirror_of(tmp_path, f"file://{remote}")
    assert mirror.update() == head(remote)
    assert not half.exists() and not (tmp_path / "mirror" / "junk").exists()


def test_nothing_of_the_remote_and_nothing_here_is_run(tmp_path: Path, remote: Path) -> None:
    """Filters, hooks and submodules of the remote; hooks and the configuration of the mirror, where agents write."""
    ran = tmp_path / "ran"
    (remote / ".gitattributes").write_text("*.txt filter=evil\n")
    (remote / ".gitmodules").write_text(f'[submodule "x"]\n\tpath = x\n\turl = ext::sh -c "touch {ran}"\n')
    git(remote, "add", "--all")
    git(remote, "update-index", "--add", "--cacheinfo", f"160000,{head(remote)},x")
    git(remote, "commit", "--quiet", "--message", "hostile")
    mirror = mirror_of(tmp_path, f"file://{remote}")
    with contextlib.suppress(GitFailed):
        # fsck refuses the submodule's URL.
        mirror.update()
    git(remote, "rm", "--quiet", "--cached", "x", ".gitmodules")
    git(remote, "commit", "--quiet", "--amend", "--message", "less hostile")
    mirror.update()
    place = tmp_path / "mirror" / ".git"
    script = f"#!/bin/sh\ntouch {ran}\n"
    (place / "hooks").mkdir(exist_ok=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (place / "hooks" / name).write_text(script)
        (place / "hooks" / name).chmod(0o755)
    git(place, "config", "filter.evil.smudge", f"touch {ran}")
    git(place, "config", "core.fsmonitor", f"touch {ran}")
    git(place, "config", "core.sshCommand", f"touch {ran}")
    git(place, "config", f"url.ext::sh -c 'touch {ran}'.insteadOf", f"file://{remote}")
    new = add(remote, "two.txt")
    assert mirror.update() == new
    assert not ran.exists()


class _Private(http.server.SimpleHTTPRequestHandler):
    """A repository for those who have the token (git's dumb protocol)."""

    seen: list[str | None]

    def do_GET(self) -> None:
        given = self.headers.get("Authorization")
        self.seen.append(given)
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", self.path.replace("/moved", ""))
            self.end_headers()
        elif given == "Basic " + base64.b64encode(b"x-access-token:s3cret-token").decode():
            super().do_GET()
        else:
            self.send_error(403)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, remote: Path) -> Iterator[str]:
    git(tmp_path, "clone", "--quiet", "--bare", str(remote), str(tmp_path / "served.git"))
    git(tmp_path / "served.git", "update-server-info")
    handler = type("Handler", (_Private,), {"seen": []})
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(tmp_path)))
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()


def test_the_token_is_sent_and_never_shown(tmp_path: Path, remote: Path, server: str) -> None:
    mirror = mirror_of(tmp_path, f"{server}/served.git")
    assert mirror.update("s3cret-token") == head(remote)
    with pytest.raises(GitFailed) as failed:
        mirror.update("wrong-token")
    assert "wrong-token" not in str(failed.value)
    assert "s3cret" not in "".join(
        path.read_text(errors="replace") for path in (tmp_path / "mirror" / ".git").rglob("config*") if path.is_file()
    )


def test_the_token_follows_no_redirect(tmp_path: Path, server: str) -> None:
    with pytest.raises(GitFailed):
        mirror_of(tmp_path, f"{server}/moved/served.git").update("s3cret-token")


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("https://git.example/shop.git", True),
        ("ssh://git@git.example/shop.git", True),
        ("git@git.example:shop.git", True),
        ("/srv/shop", False),
        ("./shop", False),
        ("~/shop", False),
        ("shop", False),
        ("C:shop", True),
    ],
)
def test_what_is_a_url(value: str, url: bool) -> None:
    assert is_url(value) is url


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("ext::sh -c id", "expected a URL"),
        ("ftp://git.example/shop.git", "expected a URL"),
        ("https://me:secret@git.example/shop.git", "has a password"),
        ({"url": "https://git.example/a.git", "branch": "--force"}, "branch"),
        ({"url": "https://git.example/a.git", "token": "x"}, "unknown key 'token'"),
        ({"url": "ssh://git.example/a.git", "credential": "T"}, "https only"),
        ({"branch": "main"}, "expected a URL"),
        (17, "expected a directory"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        git_project(value)

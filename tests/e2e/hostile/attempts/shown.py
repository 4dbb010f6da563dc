"""What its context shows after it has planted links and references."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from attempts.api import call
from attempts.core import _JWT, HOME, ISSUE, STORAGE, TARGETS, TOKEN, TYPE, Attempt, Refused, attempt
from attempts.files import TOKEN_FILE, removed_afterwards, victim_directory


def shown(*needles: str) -> str:
    """Anything that a context, or the error in its place, must not contain."""
    for said in (
        call("POST", "/api/context/refresh", {"issue_id": ISSUE, "agent_type": TYPE, "force": True}),
        call("GET", f"/api/context/{ISSUE}/{TYPE}?task={quote('read hostile_link.py and hostile-links/')}"),
    ):
        found = _JWT.search(said.text)
        if found and found[0] not in TOKEN:
            return f"{len(found[0])} characters of a token, with {said.status}"
        for needle in needles:
            if needle in said.text:
                return f"{needle!r}, with {said.status}"
        if said.code == "INT_001":
            return f"an internal error: {said.text[:200]}"
    raise Refused(f"{said.status} shows nothing of it")


@contextlib.contextmanager
def in_place_of(path: Path) -> Iterator[Path]:
    """Replaces ``path``; its former content is restored afterwards."""
    kept = path.with_name(f"{path.name}.kept")
    if path.exists() or path.is_symlink():
        path.rename(kept)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        if kept.exists():
            kept.rename(path)


def linked(path: str, target: Path, *needles: str, gone: str = "") -> Attempt:
    """``gone``: what is removed so that the link is read."""

    def act() -> str:
        with contextlib.ExitStack() as changes:
            if gone:
                changes.enter_context(in_place_of(Path(gone)))
            changes.enter_context(in_place_of(Path(path))).symlink_to(target)
            return shown(*needles)

    return act


def newest_ref() -> str:
    """The file that holds the commit of the branch."""
    head = Path(".git/HEAD")
    return f".git/{head.read_text().removeprefix('ref: ').strip()}" if head.exists() else ".git/refs/heads/main"


for _name, _place, _target in (
    ("a link to operator.token in the project", "hostile_link.py", TOKEN_FILE),
    ("a link to the storage in the project", "hostile-links", STORAGE),
    ("a manifest that is a link to operator.token", "requirements.txt", TOKEN_FILE),
    ("a report that is a link to operator.token", "coverage.json", TOKEN_FILE),
    (".gitignore as a link to operator.token", ".gitignore", TOKEN_FILE),
    (".git/packed-refs as a link to operator.token", ".git/packed-refs", TOKEN_FILE),
    (".git/shallow as a link to operator.token", ".git/shallow", TOKEN_FILE),
    (".git/commondir as a link to operator.token", ".git/commondir", TOKEN_FILE),
    (".git/HEAD as a link to operator.token", ".git/HEAD", TOKEN_FILE),
    (".git/config as a link to operator.token", ".git/config", TOKEN_FILE),
    (".git/index as a link to operator.token", ".git/index", TOKEN_FILE),
    (".git/info/grafts as a link to operator.token", ".git/info/grafts", TOKEN_FILE),
    (".git/objects/info/alternates as a link to operator.token", ".git/objects/info/alternates", TOKEN_FILE),
    (".git/shallow as a link to another agent's token", ".git/shallow", victim_directory() / "agent" / "token"),
    (".git/shallow as a link to where another agent's token was", ".git/shallow", victim_directory() / "token"),
):
    attempt("context", f"have the context show {_name}")(linked(_place, _target))

for _name, _target in {"operator.token": TOKEN_FILE, "the credentials' key": HOME / ".cco" / "credentials.key"}.items():
    attempt("context", f"have the context show .git/packed-refs, alone, as a link to {_name}")(
        linked(".git/packed-refs", _target, TARGETS.get("key_begins", "no key"), gone=newest_ref())
    )


@attempt("context", "have the context show another project's history, by a .git file")
def other_history() -> str:
    with in_place_of(Path(".git")) as place:
        place.write_text(f"gitdir: {TARGETS['other_project']}/.git\n")
        return shown(TARGETS["other_word"])


@attempt("context", "have the context show another project's history, by a .git link")
def other_history_link() -> str:
    return linked(".git", Path(TARGETS["other_project"], ".git"), TARGETS["other_word"])()


@attempt("context", "have the context show another project's history, by its objects")
def other_objects() -> str:
    """Its newest commit is known by name; `alternates` says where the object is."""
    with in_place_of(Path(".git/objects/info/alternates")) as place, in_place_of(Path(".git/HEAD")) as head:
        place.write_text(f"{TARGETS['other_project']}/.git/objects\n")
        head.write_text(TARGETS["other_commit"] + "\n")
        return shown(TARGETS["other_word"])


@attempt("context", "have the context show a hard link to operator.token")
def hard_link_shown() -> str:
    place = Path("hostile_link.py")
    with removed_afterwards(place):
        place.hardlink_to(TOKEN_FILE)
        return shown()
